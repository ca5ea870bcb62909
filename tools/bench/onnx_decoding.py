"""Decoding by onnxruntime (float32, int8) compared with PyTorch, on the CPU.

It prints how many times as fast each is (one mixture at a time), the sizes of its
graphs, and, for data directories with references (`--data`), its cpWER and how many
mixtures have the same texts as PyTorch's. Models that aren't given are exported to a
scratch folder. Example, the whole row, after the mini recipe's stages 1 to 3, in its
folder:
    OMP_NUM_THREADS=1 python -m tools.bench.onnx_decoding --mtasr_model_file mini \
        --data dump/raw/test_mini2mix_clean dump/raw/test_mini3mix_clean \
        --mixtures 40 --json onnx.json
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.onnx_model.manifest import FILE_NAME, Manifest, is_onnx
from tools.bench import side_by_side as bench
from tools.bench.full_size_models import noise

TORCH, FLOAT32, INT8 = "PyTorch, float32", "onnxruntime, float32", "onnxruntime, int8"
# Mixtures are decoded in batches to compare texts; batching doesn't change texts.
BATCH_SIZE = 8
OPTIONS = bench.Options(
    __doc__,
    mixtures=(10, "timed, the first of the first --data; without it, noise"),
    seconds=(6.0, "of each noise"),
    rounds=7,
)
OPTIONS.add_argument(
    "--mtasr_model_file",
    dest="model",
    default="mini",
    help="checkpoint of phase 2, packed model, folder or name [mini]",
)
OPTIONS.add_argument("--onnx", type=Path, help="onnx.json, float32 [exported]")
OPTIONS.add_argument("--int8", type=Path, help="onnx.json, int8 [exported]")
OPTIONS.add_argument(
    "--data",
    dest="sets",
    type=Path,
    nargs="+",
    default=[],
    help="folders of wav.scp and text",
)


def load_all(args: argparse.Namespace, scratch: Path) -> Tuple[Dict[str, Any], Dict]:
    """Return the decoders and the megabytes of their graphs, both by name.

    Models that aren't given are exported first.
    """
    from espnet_mtasr.inference import Speech2Text
    from espnet_mtasr.model_zoo.model_files import fetch_model

    files = fetch_model(args.model)
    if is_onnx(files.mtasr_model_file):
        raise UserError(
            f"--mtasr_model_file {args.model}: is exported; name the model that it was "
            f"made of"
        )
    decoders, megabytes = {TORCH: Speech2Text(**asdict(files))}, {}
    for name, path, kind in ((FLOAT32, args.onnx, "none"), (INT8, args.int8, "int8")):
        if path is None:
            from espnet_mtasr.publishing.onnx_export import export_model

            model = files.mtasr_train_config, files.mtasr_model_file
            export_model(*model, scratch / kind, kind)
            path = scratch / kind / FILE_NAME
        decoders[name] = Speech2Text(mtasr_model_file=path)
        if is_onnx(path):
            sizes = Manifest.read(path).sizes.items()
            megabytes[name] = each = {graph: size / 1e6 for graph, size in sizes}
            listed = ", ".join(f"{graph} {size:.2f}" for graph, size in each.items())
            print(f"{name}: {sum(each.values()):.2f} MB ({listed})")
    return decoders, megabytes


def read_set(folder: Path) -> Tuple[List, List[List[str]]]:
    """Return waveforms `(N,)` of a data directory, and their talkers' texts."""
    from espnet_mtasr.data.tables import check_same_ids, read_table
    from espnet_mtasr.mixture.speech_list import read_speech_list
    from espnet_mtasr.text.sot import split_sot

    speech, texts = read_speech_list(folder), read_table(folder / "text")
    check_same_ids({f"speech of {folder}": speech, f"{folder}/text": texts})
    return [s.read() for s in speech.values()], [split_sot(texts[k]) for k in speech]


def texts_of(decoder: Any, waves: Sequence) -> List[List[str]]:
    """Return the texts of each mixture's talkers."""
    found = decoder.in_batches(waves, BATCH_SIZE)
    return [[talker.text for talker in hypothesis.talkers] for hypothesis in found]


def score(decoders: Dict[str, Any], args: argparse.Namespace) -> Dict[str, Any]:
    """Return cpWER and the number of equal texts, for each set and for all."""
    from espnet_mtasr.scoring.error_counts import ErrorCounts, cp_errors

    nothing = {name: (ErrorCounts(), 0, 0) for name in decoders}
    total, figures = dict(nothing), {}
    for folder in args.sets:
        waves, references = read_set(folder)
        texts = {name: texts_of(decoder, waves) for name, decoder in decoders.items()}
        found = {}
        for name, written in texts.items():
            errors = sum(map(cp_errors, references, written), ErrorCounts())
            same = sum(a == b for a, b in zip(written, texts[TORCH]))
            found[name] = (errors, same, len(waves))
            total[name] = tuple(a + b for a, b in zip(total[name], found[name]))
        figures[folder.name] = told(folder.name, found)
    if len(args.sets) > 1:
        figures["together"] = told("together", total)
    return figures


def told(where: str, found: Dict[str, tuple]) -> Dict[str, Any]:
    """Print and return the figures of one set."""
    figures = {}
    wanted = found[TORCH][0].percent
    for name, (errors, same, mixtures) in found.items():
        cpwer = errors.percent
        figures[name] = {"cpwer": cpwer, "same_texts": same, "mixtures": mixtures}
        line = f"{where}, {name}: {same} of {mixtures} texts equal PyTorch's"
        if cpwer is not None:
            line += f", cpWER {cpwer:.2f} %"
        if wanted and name != TORCH:
            relative = 100.0 * (cpwer - wanted) / wanted
            figures[name]["cpwer_relative_percent"] = relative
            line += f" ({relative:+.2f} % relative)"
        print(line)
    return figures


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Export, score, and compare texts and times."""
    for folder in args.sets:
        if not (folder / "text").is_file():
            raise UserError(f"--data {folder}: has no text; give a data directory")
    if None in (args.onnx, args.int8):
        from espnet_mtasr.onnx_model.manifest import check_installed

        check_installed(("onnx", "onnxscript", "onnxruntime"))
    with tempfile.TemporaryDirectory() as scratch:
        decoders, megabytes = load_all(args, Path(scratch))
        if args.sets:
            waves = read_set(args.sets[0])[0][: args.mixtures]
        else:
            waves = noise(args.mixtures, args.seconds)
        wanted, found = (texts_of(decoders[name], waves) for name in (TORCH, FLOAT32))
        bench.check_same_texts(FLOAT32, found, TORCH, wanted)
        sets = score(decoders, args)
        runs = {
            name: lambda decode=decode: [decode([wave]) for wave in waves]
            for name, decode in decoders.items()
        }
        times = results.measure(runs)
    for name in decoders:
        ratio = results.figures[name] = bench.Ratio(times[TORCH], times[name])
        print(f"{name}: {ratio} as fast as {TORCH}")
        if name in megabytes:
            ratio["megabytes"] = megabytes[name]
    if sets:
        results.figures["sets"] = sets


if __name__ == "__main__":
    run_command_line(main)
