#!/usr/bin/env python3
"""Make mixtures and data directories from lists of mixtures.

Lists are LibriMix's own metadata CSVs, ours, or LibriSpeechMix's jsonl files.

Example:
    python -m espnet_mtasr.bin.simulate --librispeech downloads/LibriSpeech
        --wham_noise downloads/wham_noise --audio data/local/mixtures --data data
        --set test_libri2mix metadata/Libri2Mix/libri2mix_test-clean.csv both
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Make mixtures and data directories from lists of mixtures."
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
        default=[],
        metavar=("NAME", "LISTS", "VARIANT"),
        help="LISTS: CSV or LibriSpeechMix jsonl files, separated by commas; a quoted "
        "* skips *_info.csv. VARIANT: clean (LibriMix's mix_clean), noisy (mix_both), "
        "single (mix_single: first talker and noise), several separated by commas, "
        "both for clean,noisy (NAME_clean, ...), or alternate (NAME, every other "
        "mixture noisy). If NAME starts with train, mixtures with bad audio are "
        "skipped; other sets stop the run (repeatable)",
    )
    parser.add_argument(
        "--single",
        dest="singles",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "SUBSETS"),
        help="data folder of single-talker utterances from LibriSpeech subsets, "
        "separated by commas; recordings stay where they are (repeatable)",
    )
    parser.add_argument(
        "--combine",
        nargs="+",
        action="append",
        default=[],
        metavar="NAME",
        help="NAME PART PART...: data folder that combines several others (repeatable)",
    )
    parser.add_argument(
        "--mode",
        choices=("max", "min"),
        default="max",
        help="max: a mixture ends with its last talker; min: when the first talker "
        "ends, which cuts words off, so such sets have no text",
    )
    parser.add_argument("--audio_format", choices=("flac", "wav"), default="flac")
    parser.add_argument("--rate", type=int, default=16000, help="Hz, as 8000")
    parser.add_argument(
        "--on_the_fly",
        choices=("true", "false"),
        default="false",
        help="don't write recordings: mixtures are made while loading",
    )
    parser.add_argument(
        "--follow_links",
        choices=("true", "false"),
        default="false",
        help="allow links out of the corpora, if you made them yourself",
    )
    parser.add_argument("--nj", type=int, default=2, help="parallel processes")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    args = get_parser().parse_args(cmd)
    if not args.sets and not args.singles:
        raise UserError("nothing to make: give --set or --single")
    if args.rate < 1000:
        raise UserError(f"--rate {args.rate}: give Hz, for example 8000 or 16000")
    for name, *parts in args.combine:
        if not parts:
            raise UserError(f"--combine {name}: name at least one part")
    for option in ("librispeech", "wham_noise"):
        folder = getattr(args, option)
        if folder is not None and not folder.is_dir():
            raise UserError(f"--{option} {folder}: no such folder")
    from espnet_mtasr.mixture.describe import Corpus
    from espnet_mtasr.mixture.generate import generate_sets

    corpus = Corpus(
        args.librispeech, args.wham_noise, args.rate, args.audio_format, args.mode
    )
    generate_sets(
        [tuple(words) for words in args.sets],
        {name: parts for name, *parts in args.combine},
        corpus,
        args.audio,
        args.data,
        args.nj,
        [tuple(words) for words in args.singles],
        args.on_the_fly == "true",
        args.follow_links == "true",
    )


if __name__ == "__main__":
    run_command_line(main)
