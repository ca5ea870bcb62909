#!/usr/bin/env python3
"""Draw the mixtures of some epochs of dynamic mixing, as one data directory.

Then all compared trainings see the same mixtures, and the frozen trunk's outputs can be
cached, because no new mixtures are made while they run.
"""

import argparse
from pathlib import Path
from typing import Dict, Sequence

from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.mixture.dynamic import read_mixer
from espnet_mtasr.text.sot import join_sot


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="Set in dump/raw")
    parser.add_argument("--target", type=Path, required=True, help="The new one")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--speeds", type=float, nargs="+", default=[1.0])
    parser.add_argument("--seed", type=int, default=0)
    return parser


def draw(
    source: Path, epochs: int, speeds: Sequence[float], seed: int
) -> Dict[str, Dict[str, object]]:
    """Return the tables of all mixtures of epochs 1 to `epochs`.

    Raises:
        UserError: see `read_mixer`.
    """
    mixer = read_mixer(
        source / "utt2mixture", source / "text", seed=seed, speeds=speeds
    )
    names = ("utt2mixture", "text", "utt2num_spk", "utt2spk")
    tables: Dict[str, Dict[str, object]] = {name: {} for name in names}
    for epoch in range(1, epochs + 1):
        for utt in sorted(mixer.specs):
            spec, texts = mixer.draw(utt, epoch)
            key = f"e{epoch:03d}_{utt}"
            row = (spec.to_line(), join_sot(texts), len(texts), key)
            for name, value in zip(names, row):
                tables[name][key] = value
    return tables


def main(cmd=None) -> None:
    """Draw and write; `text` comes last."""
    args = get_parser().parse_args(cmd)
    if args.epochs < 1:
        raise UserError(f"--epochs {args.epochs}: give a number from 1")
    tables = draw(args.source, args.epochs, args.speeds, args.seed)
    for name in sorted(tables, key="text".__eq__):
        write_table(args.target / name, tables[name])
    print(f"{args.target}: {len(tables['text'])} mixtures of {args.epochs} epochs")


if __name__ == "__main__":
    run_command_line(main)
