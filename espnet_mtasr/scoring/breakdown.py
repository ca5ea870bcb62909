"""cpWER of parts of a corpus: by talker count, and by what makes mixtures hard.

Source: overlap bins as in the multi-talker literature since LibriCSS (Chen et al.,
2020). Counts are pooled, so every word has the same weight.
"""

import math
from bisect import bisect_right
from typing import Dict, List, Mapping, Optional, Sequence, Union

from espnet_mtasr.scoring.conditions import GENDERS, Conditions
from espnet_mtasr.scoring.error_counts import ErrorCounts

OVERLAP_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
# None: an open end. LibriMix has talkers 1.0 to 2.0 s apart, the mini recipe 0.5 to
# 1.0 s. LibriMix's talkers differ by up to 8 dB; its noise is from 13 dB below a talker
# to 3 dB above.
EDGES = {
    "onset_gap": (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, None),
    "snr": (None, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0, None),
    "level_difference": (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, None),
}

Edges = Sequence[Optional[float]]
Bin = Dict[str, Union[int, float, str, None]]


def group_by_value(
    errors: Mapping[str, ErrorCounts],
    values: Mapping[str, Optional[float]],
    edges: Edges,
) -> List[List[ErrorCounts]]:
    """Group the errors of utterances with similar values.

    Args:
        errors: Utterance id to counts.
        values: Utterance id to value. Utterances without one (None) are left out.
        edges: Ascending; a first or last None is an open end. A bin includes its lower
            edge; the last bin also includes its upper edge.

    Returns:
        The utterances' counts per bin.

    Raises:
        ValueError: a value is outside the edges.
    """
    low = -math.inf if edges[0] is None else edges[0]
    high = math.inf if edges[-1] is None else edges[-1]
    inner = [edge for edge in edges[1:-1] if edge is not None]
    groups: List[List[ErrorCounts]] = [[] for _ in edges[1:]]
    for utt, counts in errors.items():
        value = values[utt]
        if value is None:
            continue
        if not low <= value <= high:
            raise ValueError(f"{utt} has value {value}, not in [{low:g}, {high:g}]")
        groups[bisect_right(inner, value)].append(counts)
    return groups


def by_value(
    errors: Mapping[str, ErrorCounts],
    values: Mapping[str, Optional[float]],
    edges: Edges,
) -> List[Bin]:
    """Pool the errors of utterances with similar values.

    Args, raises: see `group_by_value`.

    Returns:
        Per bin `lo`, `hi`, `n_words` and `cpwer` (percent; None without words).

    >>> by_value({"u": ErrorCounts(4, 1)}, {"u": 0.5}, (0, 0.5, None))[1]
    {'lo': 0.5, 'hi': None, 'n_words': 4, 'cpwer': 25.0}
    """
    pooled = [
        sum(group, ErrorCounts()) for group in group_by_value(errors, values, edges)
    ]
    return [
        {"lo": lo, "hi": hi, "n_words": c.words, "cpwer": c.percent}
        for lo, hi, c in zip(edges[:-1], edges[1:], pooled, strict=True)
    ]


def by_overlap(
    errors: Mapping[str, ErrorCounts], overlaps: Mapping[str, float]
) -> List[Bin]:
    """Pool the errors of utterances with similar overlap.

    Args:
        errors: Utterance id to counts.
        overlaps: Utterance id to the fraction of the speech time in which two or
            more talk, from 0 to 1.

    Returns:
        See `by_value`.

    Raises:
        ValueError: an overlap is not in [0, 1].
    """
    return by_value(errors, overlaps, OVERLAP_EDGES)


def by_condition(
    errors: Mapping[str, ErrorCounts], conditions: Mapping[str, Conditions], name: str
) -> List[Bin]:
    """Pool the errors of utterances with similar conditions.

    Args:
        errors: Utterance id to counts.
        conditions: Utterance id to conditions.
        name: A key of `EDGES`.

    Returns:
        See `by_value`; [] if it isn't known for any utterance.
    """
    values = {utt: getattr(conditions[utt], name) for utt in errors}
    if all(value is None for value in values.values()):
        return []
    return by_value(errors, values, EDGES[name])


def by_gender(
    errors: Mapping[str, ErrorCounts], conditions: Mapping[str, Conditions]
) -> List[Bin]:
    """Pool the errors of utterances with talkers of the same gender, and of the others.

    Returns:
        `genders` (`same`, `mixed`), `n_words` and `cpwer` (percent; None without
        words); [] if the genders aren't known for any utterance.
    """
    pooled = {genders: ErrorCounts() for genders in GENDERS}
    known = False
    for utt, counts in errors.items():
        genders = conditions[utt].genders
        if genders is not None:
            pooled[genders] += counts
            known = True
    return [
        {"genders": genders, "n_words": c.words, "cpwer": c.percent}
        for genders, c in pooled.items()
        if known
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
    """Return a cpWER per talker count, pooled over the test sets.

    If there are no test sets, all sets are pooled.

    Args:
        sets: Set name to what `by_talkers` returned. Names of test sets start with
            `test`.
        talker_counts: The known counts; a count without words gets None.

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
