"""How far confidences are from the measured accuracy.

Source: expected calibration error, Guo et al., "On Calibration of Modern Neural
Networks", ICML 2017: bins of equal width.
"""

from typing import Sequence

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
