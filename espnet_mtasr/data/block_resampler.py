"""Resample recordings block by block, with the same result as for the whole."""

from math import ceil, gcd
from typing import Iterable, Iterator

import numpy as np

from espnet_mtasr.data.audio import resample

# `scipy.signal.resample_poly` has a filter with this many samples on each side, at the
# lower of both rates.
HALF_FILTER = 10


def resample_blocks(
    blocks: Iterable[np.ndarray], own_rate: int, rate: int
) -> Iterator[np.ndarray]:
    """Resample (N, channels) floats as `resample` would the blocks' concatenation.

    Args:
        blocks: (n, channels) each, of any lengths.
        own_rate: Hz.
        rate: Hz wanted.

    Yields:
        (n', channels) each, in the type of the blocks.
    """
    if own_rate == rate:
        yield from blocks
        return
    common = gcd(own_rate, rate)
    up, down = rate // common, own_rate // common
    # Both begin at multiples of `down` samples, where input and output samples meet.
    context = ceil((HALF_FILTER * max(up, down) / up + 1) / down) * down
    kept, before = np.zeros((0, 1)), 0
    for block in blocks:
        kept = np.concatenate([kept, block]) if len(kept) else block
        done = (len(kept) - context) // down * down
        if done > context:
            yield _resample(kept, own_rate, rate)[
                before // down * up : done // down * up
            ]
            kept, before = kept[done - context :], context
    if len(kept):
        yield _resample(kept, own_rate, rate)[before // down * up :]


def _resample(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    return np.stack([resample(wave, own_rate, rate) for wave in samples.T], 1)
