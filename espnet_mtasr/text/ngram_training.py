"""Estimate an n-gram language model over units (see ngram.py)."""

from typing import List, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr.errors import UserError
from espnet_mtasr.text.ngram import KEY_BITS, Ngram, Order, bits_of


def train_ngram(
    texts: Sequence[np.ndarray],
    tokens: Sequence[str],
    least: Sequence[int],
    most: Optional[int] = None,
) -> Ngram:
    """Return an n-gram model by interpolated Kneser-Ney smoothing.

    It takes about 70 bytes of memory per unit of text.

    Args:
        texts: Each `(n,)` ids of its units, not empty.
        tokens: The V units.
        least: For each length n from 1, the smallest count of an n-gram that is kept;
            those that are dropped leave their probability to shorter ones. For all but
            the longest, a count is the number of different units before it.
        most: Largest number of n-grams; the counts that are kept rise until they fit.
            Single units are always kept. None: any number.

    Raises:
        UserError: there are no texts, or n-grams of this length of so many units don't
            fit into 63 bits.
    """
    bits, boundary = bits_of(len(tokens)), len(tokens)
    check_length(len(least), tokens)
    if len(texts) == 0:
        raise UserError("--text: has no sentences for an n-gram; give other files")
    end = np.array([boundary])
    ids = np.concatenate([end, *(part for text in texts for part in (text, end))])
    ids = ids.astype(np.int64)
    longer: Optional[np.ndarray] = None
    orders: List[Order] = []
    kept_counts: List[np.ndarray] = []
    for n in range(len(least), 0, -1):
        found, counts = _counts(ids, n, bits, longer)
        order, kept = _smoothed(found, counts, bits, least[n - 1])
        orders.append(order)
        kept_counts.append(kept)
        longer = found
    if most is not None:
        wanted = _wanted_count(kept_counts[:-1], most - len(kept_counts[-1]))
        for place, counts in enumerate(kept_counts[:-1]):
            orders[place] = _pruned(orders[place], counts >= wanted)
    return Ngram(tokens, orders[::-1])


def longest(tokens: Sequence[str]) -> int:
    """Return the largest length of n-grams of these units."""
    return KEY_BITS // bits_of(len(tokens))


def check_length(length: int, tokens: Sequence[str]) -> None:
    """Raise `UserError` if n-grams of this length don't fit into 63 bits."""
    if not 1 <= length <= longest(tokens):
        raise UserError(
            f"--ngram_num {length}: give 1 to {longest(tokens)}, with {len(tokens)} "
            "units"
        )


def _counts(ids: np.ndarray, n: int, bits: int, longer: Optional[np.ndarray]):
    """Return all different n-grams, sorted, and their counts.

    Args:
        ids: `(N,)`, with the boundary between texts.
        n: Length.
        bits: Of a unit.
        longer: The different n-grams of length n + 1.
    """
    if longer is None:
        return np.unique(_packed(ids, n, bits), return_counts=True)
    # Nothing is before the start of a text, so n-grams with it are counted as they are.
    first = _packed(ids, n, bits, only_first=True) if n > 1 else ids[:0]
    inside = longer & ((1 << bits * n) - 1)
    return _merged(
        np.unique(inside, return_counts=True), np.unique(first, return_counts=True)
    )


def _merged(some, others):
    keys, counts = (np.concatenate(pair) for pair in zip(some, others))
    order = np.argsort(keys, kind="stable")
    return keys[order], counts[order]


def _packed(ids: np.ndarray, n: int, bits: int, only_first: bool = False) -> np.ndarray:
    """Return the n-grams of all texts, packed; no boundary is inside of one."""
    boundary = ids[0]
    keys = np.zeros(max(len(ids) - n + 1, 0), np.int64)
    kept = np.ones(len(keys), bool)
    for place in range(n):
        units = ids[place : place + len(keys)]
        keys = keys << bits | units
        if 0 < place < n - 1:
            kept &= units != boundary
        elif place == 0 and only_first:
            kept &= units == boundary
    if n == 1:
        # The first one is before the first text, and ends none.
        kept[0] = False
    return keys[kept]


def _smoothed(
    keys: np.ndarray, counts: np.ndarray, bits: int, least: int
) -> Tuple[Order, np.ndarray]:
    """Return the n-grams of one length that are kept, and their counts."""
    contexts = keys >> bits
    starts = np.flatnonzero(np.diff(contexts, prepend=-1))
    contexts = contexts[starts]
    sizes = np.diff(np.append(starts, len(keys)))
    totals = np.add.reduceat(counts, starts)
    shares = counts - _discounts(counts)[np.minimum(counts, 3)]
    every = Order(
        contexts,
        np.append(starts, len(keys)),
        1.0 - np.add.reduceat(shares, starts) / totals,
        keys & ((1 << bits) - 1),
        shares / np.repeat(totals, sizes),
    )
    kept = counts >= least
    return _pruned(every, kept), counts[kept]


def _wanted_count(counts: Sequence[np.ndarray], most: int) -> int:
    """Return the smallest count that at most `most` n-grams reach."""
    every = np.sort(np.concatenate([np.zeros(1, np.int64), *counts]))[::-1]
    return int(every[max(most, 0)]) + 1 if most < len(every) else 0


def _pruned(order: Order, kept: np.ndarray) -> Order:
    """Return an order without some n-grams; their shares go to shorter ones.

    Args:
        order: All n-grams of one length.
        kept: `(N,)` which of them are kept.
    """
    starts = order.starts[:-1]
    dropped = np.where(kept, 0.0, order.probs)
    backoffs = order.backoffs + np.add.reduceat(dropped, starts)
    left = np.add.reduceat(kept, starts, dtype=np.int64)
    some = left > 0
    return Order(
        order.contexts[some],
        np.concatenate([[0], np.cumsum(left[some])]).astype(np.int64),
        backoffs[some].astype(np.float32),
        order.units[kept].astype(np.int32),
        order.probs[kept].astype(np.float32),
    )


def _discounts(counts: np.ndarray) -> np.ndarray:
    """Return the discounts of counts 0, 1, 2, and 3 or more (Chen and Goodman)."""
    once, twice, thrice, four = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if min(once, twice, thrice) > 0:
        share = once / (once + 2 * twice)
        found = np.array(
            [
                0.0,
                1 - 2 * share * twice / once,
                2 - 3 * share * thrice / twice,
                3 - 4 * share * four / thrice,
            ]
        )
        if (found[1:] > 0).all() and (found < [1, 1, 2, 3]).all():
            return found
    # Too little text to estimate them, or nearly all n-grams are known.
    return np.array([0.0, 0.5, 0.75, 0.9])
