"""ORC-WER: talkers may share a stream, so only the words' order in a stream counts.

Each talker's text is assigned to one stream. A stream may get several texts, in onset
order. The assignment with the fewest errors counts. Source: Sklyar et al., "Multi-Turn
RNN-T for Streaming Recognition of Multi-Party Speech", 2022; von Neumann et al., "On
Word Error Rate Definitions and their Efficient Computation for Multi-Speaker Speech
Recognition Systems", 2023. The tests compare with their meeteval.

Time and memory of meeteval's exact search grow with the product of the streams'
lengths. Here a talker has one text, so there are few assignments: each group of talkers
is compared with each stream once, whatever the lengths.
"""

from typing import Dict, List, Sequence

from kaldialign import edit_distance

from espnet_mtasr.scoring.error_counts import ErrorCounts, match_talkers

# There are 2 to this power groups of talkers. With more talkers the search isn't exact.
MAX_EXACT_TALKERS = 8

Words = List[str]


def orc_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorCounts:
    """Compare under the assignment of talkers to streams with the fewest errors.

    With more than `MAX_EXACT_TALKERS` talkers, the search starts from cpWER's matching
    and moves talkers one by one while that lowers the errors. The result may be above
    the true ORC-WER, but is never above cpWER.

    Args:
        reference: One text per talker, in onset order.
        hypothesis: One text per stream; an empty list is a missing hypothesis: all
            words are deletions.

    >>> orc_errors(["a b", "c", "d e"], ["a b d e", "c"])
    ErrorCounts(words=5, substitutions=0, deletions=0, insertions=0)
    >>> orc_errors(["a b", "c"], [])
    ErrorCounts(words=3, substitutions=0, deletions=3, insertions=0)
    """
    talkers = [text.split() for text in reference]
    streams = [text.split() for text in hypothesis] or [[]]
    if len(talkers) <= MAX_EXACT_TALKERS:
        return _fewest(talkers, streams)
    return _moved(talkers, streams, _cp_placing(reference, hypothesis))


def _compare(talkers: Sequence[Words], stream: Words) -> ErrorCounts:
    words = [word for talker in talkers for word in talker]
    counts = edit_distance(words, stream)
    return ErrorCounts(len(words), counts["sub"], counts["del"], counts["ins"])


def _fewest(talkers: Sequence[Words], streams: Sequence[Words]) -> ErrorCounts:
    """Try all assignments, stream by stream. A group of talkers is a bit mask."""
    everyone = (1 << len(talkers)) - 1
    members = [
        [talker for k, talker in enumerate(talkers) if group >> k & 1]
        for group in range(everyone + 1)
    ]
    # From the group on the streams so far to its fewest errors.
    best: Dict[int, ErrorCounts] = {0: ErrorCounts()}
    for number, stream in enumerate(streams, 1):
        rest_must_fit = number == len(streams)
        alone = {}
        longer: Dict[int, ErrorCounts] = {}
        for before, errors in best.items():
            free = everyone & ~before
            groups = [free] if rest_must_fit else _groups_in(free)
            for group in groups:
                if group not in alone:
                    alone[group] = _compare(members[group], stream)
                found = errors + alone[group]
                known = longer.get(before | group)
                if known is None or found.errors < known.errors:
                    longer[before | group] = found
        best = longer
    return best[everyone]


def _groups_in(free: int) -> List[int]:
    """List all groups of the talkers in `free`, including the empty one.

    >>> _groups_in(0b101)
    [5, 4, 1, 0]
    """
    groups = [free]
    while groups[-1]:
        groups.append((groups[-1] - 1) & free)
    return groups


def _cp_placing(reference: Sequence[str], hypothesis: Sequence[str]) -> List[int]:
    """Return each talker's stream in cpWER's matching, or the first if it has none."""
    placing = [0] * len(reference)
    for talker, stream in match_talkers(reference, hypothesis).assignment:
        if talker is not None and stream is not None:
            placing[talker] = stream
    return placing


def _moved(
    talkers: Sequence[Words], streams: Sequence[Words], placing: List[int]
) -> ErrorCounts:
    """Move talkers one by one to other streams while the errors fall."""

    def on(stream: int) -> ErrorCounts:
        group = [t for t, place in zip(talkers, placing) if place == stream]
        return _compare(group, streams[stream])

    parts = [on(stream) for stream in range(len(streams))]
    moved = True
    while moved:
        moved = False
        for talker in range(len(talkers)):
            for stream in range(len(streams)):
                old = placing[talker]
                if stream == old:
                    continue
                placing[talker] = stream
                left, joined = on(old), on(stream)
                before = parts[old].errors + parts[stream].errors
                if left.errors + joined.errors < before:
                    parts[old], parts[stream] = left, joined
                    moved = True
                else:
                    placing[talker] = old
    return sum(parts, ErrorCounts())
