"""Word errors of one mixture, as counts that add up to corpus totals.

Two ways to match the streams of a hypothesis with the talkers of a reference:

- FIFO WER: stream k is compared with the k-th talker to begin, so a correct text in the
  wrong stream is an error. Source: serialized CTC assigns streams in onset order.
- cpWER, the concatenated minimum-permutation WER: the matching with the fewest errors.
  Source: Watanabe et al., "CHiME-6 Challenge", 2020, section 4; computed by meeteval.

Character errors, missed talkers and false alarms are also counted under cpWER's
matching. orc.py has a third way.
"""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Optional, Sequence

from kaldialign import edit_distance
from meeteval.wer.wer.cp import CPErrorRate, cp_word_error_rate
from meeteval.wer.wer.siso import siso_word_error_rate

# meeteval refuses to match more streams than this.
MAX_STREAMS = 20


@dataclass(frozen=True)
class ErrorCounts:
    """Number of reference words and of errors.

    >>> ErrorCounts(4, deletions=1) + ErrorCounts(6, substitutions=2)
    ErrorCounts(words=10, substitutions=2, deletions=1, insertions=0)
    >>> sum([ErrorCounts(4, deletions=1), ErrorCounts(6)], ErrorCounts()).percent
    10.0
    """

    words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def percent(self) -> Optional[float]:
        """Errors per 100 words of the reference; None if it has no words."""
        return 100.0 * self.errors / self.words if self.words else None


def fifo_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    """Compare stream k with talker k.

    Args:
        reference: One text per talker, in onset order.
        hypothesis: One text per stream. Streams beyond the talkers are insertions,
            missing ones deletions; an empty list is a missing hypothesis.

    >>> fifo_errors(["a b", "c"], ["a b", "c d", "e"])
    ErrorCounts(words=3, substitutions=0, deletions=0, insertions=2)
    >>> fifo_errors(["a", "b"], ["b", "a"])
    ErrorCounts(words=2, substitutions=2, deletions=0, insertions=0)
    """
    total = ErrorCounts()
    for talker, stream in zip_longest(reference, hypothesis, fillvalue=""):
        rate = siso_word_error_rate(talker, stream)
        total += ErrorCounts(
            rate.length, rate.substitutions, rate.deletions, rate.insertions
        )
    return total


def match_talkers(reference: Sequence[str], hypothesis: Sequence[str]) -> CPErrorRate:
    """Find meeteval's cpWER matching; its `assignment` pairs talkers with streams."""
    # Without sort=False, meeteval warns about missing timestamps for every utterance.
    return cp_word_error_rate(
        list(reference),
        list(hypothesis),
        reference_sort=False,
        hypothesis_sort=False,
    )


def cp_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    """Compare under the matching of streams and talkers with the fewest errors.

    Args: as for `fifo_errors`.

    Raises:
        RuntimeError: more than `MAX_STREAMS` talkers or streams.

    >>> cp_errors(["a", "b"], ["b", "a"])
    ErrorCounts(words=2, substitutions=0, deletions=0, insertions=0)
    """
    rate = match_talkers(reference, hypothesis)
    return ErrorCounts(rate.length, rate.substitutions, rate.deletions, rate.insertions)


def character_errors(
    reference: Sequence[str], hypothesis: Sequence[str]
) -> ErrorCounts:
    """Compare characters under cpWER's matching of streams and talkers.

    A space between two words is a character. Streams without a talker are insertions,
    talkers without a stream deletions.

    Args: as for `fifo_errors`.

    Returns:
        Counts whose `words` are characters.

    Raises:
        RuntimeError: more than `MAX_STREAMS` talkers or streams.

    >>> character_errors(["a cat", "dog"], ["a cats"])
    ErrorCounts(words=8, substitutions=0, deletions=3, insertions=1)
    """
    total = ErrorCounts()
    for talker, stream in match_talkers(reference, hypothesis).assignment:
        said = "" if talker is None else " ".join(reference[talker].split())
        written = "" if stream is None else " ".join(hypothesis[stream].split())
        counts = edit_distance(list(said), list(written))
        total += ErrorCounts(len(said), counts["sub"], counts["del"], counts["ins"])
    return total


@dataclass(frozen=True)
class TalkerErrors:
    """Number of talkers in the reference and of errors in finding them.

    Attributes:
        talkers: Those who say something.
        missed: Those of them without a matching stream that has words.
        false_alarms: Streams with words that match none of them.
    """

    talkers: int = 0
    missed: int = 0
    false_alarms: int = 0

    def __add__(self, other: "TalkerErrors") -> "TalkerErrors":
        return TalkerErrors(
            self.talkers + other.talkers,
            self.missed + other.missed,
            self.false_alarms + other.false_alarms,
        )

    def percent(self, count: int) -> Optional[float]:
        """`count` per 100 talkers; None without talkers."""
        return 100.0 * count / self.talkers if self.talkers else None


def talker_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> TalkerErrors:
    """Count missed talkers and false alarms under cpWER's matching.

    A talker and a stream with words make fewer errors when matched than when left
    unmatched. So the matching with the fewest errors leaves either talkers or streams
    unmatched, never both, and their numbers alone decide.

    Args: as for `fifo_errors`.

    >>> talker_errors(["a b", "c", "d"], ["a b", ""])
    TalkerErrors(talkers=3, missed=2, false_alarms=0)
    >>> talker_errors(["a b"], ["a", "b"])
    TalkerErrors(talkers=1, missed=0, false_alarms=1)
    """
    talkers = sum(bool(text.split()) for text in reference)
    streams = sum(bool(text.split()) for text in hypothesis)
    return TalkerErrors(talkers, max(0, talkers - streams), max(0, streams - talkers))
