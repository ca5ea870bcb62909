"""How far confidences are from the measured accuracy.

Source: expected calibration error, Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017: bins of equal width.
"""

from typing import List, NamedTuple, Sequence

BINS = 15


def expected_calibration_error(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = BINS
) -> float:
    """Return the mean over all words of |confidence - share of right words| per bin.

    Args:
        confidences: In [0, 1].
        correct: Whether each word is right.
        bins: Number of bins.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: there are no words, or the numbers of answers and confidences
            differ.

    >>> expected_calibration_error([0.75] * 4, [True, True, True, False])
    0.0
    >>> expected_calibration_error([0.9, 0.9, 0.3, 0.3], [True, False, False, False])
    0.35
    """
    import numpy as np

    if len(confidences) != len(correct) or len(confidences) == 0:
        raise ValueError(f"{len(confidences)} confidences, {len(correct)} answers")
    promised = np.asarray(confidences, dtype=float)
    kept = np.asarray(correct, dtype=float)
    at = np.minimum((promised * bins).astype(int), bins - 1)
    # |sum of promises - sum of right words| of each bin.
    gaps = np.bincount(at, promised - kept, minlength=bins)
    return round(float(np.abs(gaps).sum()) / len(promised), 12)


class Bin(NamedTuple):
    """Answers of similar confidence.

    Attributes:
        lo: Lower limit of the confidence.
        hi: Upper limit.
        n: Number of answers.
        confidence: Their mean.
        right: Share of right ones.
    """

    lo: float
    hi: float
    n: int
    confidence: float
    right: float


def reliability(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = BINS
) -> List[Bin]:
    """Return the bins that have answers.

    Args: as for `expected_calibration_error`.

    >>> for bin in reliability([0.2, 0.4, 0.9], [False, True, True], 2):
    ...     print(*bin)
    0.0 0.5 2 0.3 0.5
    0.5 1.0 1 0.9 1.0
    """
    found = []
    for k in range(bins):
        here = [
            (p, bool(answer))
            for p, answer in zip(confidences, correct, strict=True)
            if min(int(p * bins), bins - 1) == k
        ]
        if here:
            means = (round(sum(values) / len(here), 4) for values in zip(*here))
            limits = (round(k / bins, 4), round((k + 1) / bins, 4))
            found.append(Bin(*limits, len(here), *means))
    return found
