#!/usr/bin/env python3
"""`espnet-mtasr`: the command of those who use a trained model.

Sub-commands are modules of this package that have `add_arguments` and `run`; they are
imported when they are called.
"""

import argparse
import sys
from importlib import import_module
from typing import Optional, Sequence

from espnet_mtasr import __version__
from espnet_mtasr.errors import run_command_line

COMMANDS = {"transcribe": "write down what each talker of a recording says"}


def get_parser(command: Optional[str] = None) -> argparse.ArgumentParser:
    """Return the parser; with the options of `command`, one of `COMMANDS`, if given."""
    parser = argparse.ArgumentParser(
        prog="espnet-mtasr", description="Multi-talker speech recognition"
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        sub = commands.add_parser(name, help=purpose)
        if name == command:
            import_module(f"espnet_mtasr.bin.{name}").add_arguments(sub)
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run a sub-command; `UserError` where an option or a file must be mended."""
    words = list(sys.argv[1:] if cmd is None else cmd)
    command = next((word for word in words if not word.startswith("-")), None)
    args = get_parser(command).parse_args(words)
    import_module(f"espnet_mtasr.bin.{args.command}").run(args)


def console() -> None:
    """What the installed command calls."""
    run_command_line(main, name="espnet-mtasr")


if __name__ == "__main__":
    console()
