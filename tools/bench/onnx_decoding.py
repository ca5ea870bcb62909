"""Decoding by onnxruntime, float32 and int8, beside PyTorch's, on the CPU.

Prints how many times as fast each is (one mixture after the other), the sizes of its
graphs, and, for data directories with references (`--data`), its cpWER and how many
mixtures have PyTorch's texts. Models that are not named are exported into a scratch
folder. Example, the whole row, after the mini recipe's stages 1 to 3, in its folder:
    OMP_NUM_THREADS=1 python -m tools.bench.onnx_decoding --mtasr_model_file mini \
        --data dump/raw/test_mini2mix_clean dump/raw/test_mini3mix_clean \
        --mixtures 40 --json onnx.json
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.onnx_model.manifest import FILE_NAME, Manifest, is_onnx
from tools.bench.side_by_side import (
    check_positive,
    format_ratio,
    measure,
    ratios,
    write_figures,
)

TORCH, FLOAT32, INT8 = "PyTorch, float32", "onnxruntime, float32", "onnxruntime, int8"
RATE = 16000
# Mixtures whose texts are compared are decoded together, which changes no text.
BATCH_SIZE = 8


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mtasr_model_file",
        default="mini",
        help="checkpoint of phase 2, packed model, folder or name; default: mini",
    )
    parser.add_argument(
        "--onnx", type=Path, help="its onnx.json, float32; default: export it"
    )
    parser.add_argument(
        "--int8",
        type=Path,
        help="its onnx.json with int8; default: export it, unless --onnx is given",
    )
    parser.add_argument(
        "--data", type=Path, nargs="+", default=[], help="folders of wav.scp and text"
    )
    parser.add_argument(
        "--recordings",
        type=Path,
        help="wav.scp or folder to time; default: the first --data, else noise",
    )
    parser.add_argument("--mixtures", type=int, default=10, help="timed, the first")
    parser.add_argument(
        "--scored", type=int, help="mixtures of each --data, the first; default: all"
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="of each noise")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="gets the figures")
    return parser


def check_options(args: argparse.Namespace) -> None:
    """Raise `UserError` for an option that can't be, before anything is loaded."""
    check_positive(args, "mixtures", "seconds", "rounds")
    if args.scored is not None:
        check_positive(args, "scored")
    for path in (args.onnx, args.int8):
        if path is not None and not path.is_file():
            raise UserError(f"{path}: no such file; name another")
    if args.recordings is not None and not args.recordings.exists():
        raise UserError(f"--recordings {args.recordings}: no such file; name another")
    for folder in args.data:
        if not (folder / "text").is_file():
            raise UserError(f"--data {folder}: has no text; name a data directory")


def load_all(
    args: argparse.Namespace, scratch: Path, megabytes: Dict[str, Dict[str, float]]
) -> Dict[str, Any]:
    """Return the decoders by name, after an export where it is needed.

    The sizes of the graphs are added to `megabytes`.
    """
    from espnet_mtasr.inference import Speech2Text
    from espnet_mtasr.model_zoo.model_files import fetch_model

    files = fetch_model(args.mtasr_model_file)
    if is_onnx(files.mtasr_model_file):
        raise UserError(
            f"--mtasr_model_file {args.mtasr_model_file}: is exported; name the model "
            f"that it was made of"
        )
    named = {FLOAT32: args.onnx, INT8: args.int8}
    if args.onnx is None:
        from espnet_mtasr.publishing.onnx_export import export_model

        model = files.mtasr_train_config, files.mtasr_model_file
        for name, kind in ((FLOAT32, "none"), (INT8, "int8")):
            if named[name] is None:
                export_model(*model, scratch / kind, kind)
                named[name] = scratch / kind / FILE_NAME
    found = {TORCH: Speech2Text(**asdict(files))}
    for name, path in named.items():
        if path is not None:
            found[name] = Speech2Text(mtasr_model_file=path)
            megabytes[name] = tell_size(name, path)
    return found


def tell_size(name: str, path: Path) -> Dict[str, float]:
    """Print and return the megabytes of a model's graphs."""
    if not is_onnx(path):
        return {}
    sizes = {graph: size / 1e6 for graph, size in Manifest.read(path).sizes.items()}
    each = ", ".join(f"{graph} {size:.2f}" for graph, size in sizes.items())
    print(f"{name}: {sum(sizes.values()):.2f} MB ({each})")
    return sizes


def load_waves(args: argparse.Namespace) -> List:
    """Waveforms `(N,)` of the recordings that are timed, or noise, at 16 kHz."""
    import numpy as np

    from tools.bench.recordings import read_waves

    if args.recordings is not None:
        return list(read_waves(args.recordings, RATE, args.mixtures).values())
    if args.data:
        return read_set(args.data[0], args.mixtures)[0]
    rng = np.random.default_rng(0)
    size = (args.mixtures, int(args.seconds * RATE))
    return list(0.1 * rng.standard_normal(size, dtype=np.float32))


def read_set(folder: Path, most: Optional[int]) -> "tuple[List, List[List[str]]]":
    """Waveforms `(N,)` of a data directory, and the texts of each one's talkers."""
    from espnet_mtasr.data.tables import check_same_ids, read_table
    from espnet_mtasr.mixture.speech_list import read_speech_list
    from espnet_mtasr.text.sot import split_sot

    speech, texts = read_speech_list(folder), read_table(folder / "text")
    check_same_ids({f"speech of {folder}": speech, f"{folder}/text": texts})
    keys = list(speech)[:most]
    return [speech[key].read() for key in keys], [split_sot(texts[key]) for key in keys]


def check_same_texts(decoders: Dict[str, Any], waves: Sequence) -> None:
    """Raise `UserError` if float32 by onnxruntime writes anything else than PyTorch."""
    wanted, found = (
        [
            hypothesis.sot_text
            for hypothesis in decoders[n].in_batches(waves, BATCH_SIZE)
        ]
        for n in (TORCH, FLOAT32 if FLOAT32 in decoders else TORCH)
    )
    different = sum(a != b for a, b in zip(wanted, found))
    if different:
        raise UserError(
            f"{FLOAT32}: {different} of {len(waves)} mixtures have other texts than "
            f"PyTorch's; the times of different results aren't compared"
        )


def score(decoders: Dict[str, Any], args: argparse.Namespace) -> Dict[str, Any]:
    """Return cpWER and texts like PyTorch's, of each set and of all together."""
    from espnet_mtasr.scoring.error_counts import ErrorCounts, cp_errors

    nothing = {name: (ErrorCounts(), 0, 0) for name in decoders}
    total, figures = dict(nothing), {}
    for folder in args.data:
        waves, references = read_set(folder, args.scored)
        texts = {
            name: [
                [talker.text for talker in hypothesis.talkers]
                for hypothesis in speech2text.in_batches(waves, BATCH_SIZE)
            ]
            for name, speech2text in decoders.items()
        }
        found = {}
        for name, written in texts.items():
            errors = sum(map(cp_errors, references, written), ErrorCounts())
            same = sum(a == b for a, b in zip(written, texts[TORCH]))
            found[name] = (errors, same, len(waves))
            total[name] = tuple(a + b for a, b in zip(total[name], found[name]))
        figures[folder.name] = told(folder.name, found)
    if len(args.data) > 1:
        figures["together"] = told("together", total)
    return figures


def told(where: str, found: Dict[str, tuple]) -> Dict[str, Any]:
    """Print and return the figures of one set."""
    figures = {}
    wanted = found[TORCH][0].percent
    for name, (errors, same, mixtures) in found.items():
        cpwer = errors.percent
        figures[name] = {"cpwer": cpwer, "same_texts": same, "mixtures": mixtures}
        line = f"{where}, {name}: {same} of {mixtures} texts are PyTorch's"
        if cpwer is not None:
            line += f", cpWER {cpwer:.2f} %"
        if wanted and name != TORCH:
            relative = 100.0 * (cpwer - wanted) / wanted
            figures[name]["cpwer_relative_percent"] = relative
            line += f" ({relative:+.2f} % relative)"
        print(line)
    return figures


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Check, export, score, time and print."""
    args = get_parser().parse_args(cmd)
    check_options(args)
    if args.onnx is None:
        from espnet_mtasr.onnx_model.manifest import check_installed

        check_installed(("onnx", "onnxscript", "onnxruntime"))
    with tempfile.TemporaryDirectory() as scratch:
        megabytes: Dict[str, Dict[str, float]] = {}
        decoders = load_all(args, Path(scratch), megabytes)
        waves = load_waves(args)
        check_same_texts(decoders, waves)
        sets = score(decoders, args)
        runs = {
            name: lambda decode=decode: [decode([wave]) for wave in waves]
            for name, decode in decoders.items()
        }
        seconds = measure(runs, args.rounds)
    figures: Dict[str, Any] = {}
    for name in decoders:
        figures[name] = ratios(seconds[TORCH], seconds[name])
        if megabytes.get(name):
            figures[name]["megabytes"] = megabytes[name]
        print(f"{name}: {format_ratio(figures[name])} as fast as {TORCH}")
    if sets:
        figures["sets"] = sets
    if args.json is not None:
        settings = {k: v for k, v in vars(args).items() if isinstance(v, (int, float))}
        settings.update(model=args.mtasr_model_file, sets=[d.name for d in args.data])
        write_figures(args.json, settings, seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
