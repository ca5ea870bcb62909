"""A progress line with a bar and the time left, on a terminal only."""

import contextlib
import os
import shutil
import threading
import time
from typing import Iterable, Iterator, Optional, TypeVar

from espnet_mtasr.console import stderr

T = TypeVar("T")
ERASE = "\033[K"


def format_seconds(seconds: float) -> str:
    """Format a duration in its two largest units.

    >>> [format_seconds(s) for s in (9.6, 119, 3599, 7260, 180000)]
    ['10 s', '1 min 59 s', '59 min 59 s', '2 h 01 min', '2 d 02 h']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole // 60 % 60:02d} min"
    return f"{whole // 86400} d {whole // 3600 % 24:02d} h"


def format_clock(seconds: float) -> str:
    """Format a position in a recording.

    >>> [format_clock(s) for s in (9.6, 75, 3723)]
    ['0:09', '1:15', '1:02:03']
    """
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def progress_line(label: str, share: float, detail: str, rest: str, width: int) -> str:
    """Fit a progress line into `width` columns.

    In a narrow terminal the bar is dropped first, then the detail.

    Args:
        share: Finished share, from 0 to 1.
        detail: For instance "3/8"; may be empty.
        rest: For instance "12 s left"; may be empty.

    >>> progress_line("train", 0.25, "3/12", "9 s left", 45)
    'train [###---------]  25 %, 3/12, 9 s left'
    >>> progress_line("train", 0.25, "3/12", "9 s left", 30)
    'train  25 %, 3/12, 9 s left'
    >>> progress_line("train", 0.25, "3/12", "9 s left", 24)
    'train  25 %, 9 s left'
    """
    # Don't round up to 100 % before the end.
    percent = f"{int(100 * share + 1e-9):3d} %"
    tail = ", ".join(part for part in (percent, detail, rest) if part)
    # In steps of six columns, or the bar would change its length with every digit.
    length = min((width - len(label) - len(tail) - 4) // 6 * 6, 30)
    if length >= 6:
        filled = int(length * share + 1e-9)
        tail = f"[{'#' * filled}{'-' * (length - filled)}] {tail}"
    elif len(label) + 1 + len(tail) > width:
        tail = f"{percent}, {rest}" if rest else percent
    return f"{label} {tail}"[:width]


class TerminalLine:
    """A line on stderr that is rewritten in place; nothing if that is not a terminal.

    A wrapped line could not be erased, so the last column stays empty.
    """

    def __init__(self):
        self.shown = stderr().isatty()
        self.start = time.monotonic()

    def draw(
        self, label: str, share: float, detail: str, left: Optional[float] = None
    ) -> None:
        """Rewrite the line; `left` in seconds, None: not known yet."""
        rest = "" if left is None else f"{format_seconds(left)} left"
        self._write(label, share, detail, rest, "")

    def finish(self, label: str, share: float, detail: str) -> None:
        """Write the final line and leave it there."""
        rest = f"took {format_seconds(time.monotonic() - self.start)}"
        self._write(label, share, detail, rest, "\n")

    def erase(self) -> None:
        """Erase the line."""
        if self.shown:
            print(f"\r{ERASE}", end="", file=stderr(), flush=True)

    def write(self, text: str, end: str = "") -> None:
        """Write a text that fits on the line."""
        if self.shown:
            text = text[: _columns() - 1]
            print(f"\r{text}{ERASE}", end=end, file=stderr(), flush=True)

    def _write(self, label: str, share: float, detail: str, rest: str, end: str):
        if self.shown:
            self.write(progress_line(label, share, detail, rest, _columns() - 1), end)


@contextlib.contextmanager
def busy(text: str) -> Iterator[None]:
    """Show a text and the elapsed time, on a terminal, for work of unknown length."""
    line = TerminalLine()
    done = threading.Event()

    def count() -> None:
        while not done.wait(1.0):
            line.write(f"{text}, {format_seconds(time.monotonic() - line.start)}")

    thread = threading.Thread(target=count, daemon=True)
    line.write(text)
    if line.shown:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if line.shown:
            thread.join()
        line.erase()


def _columns() -> int:
    """Width of the terminal at stderr: stdout often goes through a pipe (`| tee`)."""
    try:
        columns = os.get_terminal_size(stderr().fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return columns if columns > 0 else shutil.get_terminal_size().columns


def progress(
    items: Iterable[T], total: int, label: str, in_logs: bool = False
) -> Iterator[T]:
    """Yield `items`; on a terminal, show the progress in a line on stderr.

    Args:
        total: Number of items.
        label: Begins the line.
        in_logs: Elsewhere, write a line after each item, for bin/show_progress.py.
    """
    line = TerminalLine()
    last = line.start
    for number, item in enumerate(items, 1):
        try:
            yield item
        finally:
            # zip() never resumes this generator after the last item.
            if line.shown and number == total:
                line.finish(label, 1.0, f"{number}/{total}")
            if in_logs and not line.shown:
                print(f"{label}: {number} of {total}", file=stderr(), flush=True)
        now = time.monotonic()
        if line.shown and number < total and now - last > 0.5:
            left = (now - line.start) / number * (total - number)
            line.draw(label, number / total, f"{number}/{total}", left)
            last = now
