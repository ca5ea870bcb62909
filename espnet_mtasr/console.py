"""A command's own messages on standard error, separate from those of libraries."""

import contextlib
import os
import sys
from typing import Iterator, Optional, TextIO

# Where own messages go while everything else is silenced.
_own: Optional[TextIO] = None


def stderr() -> TextIO:
    """Return the stream for a command's own messages."""
    return sys.stderr if _own is None else _own


def takes_color(stream: TextIO) -> bool:
    """Return whether it is a terminal that shows colors, and `NO_COLOR` is not set."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def say(line: str) -> None:
    """Write one of the command's own lines."""
    print(line, file=stderr(), flush=True)


@contextlib.contextmanager
def own_words_only() -> Iterator[None]:
    """Silence everything on standard error except `say` and `stderr()`.

    Libraries write there through Python's `sys.stderr`, through loggers that hold it,
    and, if they are written in C, through its file descriptor.
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
            # Python's own stream may still buffer output of a library.
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
