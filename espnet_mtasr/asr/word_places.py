"""Convert between times of tokens and times of words.

Token lists differ between models; words don't. So words carry an alignment from one
model to the training of another.
"""

from typing import List, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr.mixture.spec import Span

# The space marks of sentencepiece and of byte-level pieces, such as Llama's.
BLANKS = "\u2581\u0120"


def letters(token: str) -> int:
    """Return the letters of a token; 0 for tokens between words.

    >>> [letters(token) for token in ("\\u2581go", "ing", "\\u0120go", "<space>")]
    [2, 3, 2, 0]
    """
    return 0 if token == "<space>" else len(token.lstrip(BLANKS))


def _bounds(
    tokens: Sequence[str], words: Sequence[str]
) -> Optional[Tuple[np.ndarray, np.ndarray]]:
    """Return the letters before each token and before each word, then the total."""
    of_tokens = np.cumsum([0, *(letters(token) for token in tokens)])
    of_words = np.cumsum([0, *(len(word) for word in words)])
    same = of_tokens[-1] == of_words[-1] and len(words) > 0
    return (of_tokens, of_words) if same else None


def places_of_tokens(
    tokens: Sequence[str], words: Sequence[str], spans: Sequence[Span]
) -> Optional[np.ndarray]:
    """Place tokens evenly, by their letters, within their words.

    Args:
        tokens: Pieces of words, or characters, of the whole text.
        words: Of the text.
        spans: Start and end of each word.

    Returns:
        `(len(tokens), 2)` float32, start and end; None if the tokens don't match the
        words' letters (for example, an unknown token).

    >>> spans = [(0, 1), (2, 4)]
    >>> places_of_tokens(["▁go", "▁ho", "me"], ["go", "home"], spans).tolist()
    [[0.0, 1.0], [2.0, 3.0], [3.0, 4.0]]
    """
    bounds = _bounds(tokens, words)
    if bounds is None:
        return None
    of_tokens, of_words = bounds
    sizes = np.diff(of_words)
    starts, ends = np.asarray(spans, dtype=np.float64).T

    def time_at(letter: np.ndarray, word: np.ndarray) -> np.ndarray:
        share = (letter - of_words[word]) / sizes[word]
        return starts[word] + share * (ends[word] - starts[word])

    last = len(words) - 1
    begins_in = np.searchsorted(of_words[1:], of_tokens[:-1], side="right").clip(
        0, last
    )
    ends_in = np.searchsorted(of_words[1:], of_tokens[1:], side="left").clip(0, last)
    begin = time_at(of_tokens[:-1], begins_in)
    end = time_at(of_tokens[1:], ends_in)
    # Tokens without letters are between the words around them.
    between = of_tokens[:-1] == of_tokens[1:]
    begin[between], end[between] = end[between], begin[between]
    return np.stack([begin, end], axis=1).astype(np.float32)


def spans_of_words(
    tokens: Sequence[str], words: Sequence[str], places: Sequence[Span]
) -> Optional[List[Span]]:
    """Return start and end of each word, given those of each token.

    Args:
        tokens: See `places_of_tokens`.
        words: Of the text.
        places: Start and end of each token.

    Returns:
        None if the tokens don't match the words' letters.

    >>> spans_of_words(["▁go", "▁ho", "me"], ["go", "home"], [(0, 1), (2, 3), (5, 6)])
    [(0, 1), (2, 6)]
    """
    bounds = _bounds(tokens, words)
    if bounds is None:
        return None
    of_tokens, of_words = bounds
    firsts = np.searchsorted(of_tokens[1:], of_words[:-1], side="right")
    lasts = np.searchsorted(of_tokens[1:], of_words[1:], side="left")
    return [(places[first][0], places[last][1]) for first, last in zip(firsts, lasts)]
