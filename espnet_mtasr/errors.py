"""Errors that a user can fix, and how command lines report them."""

import os
import sys
from typing import Callable, Optional, Sequence

from espnet_mtasr.lifetime import end_with_caller


class UserError(ValueError):
    """Bad input. Its message is one line: the file, line or option, and the fix."""


def run_command_line(
    main: Callable[[Optional[Sequence[str]]], None],
    cmd: Optional[Sequence[str]] = None,
) -> None:
    """Run `main(cmd)`; a `UserError` becomes one line on stderr and exit code 2.

    So does a file or disk that can't be read or written. Ctrl-C gives exit code 130,
    and a closed pipe on standard output, for instance by `head`, exit code 1. A command
    that was called by a recipe's script ends when that script is killed.
    """
    end_with_caller()
    try:
        main(cmd)
        sys.stdout.flush()
    except UserError as e:
        _exit_with(str(e))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except OSError as e:
        _drop_output()
        where = "standard output" if e.filename is None else os.fsdecode(e.filename)
        _exit_with(
            f"{where}: {e.strerror}; check the path, its permissions and the space on "
            f"its disk"
        )


def _exit_with(message: str) -> None:
    name = sys.argv[0].rsplit("/", 1)[-1].removesuffix(".py")
    # A quoted message of a library may have several lines.
    line = f"{name}: error: {' '.join(message.split())}"
    print(line.encode("utf-8", "replace").decode("utf-8"), file=sys.stderr)
    sys.exit(2)


def _drop_output() -> None:
    """Keep Python from failing again when it flushes standard output at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        # Standard output is not a file, or closed.
        pass
