"""Print how data directories store their speech: a line FILE,NAME,TYPE for each.

ESPnet takes it, after the directory, as a data set. mtasr.sh calls this once for all
sets.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import run_command_line
from espnet_mtasr.mixture.speech_list import speech_entry


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directories", nargs="+", metavar="DIR", help="In dump/")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Print the lines; raises `UserError` if a list is missing or damaged."""
    for directory in get_parser().parse_args(cmd).directories:
        path, name, espnet_type = speech_entry(directory)
        print(f"{Path(path).name},{name},{espnet_type}")


if __name__ == "__main__":
    run_command_line(main)
