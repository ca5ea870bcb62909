"""Word errors of one mixture, as counts that add up to corpus totals.

Two ways to match the streams of a hypothesis with the talkers of a reference:

- FIFO WER: stream k is compared with the k-th talker to begin, so a right text in the
  wrong stream is wrong. Source: serialized CTC assigns streams in onset order.
- cpWER, the concatenated minimum-permutation WER: the matching with the fewest errors.
  Source: Watanabe et al., "CHiME-6 Challenge", 2020, section 4; computed by meeteval.
"""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Optional, Sequence

from meeteval.wer.wer.cp import CPErrorRate, cp_word_error_rate
from meeteval.wer.wer.siso import siso_word_error_rate

# meeteval refuses to match more streams than this.
MAX_STREAMS = 20


@dataclass(frozen=True)
class ErrorCounts:
    """Words of the reference, and the errors made on them.

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
    # Without sort=False, meeteval warns of missing time stamps for every utterance.
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
