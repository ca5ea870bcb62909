"""Excerpts of conversations: training examples that begin and end anywhere.

In a mixture each talker says one utterance, and all begin within a second or two. The
windows of a long recording are different: people take turns, one is in the middle of a
sentence when the window begins, another when it ends. An excerpt is made to be like
them. The recordings of some talkers become turns that follow each other or overlap, and
a part of this conversation is cut out. A talker's text has the words of which most is
in the part.
"""

from dataclasses import replace
from random import Random
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr.mixture.cuts import words_within
from espnet_mtasr.mixture.spec import Source, Span

# Seconds from the end of some turns to the next ones; negative: they overlap. A longer
# pause ends a window.
GAP = (-0.3, 0.55)
# Seconds of a conversation before and after the place where an excerpt may begin.
AROUND = 6.0
# Share of excerpts that begin with the conversation, and that end with it.
FROM_BEGINNING, TO_END = 0.2, 0.15
# Share of a word that must be within an excerpt.
MOST_OF_WORD = 0.6


class Turn(NamedTuple):
    """What a talker says without a break.

    Attributes:
        source: The recording, or a part of it.
        onset: Seconds from the beginning.
        words: What is said.
        spans: Start and end of each word in seconds from the turn's onset.
    """

    source: Source
    onset: float
    words: Sequence[str]
    spans: Sequence[Span]

    @property
    def end(self) -> float:
        """Seconds from the beginning."""
        return self.onset + self.source.length


class Conversations:
    """Makes conversations from recordings, and cuts excerpts from them.

    Args:
        recordings: Sources and their texts.
        onsets: Talker count to onsets of turns that begin together, in seconds from the
            first of them.
        words: Path to the seconds of each word; recordings that aren't in it have their
            words placed evenly, by letters.
    """

    def __init__(
        self,
        recordings: Sequence[Tuple[Source, str]],
        onsets: Mapping[int, Sequence[Tuple[float, ...]]],
        words: Mapping[str, Sequence[Span]],
    ):
        self._of: Dict[str, List[Tuple[Source, str]]] = {}
        for source, text in recordings:
            self._of.setdefault(source.talker, []).append((source, text))
        self._everyone = sorted(self._of)
        self._onsets = onsets
        self._words = words

    def draw(
        self, num_people: int, seconds: float, speeds: Sequence[float], rng: Random
    ) -> List[Turn]:
        """Return an excerpt's turns, first to begin first; a few may have no words.

        Args:
            num_people: Talkers of the conversation; the excerpt may have fewer.
            seconds: Length of the excerpt.
            speeds: One is drawn for each talker.
            rng: Random numbers.
        """
        people = rng.sample(self._everyone, min(num_people, len(self._everyone)))
        speed_of = {talker: rng.choice(speeds) for talker in people}
        turns = self._converse(people, seconds + 2 * AROUND, speed_of, rng)
        last = max(max(turn.end for turn in turns) - seconds, 0.0)
        place = rng.random()
        begin = rng.uniform(0.0, last)
        if place < FROM_BEGINNING:
            begin = 0.0
        elif place > 1 - TO_END:
            begin = last
        parts = [_part(turn, begin, begin + seconds) for turn in turns]
        return sorted(filter(None, parts), key=lambda turn: turn.onset)

    def _converse(
        self,
        people: Sequence[str],
        least: float,
        speed_of: Mapping[str, float],
        rng: Random,
    ) -> List[Turn]:
        """Return turns that fill at least this many seconds."""
        turns: List[Turn] = []
        end_of = dict.fromkeys(people, 0.0)
        end = 0.0
        while end < least:
            some = rng.sample(people, rng.randint(1, len(people)))
            onsets = rng.choice(self._onsets.get(len(some)) or [(0.0,) * len(some)])
            begin = end + (rng.uniform(*GAP) if turns else 0.0)
            for talker, onset in zip(some, onsets):
                source, text = rng.choice(self._of[talker])
                source = replace(source, speed=speed_of[talker])
                words, spans = self._place_words(source, text)
                # Nobody talks over himself.
                turns.append(
                    Turn(source, max(begin + onset, end_of[talker]), words, spans)
                )
                end_of[talker] = turns[-1].end
            end = max(end_of.values())
        return turns

    def _place_words(
        self, source: Source, text: str
    ) -> Tuple[Sequence[str], Sequence[Span]]:
        words = text.split()
        spans: Sequence[Span] = words_within(self._words.get(source.path, ()), source)
        if len(spans) != len(words):
            bounds = np.cumsum([0, *map(len, words)]) * source.seconds
            bounds = (bounds / max(1, sum(map(len, words)))).tolist()
            spans = list(zip(bounds, bounds[1:]))
        return words, [(a / source.speed, b / source.speed) for a, b in spans]


def _part(turn: Turn, begin: float, end: float) -> Optional[Turn]:
    """Return what is left of a turn between two times; None: no word is."""
    start, stop = max(turn.onset, begin), min(turn.end, end)
    words, spans = [], []
    for word, (first, last) in zip(turn.words, turn.spans):
        inside = min(turn.onset + last, stop) - max(turn.onset + first, start)
        if inside > 0 and inside >= MOST_OF_WORD * (last - first):
            words.append(word)
            spans.append((turn.onset + first - start, turn.onset + last - start))
    if not words:
        return None
    source = turn.source
    if (start, stop) != (turn.onset, turn.end):
        offset = source.span[0] if source.span is not None else 0.0
        span = (
            offset + (start - turn.onset) * source.speed,
            offset + (stop - turn.onset) * source.speed,
        )
        source = replace(source, span=span, seconds=span[1] - span[0])
    return Turn(source, start - begin, words, spans)


def texts_of(turns: Sequence[Turn]) -> List[str]:
    """Return each talker's text, in the order of their first turns."""
    words: Dict[str, List[str]] = {}
    for turn in turns:
        words.setdefault(turn.source.talker, []).extend(turn.words)
    return [" ".join(of_talker) for of_talker in words.values()]
