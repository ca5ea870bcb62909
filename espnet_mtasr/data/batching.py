"""Batches of recordings."""

import math
from typing import List, Sequence


def batches_of_similar_length(
    lengths: Sequence[float],
    max_length: float = math.inf,
    max_items: float = math.inf,
) -> List[List[int]]:
    """Group recordings so that there is little padding.

    Args:
        lengths: Of each recording, in any unit.
        max_length: Longest batch, padding included; a longer recording is a batch of
            its own.
        max_items: Most recordings of a batch.

    Returns:
        Their indices, batch by batch, the longest recordings first.

    >>> batches_of_similar_length([2, 9, 3, 1], max_length=6)
    [[1], [2, 0], [3]]
    >>> batches_of_similar_length([2, 9, 3, 1], max_items=3)
    [[1, 2, 0], [3]]
    """
    batches: List[List[int]] = []
    longest = 0.0
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        items = len(batches[-1]) + 1 if batches else 1
        if 1 < items <= max_items and longest * items <= max_length:
            batches[-1].append(place)
        else:
            batches.append([place])
            longest = lengths[place]
    return batches
