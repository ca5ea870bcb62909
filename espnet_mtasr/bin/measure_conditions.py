"""Stage 13: compute what makes mixtures hard, for cpWER by these conditions.

For each data directory with `utt2mixture` (what its mixtures are made of), it writes
`utt2conditions`: onset gap, signal-to-noise ratio, level difference and genders. A
directory whose table is newer than `utt2mixture` is skipped. If a recording is missing,
it only warns: the scores then lack these breakdowns.
"""

import argparse
import logging
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "directories", nargs="+", type=Path, metavar="DIR", help="Data directories"
    )
    parser.add_argument("--nj", type=int, default=1, help="Processes")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Measure; raises `UserError` if an option or a table must be fixed."""
    args = get_parser().parse_args(cmd)
    if args.nj < 1:
        raise UserError(f"--nj {args.nj}: give a number from 1")
    for directory in args.directories:
        if not directory.is_dir():
            raise UserError(f"{directory}: no such folder; run the previous stages")
    from espnet_mtasr.mixture import conditions
    from espnet_mtasr.mixture.spec import read_specs

    for directory in args.directories:
        if not (directory / "utt2mixture").is_file():
            continue
        if conditions.is_measured(directory):
            continue
        # An old table must not be used for these mixtures.
        (directory / conditions.TABLE).unlink(missing_ok=True)
        specs = read_specs(directory / "utt2mixture")
        try:
            conditions.measure_set(directory, specs, args.nj)
        except UserError as e:
            logging.warning(
                f"{directory}: no breakdowns by onset gap, SNR, level difference and "
                f"gender: {e}"
            )
        else:
            print(f"{directory}/{conditions.TABLE}: {len(specs)} mixtures", flush=True)


if __name__ == "__main__":
    run_command_line(main)
