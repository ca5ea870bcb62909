"""Times for every format: whole milliseconds, in order, inside the recording.

Subtitles have no finer times, and Praat refuses a tier whose intervals overlap or have
no length. All formats get the same times, so that they can be compared.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, List, Tuple

if TYPE_CHECKING:
    from espnet_mtasr.transcription.transcript import Part, Talker, Transcript, Word


def milliseconds(seconds: float) -> int:
    """The nearest millisecond."""
    return round(seconds * 1000)


def tidy(transcript: Transcript) -> Transcript:
    """Round times to milliseconds; give every word a time of its own.

    A talker says one word after the other: if two of a talker's words overlap, the
    first ends when the second begins. A word of length 0 gets a millisecond. Numbers
    become Python floats, and bytes of a file name that aren't UTF-8 become U+FFFD.

    Args:
        transcript: Its words in the order in which they were said.

    Returns:
        A transcript in which 0 <= start < end <= next start, and no word ends after the
        recording.

    Raises:
        ValueError: a word is empty or contains spaces, or a talker has more words than
            the recording has milliseconds.
    """
    seconds = float(transcript.seconds)
    # Rounding down keeps times inside the recording, but 1.001 * 1000 is below 1001.
    length = math.floor(round(seconds * 1000, 6))
    name = transcript.recording.encode("utf-8", "surrogateescape")
    probabilities = transcript.count_probabilities
    if probabilities is not None:
        probabilities = {count: float(p) for count, p in probabilities.items()}
    return replace(
        transcript,
        recording=name.decode("utf-8", "replace"),
        seconds=seconds,
        talkers=tuple(_tidy_talker(talker, length) for talker in transcript.talkers),
        count_probabilities=probabilities,
        parts=tuple(tidy_part(part, length) for part in transcript.parts),
    )


def tidy_part(part: Part, length: int) -> Part:
    """Do the same with a part of a recording of `length` milliseconds."""
    talkers = tuple(_tidy_talker(talker, length) for talker in part.talkers)
    return replace(part, talkers=talkers)


def _tidy_talker(talker: Talker, length: int) -> Talker:
    for word in talker.words:
        if word.text.split() != [word.text]:
            raise ValueError(f"{word.text!r} is not one word")
    words = tuple(
        replace(
            word, start=start / 1000, end=end / 1000, confidence=float(word.confidence)
        )
        for word, (start, end) in zip(talker.words, _tidy_times(talker.words, length))
    )
    return replace(talker, words=words)


def _tidy_times(words: Tuple[Word, ...], length: int) -> List[Tuple[int, int]]:
    """Start and end of each word in milliseconds; `length` is the recording's."""
    if len(words) > length:
        raise ValueError(f"{len(words)} words do not fit into {length} ms")
    starts: List[int] = []
    for i, word in enumerate(words):
        earliest = starts[-1] + 1 if starts else 0
        latest = length - (len(words) - i)
        starts.append(min(max(milliseconds(word.start), earliest), latest))
    limits = [*starts[1:], length]
    return [
        (start, min(max(milliseconds(word.end), start + 1), limit))
        for word, start, limit in zip(words, starts, limits)
    ]
