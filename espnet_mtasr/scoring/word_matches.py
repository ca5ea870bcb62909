"""Which written words are right, one by one, under cpWER's matching of talkers.

The alignment is by kaldialign, as in alignment.py.
"""

from typing import List, NamedTuple, Optional, Sequence

from kaldialign import align

from espnet_mtasr.scoring.error_counts import match_talkers

GAP = "\0"


class WordMatch(NamedTuple):
    """A written word, and the spoken word that it matches.

    Attributes:
        stream: Its stream, from 0.
        place: Its position in the stream, from 0.
        talker: Who said it; None: nobody, so the word is wrong.
        spoken: Its position in the talker's text; None: the word is wrong.
    """

    stream: int
    place: int
    talker: Optional[int] = None
    spoken: Optional[int] = None

    @property
    def correct(self) -> bool:
        """Whether the word was said."""
        return self.talker is not None


def match_words(reference: Sequence[str], hypothesis: Sequence[str]) -> List[WordMatch]:
    """Return an entry for each word of the hypothesis, stream by stream.

    Args:
        reference: One text per talker.
        hypothesis: One text per stream.

    >>> [tuple(m) for m in match_words(["a b", "c"], ["c d", "b"])]
    [(0, 0, 1, 0), (0, 1, None, None), (1, 0, 0, 1)]
    """
    talkers = {
        stream: talker
        for talker, stream in match_talkers(reference, hypothesis).assignment
        if talker is not None and stream is not None
    }
    matches = []
    for stream, text in enumerate(hypothesis):
        talker = talkers.get(stream)
        said = [] if talker is None else reference[talker].split()
        place = spoken = 0
        for r, h in align(said, text.split(), GAP):
            if h != GAP:
                match = WordMatch(stream, place)
                matches.append(
                    match._replace(talker=talker, spoken=spoken) if r == h else match
                )
                place += 1
            if r != GAP:
                spoken += 1
    return matches
