"""cpWER of parts of a corpus: by how much talkers overlap, and by their number.

Source: overlap bins as in the multi-talker literature since LibriCSS (Chen et al.,
2020); pooled counts, so that every word weighs the same.
"""

from bisect import bisect_right
from typing import Dict, List, Mapping, Optional, Sequence, Union

from espnet_mtasr.scoring.error_counts import ErrorCounts

OVERLAP_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

Bin = Dict[str, Union[int, float, None]]


def by_overlap(
    errors: Mapping[str, ErrorCounts], overlaps: Mapping[str, float]
) -> List[Bin]:
    """Pool the errors of utterances with similar overlap.

    Args:
        errors: Utterance id to counts.
        overlaps: Utterance id to the fraction of the speech time in which two or
            more talk, from 0 to 1. A bin holds its lower edge; the last holds 1 too.

    Returns:
        Per bin `lo`, `hi`, `n_words` and `cpwer` (percent; None without words).

    Raises:
        ValueError: an overlap is not in [0, 1].
    """
    pooled = [ErrorCounts() for _ in OVERLAP_EDGES[1:]]
    for utt, counts in errors.items():
        overlap = overlaps[utt]
        if not 0.0 <= overlap <= 1.0:
            raise ValueError(f"by_overlap: {utt} has overlap {overlap}, not in [0, 1]")
        index = min(bisect_right(OVERLAP_EDGES, overlap), len(pooled)) - 1
        pooled[index] += counts
    return [
        {"lo": lo, "hi": hi, "n_words": c.words, "cpwer": c.percent}
        for lo, hi, c in zip(OVERLAP_EDGES[:-1], OVERLAP_EDGES[1:], pooled, strict=True)
    ]


def by_talkers(
    errors: Mapping[str, ErrorCounts], num_talkers: Mapping[str, int]
) -> Dict[int, ErrorCounts]:
    """Pool the errors of utterances with the same true talker count."""
    pooled: Dict[int, ErrorCounts] = {}
    for utt, counts in errors.items():
        count = num_talkers[utt]
        pooled[count] = pooled.get(count, ErrorCounts()) + counts
    return pooled


def cpwer_by_talkers(
    sets: Mapping[str, Mapping[int, ErrorCounts]], talker_counts: Sequence[int]
) -> Dict[str, Optional[float]]:
    """Pool the test sets (without any: all sets) and give a cpWER per talker count.

    Args:
        sets: Set name to what `by_talkers` returned. Test sets' names begin so.
        talker_counts: The known counts; one without words gets None.

    Returns:
        Talker count, as a string, to cpWER in percent.
    """
    chosen = [s for name, s in sets.items() if name.startswith("test")]
    chosen = chosen or list(sets.values())
    counts = sorted({*talker_counts, *(count for s in chosen for count in s)})
    return {
        str(count): sum(
            (s.get(count, ErrorCounts()) for s in chosen), ErrorCounts()
        ).percent
        for count in counts
    }
