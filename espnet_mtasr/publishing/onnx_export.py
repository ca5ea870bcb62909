"""Export a trained model to ONNX graphs, and check them against torch.

torch's exporter on torch.export (`dynamo=True`) writes them through onnxscript, and
onnxruntime's dynamic quantization makes int8 of them.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

import torch

from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import find_beside
from espnet_mtasr.inference import fit_beside
from espnet_mtasr.model_zoo.model_files import CALIBRATION, NGRAM, ROUTING, ModelFiles
from espnet_mtasr.onnx_model.manifest import FILE_NAME, Manifest
from espnet_mtasr.onnx_model.model import OnnxModel
from espnet_mtasr.publishing.onnx_graphs import BranchGraph, TrunkGraph, min_samples
from espnet_mtasr.publishing.packing import packed_config
from espnet_mtasr.text.tokenizer import TYPES_WITH_FILE
from espnet_mtasr.transcription.mtasr import MTASR

# Tolerance for log probabilities in float32: absolute, and relative to the frame's
# largest, because they come from logits of that size.
ABSOLUTE, RELATIVE = 1e-3, 1e-4
# Convolutions stay: onnxruntime has no fast ones of int8 on a CPU, and they are where
# small numbers matter.
INT8_OPERATORS = ("MatMul", "Gemm", "LSTM")
# What onnx_graphs.py's and log_mel.py's features call theirs.
MEL_FILTERS = ".filters"
VERSIONS = ("torch", "onnx", "onnxscript", "onnxruntime", "espnet")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages; errors are still raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@dataclass(frozen=True)
class Report:
    """Result of an export.

    Attributes:
        sizes: Bytes of each graph.
        difference: Largest difference between torch's and onnxruntime's float32 log
            probabilities.
        same_tokens: Share of frames with the same most probable token as torch's, with
            the graphs that were kept.
    """

    sizes: Dict[str, int]
    difference: float
    same_tokens: float


@_quiet()
def export_model(
    config_file: Path,
    model_file: Path,
    output_dir: Path,
    quantize: str = "none",
    trust_remote_code: bool = False,
) -> Report:
    """Export a model into a folder that `Speech2Text` and `MTASR` can load.

    Args:
        config_file: config.yaml of the training.
        model_file: Checkpoint with CTC heads (phase 2).
        output_dir: Is created, atomically.
        quantize: One of `manifest.QUANTIZATIONS`.
        trust_remote_code: See `MTASR.from_pretrained`.

    Raises:
        UserError: a file is missing or doesn't fit, the folder isn't empty, the model
            can't be exported, or onnxruntime's results differ from torch's.
    """
    output_dir = output_dir.absolute()
    check_free(output_dir)
    # With all that lies beside it, which is exported as well.
    whole = MTASR.from_files(
        ModelFiles(config_file, model_file), "cpu", trust_remote_code=trust_remote_code
    )
    model, args = whole.speech2text.model, whole.speech2text.train_args
    graphs = {"trunk.onnx": TrunkGraph(model)}
    branches = {count: f"branch_{count}.onnx" for count in model.talker_counts}
    for count, name in branches.items():
        graphs[name] = BranchGraph(model, count)
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=output_dir.parent, prefix="export."))
    part.chmod(0o755)
    try:
        opset = _write_graphs(model, graphs, part)
        _write_settings(model, args, config_file, model_file, part)

        def manifest(quantization: str) -> Manifest:
            return Manifest(
                trunk="trunk.onnx",
                branches=branches,
                min_samples=min_samples(model),
                quantization=quantization,
                opset=opset,
                sizes={name: (part / name).stat().st_size for name in graphs},
                versions=_versions(),
                max_samples=model.encoder.trunk.max_samples(),
            )

        manifest("none").write(part / FILE_NAME)
        difference, same = compare(model, OnnxModel(part / FILE_NAME, model.token_list))
        if quantize == "int8":
            for name in graphs:
                quantize_int8(part / name)
            manifest(quantize).write(part / FILE_NAME)
            kept = OnnxModel(part / FILE_NAME, model.token_list)
            _, same = compare(model, kept, exactly=False)
        os.replace(part, output_dir)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Report(manifest_sizes(output_dir), difference, same)


def check_free(output_dir: Path) -> None:
    """Raise `UserError` unless `output_dir` doesn't exist or is empty."""
    if output_dir.exists() and not (
        output_dir.is_dir() and not any(output_dir.iterdir())
    ):
        raise UserError(
            f"--output_dir {output_dir}: already exists; remove it or give another"
        )


def manifest_sizes(folder: Path) -> Dict[str, int]:
    """Return the bytes of each graph in an exported model's folder."""
    return Manifest.read(folder / FILE_NAME).sizes


def quantize_int8(path: Path) -> None:
    """Store a graph's matrices as 8-bit integers, in place; inputs stay float32.

    Mel filters stay as they are: a power spectrum has far more than 8 bits of range.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    nodes = onnx.load(path, load_external_data=False).graph.node
    features = [n.name for n in nodes if any(i.endswith(MEL_FILTERS) for i in n.input)]
    quantized = path.with_suffix(".int8")
    quantize_dynamic(
        path,
        quantized,
        op_types_to_quantize=list(INT8_OPERATORS),
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=features,
    )
    os.replace(quantized, path)


@torch.no_grad()
def compare(
    model: MTASRModel, exported: OnnxModel, exactly: bool = True
) -> "tuple[float, float]":
    """Compare log probabilities of noise: a batch of several lengths, and one mixture.

    Args:
        model: torch's.
        exported: onnxruntime's.
        exactly: Raise an error where they differ by more than float32 does.

    Returns:
        The largest difference, and the share of frames whose most probable token is
        the same, over all talkers of all talker counts.

    Raises:
        UserError: they differ.
    """
    shortest = exported.manifest.min_samples
    generator = torch.Generator().manual_seed(0)
    largest, same, total = 0.0, 0, 0
    for lengths in ([8 * shortest, 11 * shortest + 7, shortest // 2], [35 * shortest]):
        noise = torch.randn(len(lengths), max(lengths), generator=generator)
        pairs = zip(*(_log_probs(m, 0.1 * noise, lengths) for m in (model, exported)))
        for wanted, got in pairs:
            difference = (wanted - got).abs()
            largest = max(largest, float(difference.max()))
            allowed = ABSOLUTE + RELATIVE * wanted.abs().amax(-1, keepdim=True)
            if exactly and not bool((difference <= allowed).all()):
                raise UserError(
                    f"the graphs' log probabilities differ from torch's by "
                    f"{float(difference.max()):.2g}, more than {ABSOLUTE:g} + "
                    f"{RELATIVE:g} of the largest; try the versions of "
                    f"tools/constraints.txt"
                )
            agree = wanted.argmax(-1) == got.argmax(-1)
            same, total = same + int(agree.sum()), total + agree.numel()
    return largest, same / total


def _log_probs(
    model: Any, speech: torch.Tensor, lengths: Sequence[int]
) -> List[torch.Tensor]:
    """Log probabilities of talker counts `(B, C)` and of each row's tokens `(T, V)`."""
    trunk = model.encode_trunk(speech, torch.tensor(lengths))
    found = [] if model.count_head is None else [model.count_talkers(trunk)]
    for count in model.talker_counts:
        (streams,) = model.separate(trunk, torch.full([len(lengths)], count))
        for log_probs in model.ctc[str(count)].log_probs(streams.streams):
            rows = zip(log_probs, streams.lengths.tolist())
            # A row too short for a frame has no probabilities to compare.
            found += [row[:frames] for row, frames in rows if frames > 0]
    return found


def _write_graphs(
    model: MTASRModel, graphs: Dict[str, torch.nn.Module], folder: Path
) -> int:
    """Write trunk and branches; return the opset."""
    batch, samples, frames = (
        torch.export.Dim(name, min=least)
        for name, least in (("batch", 1), ("samples", min_samples(model)), ("time", 1))
    )
    longest = 20 * min_samples(model)
    speech = (0.1 * torch.randn(2, longest), torch.tensor([longest, longest // 2]))
    (trunk_name, trunk), *branches = graphs.items()
    opset = _export(
        trunk,
        speech,
        [{0: batch, 1: samples}, {0: batch}],
        ["speech", "lengths"],
        folder / trunk_name,
    )
    with torch.no_grad():
        hidden, lengths, *others = trunk(*speech)
    context = others[: int("context" in trunk.output_names)]
    for name, branch in branches:
        _export(
            branch,
            (hidden, lengths, *context),
            [
                {0: batch, 1: frames},
                {0: batch},
                *({1: frames, 2: frames} for _ in context),
            ],
            ["hidden", "frames", *("context" for _ in context)],
            folder / name,
        )
    return opset


@torch.no_grad()
def _export(
    graph: Any,
    example: Sequence[torch.Tensor],
    dynamic_axes: Sequence[Dict[int, Any]],
    input_names: Sequence[str],
    path: Path,
) -> int:
    """Write a graph; return its opset."""
    try:
        program = torch.onnx.export(
            graph,
            tuple(example),
            dynamo=True,
            dynamic_shapes=tuple(dynamic_axes),
            input_names=list(input_names),
            output_names=graph.output_names,
            # One file a graph: below protobuf's 2 GB, WavLM-Large's halves included.
            external_data=False,
            verbose=False,
        )
        program.save(path)
    except torch.onnx.OnnxExporterError as e:
        raise UserError(
            f"torch {torch.__version__} can't export {path.name} of this model "
            f"({type(e.__cause__ or e).__name__}); try the versions of "
            f"tools/constraints.txt, or decode with the model itself"
        ) from e
    return program.model.opset_imports[""]


def _write_settings(
    model: MTASRModel, args: Any, config_file: Path, model_file: Path, folder: Path
) -> None:
    """Write config.yaml, meta.yaml and what lies beside the model."""
    from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump

    config = packed_config(args, model)
    # Normalization is in the trunk's graph.
    config.get("normalize_conf", {}).pop("stats_file", None)
    # Of other types it is no part of the model.
    config["bpemodel"] = None
    if args.bpemodel is not None and args.token_type in TYPES_WITH_FILE:
        source = Path(find_beside(args.bpemodel, config_file.absolute().parent))
        shutil.copyfile(source, folder / source.name)
        config["bpemodel"] = source.name
    # An exported model has no checkpoint that an n-gram could name.
    for name in (CALIBRATION, ROUTING, *[NGRAM] * (fit_beside(model_file) is not None)):
        if model_file.with_name(name).is_file():
            # Frames are the same, and scores too; those of int8 are nearly.
            shutil.copyfile(model_file.with_name(name), folder / name)
    # As in a packed model's folder: which file is which.
    meta = dict(
        files=dict(mtasr_model_file=FILE_NAME),
        yaml_files=dict(mtasr_train_config="config.yaml"),
    )
    for name, content in (("config.yaml", config), ("meta.yaml", meta)):
        with (folder / name).open("w", encoding="utf-8") as f:
            yaml_no_alias_safe_dump(content, f, indent=4, sort_keys=False)


def _versions() -> Dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in VERSIONS}
