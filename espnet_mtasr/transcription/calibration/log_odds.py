"""Log odds of probabilities, and back."""

import math

# Log odds use probabilities at least this far from 0 and 1.
MARGIN = 1e-6


def log_odds(probability: float) -> float:
    """Natural logarithm of p / (1 - p), of a p that is neither 0 nor 1.

    >>> log_odds(0.5)
    0.0
    """
    p = min(max(probability, MARGIN), 1 - MARGIN)
    return math.log(p / (1 - p))


def logistic(odds: float) -> float:
    """The probability of log odds; it doesn't overflow.

    >>> logistic(0.0), logistic(-1e4)
    (0.5, 0.0)
    """
    return 0.5 * (1 + math.tanh(odds / 2))
