"""Confidence interval of a word error rate by the bootstrap over utterances.

Source: Bisani and Ney, "Bootstrap Estimates for Confidence Intervals in ASR
Performance Evaluation", ICASSP 2004: draw as many utterances as there are, with
replacement, and take percentiles of the draws' rates.
"""

from typing import Sequence, Tuple

import numpy as np

from espnet_mtasr.scoring.error_counts import ErrorCounts


def bootstrap_interval(
    errors: Sequence[ErrorCounts],
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Tuple[float, float]:
    """Return the interval's lower and upper end, in percent.

    Args:
        errors: One per utterance, in a fixed order: the same order and seed give the
            same interval.

    Raises:
        ValueError: no utterance has reference words.
    """
    if not any(counts.words for counts in errors):
        raise ValueError("bootstrap_interval: no reference words")
    rng = np.random.default_rng(seed)
    # (utterances, 2): errors and words
    table = np.array([(counts.errors, counts.words) for counts in errors])
    totals = np.stack(
        [
            table[rng.integers(len(table), size=len(table))].sum(axis=0)
            for _ in range(draws)
        ]
    )
    # A draw can miss all words only where some references are empty.
    totals = totals[totals[:, 1] > 0]
    rates = 100.0 * totals[:, 0] / totals[:, 1]
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(rates, [tail, 100.0 - tail])
    return float(low), float(high)
