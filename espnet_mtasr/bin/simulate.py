#!/usr/bin/env python3
"""Make mixtures and data directories from LibriMix-style metadata.

Example:
    python -m espnet_mtasr.bin.simulate --librispeech downloads/LibriSpeech
        --wham_noise downloads/wham_noise --audio data/local/mixtures --data data
        --set test_mini2mix data/local/metadata/test_mini2mix.csv both
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Make mixtures and data directories from metadata."
    )
    parser.add_argument("--librispeech", type=Path, required=True)
    parser.add_argument("--wham_noise", type=Path, help="not needed for clean sets")
    parser.add_argument("--audio", type=Path, required=True, help="gets recordings")
    parser.add_argument("--data", type=Path, required=True, help="gets data folders")
    parser.add_argument(
        "--set",
        dest="sets",
        nargs=3,
        action="append",
        required=True,
        metavar=("NAME", "CSV", "VARIANT"),
        help="variant: clean, noisy, both (NAME_clean and NAME_noisy) or alternate "
        "(NAME, every other mixture noisy); a NAME that starts with train skips "
        "mixtures with bad audio, others stop (repeatable)",
    )
    parser.add_argument(
        "--combine",
        nargs="+",
        action="append",
        default=[],
        metavar="NAME",
        help="NAME PART PART...: a data folder of several others (repeatable)",
    )
    parser.add_argument("--audio_format", choices=("flac", "wav"), default="flac")
    parser.add_argument("--rate", type=int, default=16000, help="Hz")
    parser.add_argument("--nj", type=int, default=2, help="parallel processes")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    args = get_parser().parse_args(cmd)
    for name, *parts in args.combine:
        if not parts:
            raise UserError(f"--combine {name}: name at least one part")
    for option in ("librispeech", "wham_noise"):
        folder = getattr(args, option)
        if folder is not None and not folder.is_dir():
            raise UserError(f"--{option} {folder}: no such folder")
    from espnet_mtasr.mixture.generate import Corpus, generate_sets

    generate_sets(
        [(name, Path(csv), variant) for name, csv, variant in args.sets],
        {name: parts for name, *parts in args.combine},
        Corpus(args.librispeech, args.wham_noise, args.rate, args.audio_format),
        args.audio,
        args.data,
        args.nj,
    )


if __name__ == "__main__":
    run_command_line(main)
