"""Errors that a user can mend, and how command lines report them."""

import sys
from typing import Callable, Optional, Sequence


class UserError(ValueError):
    """Bad input. Its message is one line: the file, line or option, and the mend."""


def run_command_line(
    main: Callable[[Optional[Sequence[str]]], None],
    cmd: Optional[Sequence[str]] = None,
) -> None:
    """Run `main(cmd)`; a `UserError` becomes one line on stderr and exit code 2."""
    try:
        main(cmd)
    except UserError as e:
        name = sys.argv[0].rsplit("/", 1)[-1].removesuffix(".py")
        # A library's message that is quoted may have more lines than one.
        print(f"{name}: error: {' '.join(str(e).split())}", file=sys.stderr)
        sys.exit(2)
