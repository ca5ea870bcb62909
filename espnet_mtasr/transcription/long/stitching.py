"""Join the words of windows without losing or doubling words at seams."""

from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import List, Mapping, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr.transcription.long.windows import Place
from espnet_mtasr.transcription.transcript import Part, Talker, Voice, Word

Words = Tuple[Word, ...]
# Seconds by which two windows' times of a word may differ.
SLACK = 0.5


@dataclass(frozen=True)
class Heard:
    """A model's result for a window.

    Attributes:
        place: Where the window begins.
        end: Seconds from the recording's beginning.
        next: Where the next can begin.
        talkers: Their words, in times of the recording; none: no speech.
        count_probabilities: As in `Transcript`.
        voices: Of the talkers, if wanted.
        texts: Of the talkers, if their words have no times; then no window has a seam.
    """

    place: Place
    end: float
    next: Place
    talkers: Tuple[Words, ...]
    count_probabilities: Optional[Mapping[int, float]] = None
    voices: Tuple[Voice, ...] = ()
    texts: Tuple[str, ...] = ()


class Stitcher:
    """Joins the windows of a channel, in their order."""

    def __init__(self) -> None:
        self._waiting: Optional[Heard] = None

    def add(self, heard: Heard) -> List[Part]:
        """Take the next window; return parts that are complete."""
        before, self._waiting = self._waiting, heard
        if before is None:
            return []
        if heard.place.seam is None:
            return [self._part(before, before.end)]
        if not before.talkers or not heard.talkers:
            return [self._part_beside_no_speech(before, heard)]
        seam = heard.place.seam
        streams = match_streams(before.talkers, heard.talkers, seam)
        left, right, voices = [], [], []
        for stream in range(max(len(before.talkers), *(s + 1 for s in streams), 0)):
            old = before.talkers[stream] if stream < len(before.talkers) else ()
            place = streams.index(stream) if stream in streams else None
            new = () if place is None else heard.talkers[place]
            if heard.voices:
                voice = Voice() if place is None else heard.voices[place]
                linked = bool(common_words(old, new))
                voices.append(replace(voice, linked=linked))
            old, new = join_at_seam(old, new, seam)
            left.append(old)
            right.append(new)
        self._waiting = replace(heard, talkers=tuple(right), voices=tuple(voices))
        before = replace(before, talkers=tuple(left))
        return [self._part(before, seam)]

    def end(self) -> List[Part]:
        """Return the last part."""
        last, self._waiting = self._waiting, None
        return [] if last is None else [self._part(last, last.end)]

    def _part_beside_no_speech(self, before: Heard, heard: Heard) -> Part:
        """Give what both windows have to the one with talkers, if one has."""
        end = heard.place.start if heard.talkers else before.end
        self._waiting = replace(heard, place=Place(end))
        return self._part(before, end)

    @staticmethod
    def _part(heard: Heard, end: float) -> Part:
        seam = heard.place.seam
        start = heard.place.start if seam is None else seam
        talkers = tuple(map(Talker, heard.talkers))
        if heard.texts:
            talkers = tuple(Talker((), untimed=text) for text in heard.texts)
        return Part(
            start,
            end,
            talkers,
            heard.count_probabilities,
            seam is not None,
            voices=heard.voices,
        )


def match_streams(
    before: Sequence[Words], after: Sequence[Words], seam: float
) -> List[int]:
    """Return, for each talker of a window, its number in the previous window.

    Talkers that say the same words at the same times near the seam are the same; the
    others get the remaining numbers, in order.

    Args:
        before: Words of the earlier window's talkers.
        after: Words of the later one's.
        seam: Seconds.
    """
    from scipy.optimize import linear_sum_assignment

    number = max(len(before), len(after))
    alike = np.zeros((len(after), number))
    for row, new in enumerate(after):
        for column, old in enumerate(before):
            alike[row, column] = len(common_words(old, new))
    # Break ties in order.
    alike -= 1e-3 * np.abs(np.arange(number) - np.arange(len(after))[:, None])
    rows, columns = linear_sum_assignment(alike, maximize=True)
    return [int(column) for _, column in sorted(zip(rows, columns))]


def common_words(old: Words, new: Words) -> List[Tuple[int, int]]:
    """Return the places, in both, of equal words at about the same time."""
    if not old or not new:
        return []
    first = next(
        (n for n, word in enumerate(old) if word.end > new[0].start - SLACK), len(old)
    )
    last = next(
        (n for n, word in enumerate(new) if word.start > old[-1].end + SLACK), len(new)
    )
    a, b = ([word.text for word in some] for some in (old[first:], new[:last]))
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    pairs = [
        (first + block.a + n, block.b + n)
        for block in blocks
        for n in range(block.size)
    ]
    return [(a, b) for a, b in pairs if abs(_middle(old[a]) - _middle(new[b])) <= SLACK]


def join_at_seam(old: Words, new: Words, seam: float) -> Tuple[Words, Words]:
    """Return a talker's words up to a place near the seam, and those from there on.

    Windows are least reliable at their ends. If both have a word, the switch is at the
    word that is nearest to the seam; otherwise it is at the seam.
    """
    common = common_words(old, new)
    if not common:
        return (
            tuple(word for word in old if _middle(word) < seam),
            tuple(word for word in new if _middle(word) >= seam),
        )
    a, b = min(common, key=lambda pair: abs(_middle(old[pair[0]]) - seam))
    return old[: a + 1], new[b + 1 :]


def _middle(word: Word) -> float:
    return (word.start + word.end) / 2
