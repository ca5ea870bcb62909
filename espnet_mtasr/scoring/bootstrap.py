"""Confidence intervals of word error rates by the bootstrap over utterances.

Source: Bisani and Ney, "Bootstrap Estimates for Confidence Intervals in ASR
Performance Evaluation", ICASSP 2004: draw as many utterances as there are, with
replacement, and take percentiles of the draws' rates. Two systems are compared on the
same draws.
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
    """Return the interval's lower and upper ends, in percent.

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
    # A draw has no words only if some references are empty.
    totals = totals[totals[:, 1] > 0]
    rates = 100.0 * totals[:, 0] / totals[:, 1]
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(rates, [tail, 100.0 - tail])
    return float(low), float(high)


def paired_bootstrap_interval(
    errors: np.ndarray,
    baseline: np.ndarray,
    words: np.ndarray,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Tuple[float, float, float]:
    """Return the difference of two error rates and its interval's ends, in points.

    Several trainings of a system are averaged; each utterance is drawn for all of them.

    Args:
        errors: `(S, N)` errors of S trainings on N utterances.
        baseline: `(S', N)` errors of the system that is subtracted.
        words: `(N,)` reference words.

    Raises:
        ValueError: the numbers of utterances differ, or there are no words.
    """
    if not errors.shape[1] == baseline.shape[1] == len(words) or not words.sum():
        raise ValueError(
            f"paired_bootstrap_interval: errors {errors.shape}, baseline "
            f"{baseline.shape}, words {words.shape} with {words.sum()} words in all"
        )
    gain = errors.mean(axis=0) - baseline.mean(axis=0)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(words), size=(draws, len(words)))
    totals = words[drawn].sum(axis=1)
    rates = 100.0 * gain[drawn].sum(axis=1)[totals > 0] / totals[totals > 0]
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(rates, [tail, 100.0 - tail])
    return float(100.0 * gain.sum() / words.sum()), float(low), float(high)
