"""Download corpora; by default LibriSpeech, WHAM!'s noise and LibriMix's metadata.

Run the command again to resume a stopped download; complete parts are kept.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.corpora.download.archives import (
    ARCHIVES,
    CORPORA,
    LIBRIMIX_PARTS,
    PARTS,
    read_md5sums,
    sources_of,
    with_md5sums,
)
from espnet_mtasr.corpora.download.corpora import Request, get_corpora
from espnet_mtasr.corpora.download.fetch import Patience
from espnet_mtasr.errors import UserError, run_command_line

# ESPnet's db.sh has this value for a corpus that a recipe downloads.
DOWNLOAD = ("", "downloads")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--download_dir", type=Path, default=Path("downloads"))
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=LIBRIMIX_PARTS,
        metavar="PART",
        help=f"some of {', '.join(PARTS)} (default: those that LibriMix is mixed from)",
    )
    for name, corpus in CORPORA.items():
        parser.add_argument(
            f"--{name}",
            default="downloads",
            metavar="DIR",
            help="existing folder, which is only checked; 'downloads': download it",
        )
        parser.add_argument(
            f"--{corpus.url_variable.lower()}",
            default="",
            metavar="URLS",
            help=f"mirrors to use instead of {corpus.page}, tried in turn: URLs or "
            "paths of the archive or its folder, separated by spaces",
        )
    parser.add_argument(
        "--md5sums",
        type=Path,
        help="file in md5sum's format that replaces the published checksums, for a "
        "mirror with its own archives",
    )
    parser.add_argument(
        "--talker_counts",
        type=int,
        nargs="+",
        default=[2, 3],
        help="whose metadata to download",
    )
    parser.add_argument(
        "--keep_archives",
        choices=("true", "false"),
        nargs="?",
        const="true",
        default="false",
        help="keep archives after unpacking",
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=Patience.retries,
        help="failed attempts in a row before a source is given up",
    )
    parser.add_argument(
        "--retry_wait",
        type=float,
        default=Patience.wait,
        help="seconds before the first retry, doubled each time",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=Patience.timeout,
        help="seconds without data after which a download counts as interrupted",
    )
    return parser


def request_of(args: argparse.Namespace) -> Request:
    """Turn the command line into a request.

    Raises:
        UserError: an option has a bad value.
    """
    if args.retries < 0 or args.retry_wait < 0 or args.timeout <= 0:
        raise UserError("--retries, --retry_wait or --timeout: give positive numbers")
    archives = ARCHIVES
    if args.md5sums is not None:
        archives = with_md5sums(ARCHIVES, read_md5sums(args.md5sums))
    given, mirrors = {}, {}
    for name, corpus in CORPORA.items():
        folder = getattr(args, name)
        if folder.rstrip("/") not in DOWNLOAD:
            given[name] = Path(folder)
        mirrors[name] = getattr(args, corpus.url_variable.lower())
    for archive in archives:
        sources_of(archive, mirrors)  # a bad address is reported before any work
    return Request(
        folder=args.download_dir,
        parts=tuple(args.parts),
        given=given,
        mirrors=mirrors,
        archives=archives,
        talker_counts=tuple(args.talker_counts),
        keep_archives=args.keep_archives == "true",
        patience=replace(
            Patience(),
            retries=args.retries,
            wait=args.retry_wait,
            timeout=args.timeout,
        ),
    )


def main(cmd: Optional[Sequence[str]] = None) -> None:
    request = request_of(get_parser().parse_args(cmd))
    try:
        get_corpora(request)
    except KeyboardInterrupt:
        print("\nstopped; run again to resume", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run_command_line(main)
