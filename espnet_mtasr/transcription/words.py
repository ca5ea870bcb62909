"""Words from a CTC's tokens: their texts, frames and probabilities."""

import math
from typing import Callable, List, NamedTuple, Sequence, Tuple

from espnet_mtasr.asr.ctc_alignment import TokenSpan
from espnet_mtasr.transcription.calibration.calibration import Calibration


class WordSpan(NamedTuple):
    """Frames of one word.

    Attributes:
        text: The word.
        start: First frame of its first token.
        end: Frame after its last token.
        probability: The product of its tokens' CTC probabilities.
    """

    text: str
    start: int
    end: int
    probability: float


def group_by_word(
    tokens: Sequence[str], tokens2text: Callable[[Sequence[str]], str]
) -> List[List[int]]:
    """Return the indices of the tokens of each word in the tokens' text.

    Args:
        tokens: Of any kind: pieces, characters, words.
        tokens2text: As ESPnet's tokenizers have it.

    >>> spell = lambda tokens: "".join(tokens).replace("_", " ").strip()
    >>> group_by_word(["_go", "_", "o", "n", "_", "_now"], spell)
    [[0], [2, 3], [5]]
    """
    words: List[List[int]] = []
    for place, token in enumerate(tokens):
        # Separators belong to no word.
        if not tokens2text([token]).strip():
            continue
        found = len(tokens2text(tokens[: place + 1]).split())
        begun: List[List[int]] = [[] for _ in range(found - len(words))]
        words += begun
        # A token may contain several words.
        for word in begun or words[-1:]:
            word.append(place)
    return words


def words_of(
    tokens: Sequence[str],
    spans: Sequence[TokenSpan],
    tokens2text: Callable[[Sequence[str]], str],
) -> List[WordSpan]:
    """Return the words of a talker's tokens, given their `spans`.

    Raises:
        ValueError: the numbers of spans and tokens differ.
    """
    if len(tokens) != len(spans):
        raise ValueError(f"{len(tokens)} tokens, {len(spans)} spans")
    texts = tokens2text(tokens).split()
    words = []
    for text, places in zip(texts, group_by_word(tokens, tokens2text), strict=True):
        heard = [spans[place] for place in places]
        probability = math.prod(span.probability for span in heard)
        words.append(WordSpan(text, heard[0].start, heard[-1].end, probability))
    return words


def word_times(
    spans: Sequence[WordSpan],
    frame_seconds: float,
    seconds: float,
    calibration: Calibration = Calibration(),
) -> List[Tuple[float, float]]:
    """Return start and end of a talker's words, in seconds.

    They are within the recording and don't overlap. A word lasts at least a frame,
    unless the recording is too short for that.

    Args:
        spans: Words in their order.
        frame_seconds: Seconds per frame.
        seconds: Length of the recording.
        calibration: Shifts starts and ends.

    >>> spans = [WordSpan("good", 0, 1, 0.9), WordSpan("day", 4, 5, 0.9)]
    >>> word_times(spans, 0.1, 2.0, Calibration(start_seconds=-0.2, end_seconds=0.5))
    [(0.0, 0.2), (0.2, 1.0)]
    """
    starts = [s.start * frame_seconds + calibration.start_seconds for s in spans]
    ends = [s.end * frame_seconds + calibration.end_seconds for s in spans]
    times: List[Tuple[float, float]] = []
    free = 0.0
    for start, end, following in zip(starts, ends, [*starts[1:], seconds]):
        start = min(max(start, free), max(free, seconds - frame_seconds))
        end = min(max(min(end, following), start + frame_seconds), seconds)
        times.append((round(start, 3), round(end, 3)))
        free = end
    return times
