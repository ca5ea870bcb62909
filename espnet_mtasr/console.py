"""What a command says on standard error: its own words, apart from libraries'."""

import contextlib
import os
import sys
from typing import Iterator, Optional, TextIO

# Where own words go while everything else is kept away.
_own: Optional[TextIO] = None


def stderr() -> TextIO:
    """Return the stream for a command's own words."""
    return sys.stderr if _own is None else _own


def takes_color(stream: TextIO) -> bool:
    """Say if it is a terminal that shows colors, and nobody has set `NO_COLOR`."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def say(line: str) -> None:
    """Write a line of the command's own."""
    print(line, file=stderr(), flush=True)


@contextlib.contextmanager
def own_words_only() -> Iterator[None]:
    """Keep from standard error what isn't written by `say` or to `stderr()`.

    Libraries write there by Python's `sys.stderr`, by loggers that have kept it, and,
    where they are written in C, by its number.
    """
    global _own
    if _own is not None:
        yield
        return
    kept = sys.stderr
    kept.flush()
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))
        saved = os.dup(2)
        stack.callback(os.close, saved)
        _own = stack.enter_context(_reopened(saved, kept)) if _is_2(kept) else kept
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = nowhere
        try:
            yield
        finally:
            # What Python's own stream still holds is a library's.
            kept.flush()
            os.dup2(saved, 2)
            sys.stderr, _own = kept, None


def _is_2(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):
        return False


def _reopened(number: int, like: TextIO) -> TextIO:
    return open(
        number,
        "w",
        buffering=1,
        encoding=like.encoding,
        errors=like.errors,
        closefd=False,
    )
