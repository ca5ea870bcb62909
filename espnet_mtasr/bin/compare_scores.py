"""Compare two decodings that have been scored: `espnet-mtasr score --compare A B`.

Prints the comparison as Markdown, and writes COMPARISON.md and .html to --output_dir.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "--compare",
        nargs=2,
        type=Path,
        required=True,
        metavar=("A", "B"),
        help="folders with a results.json of stage 13: decodings, or trainings (their "
        "default decoding is used)",
    )
    add(
        "--output_dir",
        "--output-dir",
        type=Path,
        help="folder for COMPARISON.md and COMPARISON.html",
    )
    add(
        "--data_dir",
        "--data-dir",
        type=Path,
        help="folder with SET/wav.scp or SET/utt2mixture, to add audio to the page",
    )
    add("--fs", type=int, default=16000, help="rate of these in Hz; default: 16000")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Compare; raises `UserError` if an option or a file must be fixed."""
    args = get_parser().parse_args(cmd)
    if args.fs < 1:
        raise UserError(f"--fs {args.fs}: give a rate in Hz, for instance 16000")
    if args.data_dir is not None and not args.data_dir.is_dir():
        raise UserError(f"--data_dir {args.data_dir}: no such folder; name another")
    from espnet_mtasr.mixture.speech_list import read_by_id
    from espnet_mtasr.scoring.comparison import (
        compare,
        find_decoding,
        format_comparison,
    )
    from espnet_mtasr.scoring.report.comparison_page import render_comparison

    a, b = map(find_decoding, args.compare)
    sets = compare(a, b)
    text = format_comparison(a, b, sets)
    if args.output_dir is not None:
        read = None if args.data_dir is None else read_by_id(args.data_dir)
        page = render_comparison(a, b, sets, read, args.fs)
        write_whole(args.output_dir / "COMPARISON.html", page)
        write_whole(args.output_dir / "COMPARISON.md", text)
    print(text, end="")


if __name__ == "__main__":
    run_command_line(main)
