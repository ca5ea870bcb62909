#!/usr/bin/env python3
"""Add onsets to LibriMix's metadata, in which every talker starts at 0.

A mixture's onsets depend only on policy, seed and mixture id, not on the file, its
order or its other mixtures.

Example:
    python -m espnet_mtasr.bin.add_onsets --out data/local/metadata
        metadata/Libri2Mix metadata/Libri3Mix/libri3mix_test-clean.csv
"""

import argparse
import sys
from pathlib import Path
from typing import Iterable, List, Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Add onsets to LibriMix's metadata; writes OUT/NAME.csv."
    )
    parser.add_argument(
        "csvs",
        nargs="+",
        type=Path,
        metavar="CSV",
        help="LibriMix metadata, or folders with it; *_info.csv files are skipped",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="output folder for the new CSVs"
    )
    parser.add_argument(
        "--onsets",
        nargs="+",
        default=["librimix"],
        metavar="POLICY",
        help="librimix: talker 2 at 1.0 to 1.5 s, talker 3 at 2.5 to 3.0 s; "
        "successive LOW HIGH: each LOW to HIGH s after the previous one; none: all at "
        "0",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--redraw",
        action="store_true",
        help="draw new onsets also for metadata that already has onsets (otherwise an "
        "error)",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep existing onsets, and draw only missing ones",
    )
    return parser


def list_csvs(paths: Iterable[Path]) -> List[Path]:
    """Return the lists of mixtures, given as files or in folders.

    Raises:
        UserError: a folder has none, or two have the same name.
    """
    from espnet_mtasr.mixture.metadata import is_info_file

    found: List[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        lists = [p for p in inside if not is_info_file(p)]
        if path.is_dir() and not lists:
            raise UserError(f"{path}: has no CSV of mixtures; check the folder")
        if len(lists) < len(inside):
            print(
                f"{path}: skipped {len(inside) - len(lists)} *_info.csv, which list "
                "talkers",
                file=sys.stderr,
            )
        found += lists
    if not found:
        raise UserError("only *_info.csv files were given; they contain no mixtures")
    first = {}
    for path in found:
        if path.name in first:
            raise UserError(
                f"{path} and {first[path.name]} would both become {path.name}; give "
                f"them in two calls with different --out"
            )
        first[path.name] = path
    return found


def main(cmd: Optional[Sequence[str]] = None) -> None:
    args = get_parser().parse_args(cmd)
    from espnet_mtasr.mixture.metadata import (
        has_onsets,
        read_metadata,
        write_metadata,
    )
    from espnet_mtasr.mixture.onsets import add_onsets, parse_policy

    if args.keep and args.redraw:
        raise UserError("--keep and --redraw: can't be combined; give only one")
    policy = parse_policy(args.onsets)
    work = []
    for path in list_csvs(args.csvs):
        target = args.out / path.name
        if target.exists() and target.samefile(path):
            raise UserError(f"{path}: would be overwritten; choose another --out")
        rows = read_metadata(path)
        kept = args.keep and has_onsets(path)
        late = next((row for row in rows if any(row.onsets)), None)
        if late is not None and not (args.redraw or kept):
            raise UserError(
                f"{late.origin}: {late.mixture_id} has onsets; use the file as it is, "
                f"or --keep, or --redraw"
            )
        if not kept:
            rows = add_onsets(rows, policy, args.seed)
        work.append((target, rows, "kept" if kept else "drawn"))
    for target, rows, how in work:
        write_metadata(target, rows)
        talkers = rows[0].n_talkers
        print(f"{target}: {len(rows)} mixtures of {talkers} talkers, onsets {how}")


if __name__ == "__main__":
    run_command_line(main)
