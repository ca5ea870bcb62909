"""Make corpora alike: recordings without silence at their ends, texts without case."""

import re
from typing import Tuple

import numpy as np

# Frames are speech if they are at most this far below the loudest frames.
SILENCE_DB = 40.0
FRAME = 320
MARGIN_FRAMES = 5


def words_of(text: str) -> str:
    """Keep letters, digits and apostrophes, in lower case, as language models read.

    >>> words_of("WE CALL  it 'bear'.")
    "we call it 'bear'"
    """
    return " ".join(re.sub(r"[^\w' ]", " ", text.lower()).split())


def speech_span(samples: np.ndarray) -> Tuple[int, int]:
    """Return the begin and end sample of speech, including a margin.

    Args:
        samples: `(N,)`.
    """
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    if len(frames) == 0:
        return 0, len(samples)
    level = 10 * np.log10(np.square(frames.astype(np.float64)).mean(1) + 1e-10)
    loud = np.flatnonzero(level > np.percentile(level, 97) - SILENCE_DB)
    first = max(0, loud[0] - MARGIN_FRAMES) * FRAME
    return first, min(len(samples), (loud[-1] + 1 + MARGIN_FRAMES) * FRAME)
