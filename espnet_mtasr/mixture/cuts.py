"""Cut recordings at their pauses, if the times of their words are known.

Utterances of audiobooks are long; training on their parts gives more mixtures per hour.
"""

from dataclasses import replace
from typing import List, Sequence, Tuple

from espnet_mtasr.mixture.spec import Source, Span

# Cut at a pause this long if the part before it is at least this long, in seconds.
LONG_PAUSE, WITH_LONG_PAUSE = 0.44, 2.5
SHORT_PAUSE, WITH_SHORT_PAUSE = 0.32, 4.5
# Seconds that a recording must still have.
LEAST_REST = 1.2
# Place in the pause for the cut: words end later than their last token.
SHARE_BEFORE = 0.6


def cut_at_pauses(
    source: Source, words: Sequence[str], spans: Sequence[Span]
) -> List[Tuple[Source, str]]:
    """Return the parts of a recording, and what is said in them.

    Args:
        source: A whole recording.
        words: The words in it.
        spans: Start and end of each word in seconds.

    Returns:
        An empty list if it has no pause to cut at.
    """
    parts: List[Tuple[Source, str]] = []
    begin, first = 0.0, 0
    for place in range(1, len(words)):
        end_before, start = spans[place - 1][1], spans[place][0]
        pause = start - end_before
        cut = end_before + SHARE_BEFORE * pause
        if _ends(cut - begin, pause) and source.seconds - cut > LEAST_REST:
            parts.append(_part(source, (begin, cut), words[first:place]))
            begin, first = cut, place
    if not parts:
        return []
    return [*parts, _part(source, (begin, source.seconds), words[first:])]


def _ends(seconds: float, pause: float) -> bool:
    return (seconds >= WITH_LONG_PAUSE and pause >= LONG_PAUSE) or (
        seconds >= WITH_SHORT_PAUSE and pause >= SHORT_PAUSE
    )


def _part(source: Source, span: Span, words: Sequence[str]) -> Tuple[Source, str]:
    return replace(source, span=span, seconds=span[1] - span[0]), " ".join(words)


def words_within(spans: Sequence[Span], source: Source) -> List[Span]:
    """Return the times of a part's words, from the part's beginning.

    Args:
        spans: Of all words of the recording.
        source: The part, or the whole.
    """
    if source.span is None:
        return list(spans)
    begin, end = source.span
    # No word crosses a cut.
    return [
        (start - begin, stop - begin)
        for start, stop in spans
        if begin <= (start + stop) / 2 < end
    ]
