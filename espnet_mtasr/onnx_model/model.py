"""An exported model, run by onnxruntime, which replaces `MTASRModel` in decoding.

Search, alignment and tokens are `Speech2Text`'s, as with the torch model.
"""

import argparse
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch

from espnet_mtasr.asr.encoder.abs_routable import check_length
from espnet_mtasr.asr.mtasr_model import Streams
from espnet_mtasr.asr.padding import select_rows
from espnet_mtasr.asr.serialized_ctc import collapse_rows
from espnet_mtasr.errors import UserError
from espnet_mtasr.onnx_model.manifest import Manifest, check_installed
from espnet_mtasr.tasks.trained import read_train_config

PathLike = Union[Path, str]


class OnnxTrunkOutput(NamedTuple):
    """Output of the trunk's graph.

    Attributes:
        hidden: `(B, T, D)`.
        lengths: `(B,)` frames.
        context: See `TrunkOutput.context`.
        count_log_probs: `(B, len(talker_counts))`; None without a talker-count head.
    """

    hidden: torch.Tensor
    lengths: torch.Tensor
    context: Optional[torch.Tensor]
    count_log_probs: Optional[torch.Tensor]


class LogProbStreams:
    """`SerializedCTC` for streams that are log probabilities `(B, T, V)` already."""

    def log_probs(self, streams: Sequence[torch.Tensor]) -> List[torch.Tensor]:
        """See `SerializedCTC.log_probs`."""
        return list(streams)

    def greedy_search(
        self, streams: Sequence[torch.Tensor], lengths: torch.Tensor
    ) -> List[List[List[int]]]:
        """See `SerializedCTC.greedy_search`."""
        return collapse_rows([p.argmax(-1) for p in streams], lengths)


class OnnxModel:
    """Trunk, talker-count head, branches, separators and CTC heads in onnxruntime.

    It takes as many threads as torch does, so that OMP_NUM_THREADS holds for both.
    Quantized graphs get one recording at a time: their scales are those of all values
    of an input, so a recording's text would depend on its batch.

    Args:
        manifest_file: onnx.json; the graphs lie beside it.
        token_list: CTC tokens.

    Attributes:
        talker_counts: Those that the model knows.
        token_list: CTC tokens.
        ctc: What reads each talker count's streams.
        count_head: Name of the talker-count head's output; None if there is none.

    Raises:
        UserError: onnxruntime is not installed, or a file is missing or damaged.
    """

    def __init__(self, manifest_file: PathLike, token_list: Sequence[str]):
        check_installed(["onnxruntime"])
        path = Path(manifest_file)
        manifest = Manifest.read(path)
        self.manifest = manifest
        self.one_at_a_time = manifest.quantization != "none"
        self.token_list = list(token_list)
        self.talker_counts: Tuple[int, ...] = tuple(sorted(manifest.branches))
        self.trunk = _open_graph(path, manifest, manifest.trunk)
        self.branches = {
            count: _open_graph(path, manifest, manifest.branches[count])
            for count in self.talker_counts
        }
        self.ctc = {str(count): LogProbStreams() for count in self.talker_counts}
        outputs = [output.name for output in self.trunk.get_outputs()]
        self.count_head = "count_log_probs" if "count_log_probs" in outputs else None

    def encode_trunk(
        self, speech: torch.Tensor, speech_lengths: torch.Tensor
    ) -> OnnxTrunkOutput:
        """Encode `(B, N)` samples with lengths `(B,)`."""
        if self.one_at_a_time and len(speech) > 1:
            return _join_rows(
                [
                    self.encode_trunk(row[None], length[None])
                    for row, length in zip(speech, speech_lengths)
                ]
            )
        rows, shortest = len(speech), self.manifest.min_samples
        speech = speech[:, : int(speech_lengths.max())]
        check_length(speech.size(1), self.manifest.max_samples)
        missing = shortest - speech.size(1)
        if missing > 0:
            # A row of silence, dropped below: the longest must be as long as the batch.
            speech = torch.nn.functional.pad(speech, (0, missing, 0, 1))
            speech_lengths = torch.nn.functional.pad(
                speech_lengths, (0, 1), value=shortest
            )
        outputs = _run(self.trunk, speech=speech, lengths=speech_lengths)
        count_log_probs = outputs.get("count_log_probs")
        return OnnxTrunkOutput(
            outputs["hidden"][:rows],
            outputs["frames"][:rows],
            outputs.get("context"),
            None if count_log_probs is None else count_log_probs[:rows],
        )

    def count_talkers(self, trunk: OnnxTrunkOutput) -> torch.Tensor:
        """See `MTASRModel.count_talkers`."""
        if trunk.count_log_probs is None:
            raise ValueError("the model has no talker-count head: give the counts")
        return trunk.count_log_probs

    def separate(self, trunk: OnnxTrunkOutput, counts: torch.Tensor) -> List[Streams]:
        """See `MTASRModel.separate`; the streams are log probabilities `(B', T, V)`."""
        result = []
        for count in counts.unique().tolist():
            rows = (counts == count).nonzero(as_tuple=True)[0]
            parts = rows.split(1) if self.one_at_a_time else [rows]
            outputs = [self._run_branch(count, trunk, some) for some in parts]
            streams = [
                _pad_rows([output[f"log_probs_{k + 1}"] for output in outputs])
                for k in range(count)
            ]
            frames = torch.cat([output["branch_frames"] for output in outputs])
            result.append(Streams(count, rows, streams, frames))
        return result

    def _run_branch(
        self, count: int, trunk: OnnxTrunkOutput, rows: torch.Tensor
    ) -> Dict[str, torch.Tensor]:
        hidden, frames = select_rows(trunk.hidden, trunk.lengths, rows)
        inputs = dict(hidden=hidden, frames=frames)
        if trunk.context is not None:
            longest = hidden.size(1)
            inputs["context"] = trunk.context[:, :longest, :longest]
        return _run(self.branches[count], **inputs)


def _pad_rows(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Concatenate `(B, T, D)` of different T, with zeros at the end."""
    longest = max(tensor.size(1) for tensor in tensors)
    pad = torch.nn.functional.pad
    return torch.cat([pad(t, (0, 0, 0, longest - t.size(1))) for t in tensors])


def _join_rows(outputs: Sequence[OnnxTrunkOutput]) -> OnnxTrunkOutput:
    """Join batches; a context depends only on the number of frames."""
    counts = [o.count_log_probs for o in outputs if o.count_log_probs is not None]
    longest = max(outputs, key=lambda output: output.hidden.size(1))
    return OnnxTrunkOutput(
        _pad_rows([output.hidden for output in outputs]),
        torch.cat([output.lengths for output in outputs]),
        longest.context,
        torch.cat(counts) if counts else None,
    )


def load_onnx(
    config_file: Optional[PathLike], manifest_file: PathLike, device: str, dtype: str
) -> Tuple[OnnxModel, argparse.Namespace]:
    """Load an exported model and the configuration of its training.

    Args:
        config_file: config.yaml; None: beside `manifest_file`.
        manifest_file: onnx.json.
        device: cpu.
        dtype: float32.

    Raises:
        UserError: another device or type, or see `OnnxModel`.
    """
    if torch.device(device).type != "cpu":
        raise UserError(
            f"{manifest_file}: an exported model decodes on the CPU, not on {device}; "
            "choose the CPU, or the original model"
        )
    if dtype != "float32":
        raise UserError(
            f"--dtype {dtype}: {manifest_file} only supports float32; omit the option, "
            "or give the original model"
        )
    args = read_train_config(config_file or Path(manifest_file).parent / "config.yaml")
    return OnnxModel(manifest_file, args.token_list), args


def _open_graph(manifest_file: Path, manifest: Manifest, name: str):
    """An onnxruntime session of one file of the manifest."""
    import onnxruntime

    path = manifest_file.with_name(name)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file, though {manifest_file.name} names it; "
            f"export the model again"
        )
    size, wanted = path.stat().st_size, manifest.sizes.get(name)
    if size != wanted:
        raise UserError(
            f"{path}: is damaged, it has {size} bytes instead of {wanted}; export the "
            "model again"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
    except Exception as e:  # onnxruntime's own exceptions have no common base
        raise UserError(
            f"{path}: onnxruntime {onnxruntime.__version__} can't load it "
            f"({type(e).__name__}); export the model again"
        ) from e


def _run(session, **inputs: torch.Tensor) -> Dict[str, torch.Tensor]:
    """Run a graph; inputs and outputs by name."""
    names = [output.name for output in session.get_outputs()]
    arrays = {name: tensor.contiguous().numpy() for name, tensor in inputs.items()}
    try:
        outputs = session.run(names, arrays)
    except Exception as e:  # as above
        shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in inputs.items())
        raise UserError(
            f"onnxruntime can't run the exported model on {shapes} "
            f"({type(e).__name__}); decode shorter pieces, or with the model itself"
        ) from e
    return {name: torch.from_numpy(array) for name, array in zip(names, outputs)}
