#!/usr/bin/env python3
"""Draw mixtures of speech and noise in LibriSpeech's and WHAM!'s layout, as CSVs.

Example:
    python -m espnet_mtasr.bin.make_mixture_metadata --librispeech downloads/LibriSpeech
        --wham_noise downloads/wham_noise --out data/local/metadata
        --onsets successive 0.5 1.0 --set train_mini2mix train-clean-100 tr 2 800
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.lifetime import worker_pool


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Draw mixtures and write them as LibriMix-style metadata."
    )
    parser.add_argument("--librispeech", type=Path, required=True)
    parser.add_argument("--wham_noise", type=Path, help="not needed without noise")
    parser.add_argument(
        "--out", type=Path, required=True, help="output folder for the CSVs"
    )
    parser.add_argument(
        "--set",
        dest="sets",
        nargs=5,
        action="append",
        required=True,
        metavar=("NAME", "SUBSET", "NOISE", "TALKERS", "N"),
        help="draw NAME.csv: N mixtures of TALKERS talkers from SUBSET and the noise "
        "split NOISE (none: without noise); if NAME starts with train, bad audio is "
        "skipped (repeatable)",
    )
    parser.add_argument(
        "--onsets",
        nargs="+",
        default=["librimix"],
        metavar="POLICY",
        help="librimix, none, or: successive LOW HIGH (seconds)",
    )
    parser.add_argument(
        "--level_gap",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="level of each further talker relative to the first, in dB (default: "
        "each talker has its own loudness, as in LibriMix)",
    )
    parser.add_argument("--rate", type=int, default=16000, help="Hz")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nj", type=int, default=2, help="parallel processes")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    args = get_parser().parse_args(cmd)
    from espnet_mtasr.mixture.make_metadata import SetPlan, make_set
    from espnet_mtasr.mixture.onsets import parse_policy

    policy = parse_policy(args.onsets)
    level_gap = tuple(args.level_gap) if args.level_gap else None
    if level_gap is not None and level_gap[0] > level_gap[1]:
        raise UserError(
            f"--level_gap {level_gap[0]:g} {level_gap[1]:g}: give the lower one first"
        )
    plans = []
    for name, subset, noise, *numbers in args.sets:
        if not all(n.isdecimal() and int(n) > 0 for n in numbers):
            raise UserError(
                f"--set {name}: TALKERS N {' '.join(numbers)}: give numbers"
            )
        split = None if noise == "none" else noise
        plans.append(SetPlan(name, subset, split, *map(int, numbers)))
    # Dev and test first: they stop on bad audio, which should come before the long
    # work.
    plans.sort(key=lambda plan: plan.skips_bad_audio)
    with worker_pool(args.nj) as pool:
        for plan in plans:
            make_set(
                plan,
                args.librispeech,
                args.wham_noise,
                args.out,
                policy,
                args.seed,
                args.rate,
                pool,
                level_gap,
            )


if __name__ == "__main__":
    run_command_line(main)
