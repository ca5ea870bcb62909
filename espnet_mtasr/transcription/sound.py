"""The sound of a recording as it comes: samples block by block, never all at once."""

from dataclasses import dataclass, field
from typing import Iterable, Iterator, List, Optional

import numpy as np


@dataclass
class Sound:
    """What is in a recording, to be read once.

    Attributes:
        blocks: `(n, channels)` each, float32 unless they came as something else.
        rate: Hz.
        seconds: Its length, as far as it says; None: it doesn't.
        warnings: What isn't as it should be; complete behind the last block.
    """

    blocks: Iterable[np.ndarray]
    rate: int
    seconds: Optional[float] = None
    warnings: List[str] = field(default_factory=list)


def in_blocks_of(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Join blocks `(n, ...)` to such of at least `length` samples, but for the last.

    >>> [len(b) for b in in_blocks_of([np.zeros(3)] * 4, 5)]
    [6, 6]
    """
    kept: List[np.ndarray] = []
    samples = 0
    for block in blocks:
        kept.append(block)
        samples += len(block)
        if samples >= length:
            yield np.concatenate(kept)
            kept, samples = [], 0
    if samples:
        yield np.concatenate(kept)
