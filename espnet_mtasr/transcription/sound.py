"""A recording's samples, read block by block, never all at once."""

from dataclasses import dataclass, field
from typing import Iterable, Iterator, List, Optional

import numpy as np


@dataclass
class Sound:
    """The samples of a recording; they can only be read once.

    Attributes:
        blocks: `(n, channels)` each, float32 unless given in another type.
        rate: Hz.
        seconds: Length by its header; None: unknown.
        warnings: Problems; complete after the last block.
    """

    blocks: Iterable[np.ndarray]
    rate: int
    seconds: Optional[float] = None
    warnings: List[str] = field(default_factory=list)


def in_blocks_of(blocks: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Join blocks `(n, ...)` into blocks of at least `length` samples, except the last.

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
