"""A progress line with the time left, on a terminal only."""

import sys
import time
from typing import Iterable, Iterator, TypeVar

T = TypeVar("T")


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Pass `items` on; on a terminal, rewrite a line on stderr as they come."""
    shown = sys.stderr.isatty()
    start = last = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if shown and (now - last > 0.5 or number == total):
            left = (now - start) / number * (total - number)
            end = "\n" if number == total else ""
            line = f"\r{label}: {number}/{total}, {left:4.0f} s left"
            print(line, end=end, file=sys.stderr, flush=True)
            last = now
