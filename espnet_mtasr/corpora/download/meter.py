"""Readable sizes, and a progress line for downloads."""

import time
from typing import Optional

from espnet_mtasr.progress import TerminalLine


def format_bytes(n: float) -> str:
    """Format a number of bytes in powers of 1000, like disk sizes.

    >>> [format_bytes(n) for n in (0, 999, 340_000, 337_926_286, 23_049_477_885)]
    ['0 B', '999 B', '340.0 kB', '337.9 MB', '23.0 GB']
    """
    if n < 1000:
        return f"{n:.0f} B"
    for unit in ("kB", "MB", "GB"):
        n /= 1000
        if n < 999.95:
            return f"{n:.1f} {unit}"
    return f"{n / 1000:.1f} TB"


class Meter:
    """A progress line that counts bytes; on a terminal only."""

    def __init__(self, label: str, total: Optional[float], done: int = 0) -> None:
        self.label, self.total = label, total
        self.line = TerminalLine()
        self.first = done
        self.drawn = 0.0

    def show(self, done: int) -> None:
        """Redraw the line, at most twice a second."""
        now = time.monotonic()
        if now - self.drawn < 0.5:
            return
        self.drawn = now
        rate = (done - self.first) / max(now - self.line.start, 1e-9)
        detail = f"{format_bytes(done)}, {format_bytes(rate)}/s"
        if not self.total:
            self.line.draw(self.label, 0.0, detail)
            return
        left = (self.total - done) / rate if rate > 0 else None
        self.line.draw(self.label, min(done / self.total, 1.0), detail, left)

    def close(self) -> None:
        self.line.erase()
