#!/usr/bin/env python3
"""Decoding by PyTorch beside onnxruntime, one mixture after the other.

Export the model before: python -m espnet_mtasr.bin.export_onnx, with and without
--quantize int8. Example, in the mini recipe's folder:
    OMP_NUM_THREADS=1 ../../../tools/bench/onnx_decoding.py --mixtures 20 \
        --mtasr_model_file exp/mtasr_phase2/valid.loss_ctc.ave.pth \
        --onnx exp/onnx/onnx.json --int8 exp/onnx_int8/onnx.json \
        --recordings dump/raw/test_mini2mix_clean/wav.scp
"""

import argparse
from pathlib import Path

from side_by_side import check_positive, format_ratio, measure, ratios, write_figures

from espnet_mtasr.errors import UserError, run_command_line

TORCH = "PyTorch, float32"


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mtasr_model_file", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, required=True, help="its onnx.json")
    parser.add_argument("--int8", type=Path, help="its onnx.json with int8")
    parser.add_argument("--recordings", type=Path, help="wav.scp; else: noise")
    parser.add_argument("--mixtures", type=int, default=10, help="the first so many")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each noise")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="gets the figures")
    return parser


def load_waves(args: argparse.Namespace):
    """Waveforms `(N,)` of the recordings, or noise at 16 kHz."""
    import numpy as np
    import soundfile

    from espnet_mtasr.mixture.data_dir import read_table

    if args.recordings is None:
        rng = np.random.default_rng(0)
        size = (args.mixtures, int(args.seconds * 16000))
        return list(0.1 * rng.standard_normal(size, dtype=np.float32))
    paths = list(read_table(args.recordings).values())[: args.mixtures]
    return [soundfile.read(path, dtype="float32")[0] for path in paths]


def main(cmd=None) -> None:
    """Time and print."""
    args = get_parser().parse_args(cmd)
    check_positive(args, "mixtures", "seconds", "rounds")
    files = {TORCH: args.mtasr_model_file, "onnxruntime, float32": args.onnx}
    if args.int8 is not None:
        files["onnxruntime, int8"] = args.int8
    for path in (*files.values(), args.recordings):
        if path is not None and not path.is_file():
            raise UserError(f"{path}: no such file; name another")

    from espnet_mtasr.inference import Speech2Text

    waves = load_waves(args)

    def decoder(path: Path):
        speech2text = Speech2Text(mtasr_model_file=path)
        return lambda: [speech2text([wave]) for wave in waves]

    seconds = measure({n: decoder(path) for n, path in files.items()}, args.rounds)
    figures = {}
    for name in files:
        figures[name] = ratios(seconds[TORCH], seconds[name])
        print(f"{name}: {format_ratio(figures[name])} as fast as {TORCH}")
    if args.json is not None:
        settings = {k: v for k, v in vars(args).items() if not isinstance(v, Path)}
        write_figures(args.json, settings, seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
