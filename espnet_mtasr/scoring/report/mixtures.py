"""Mixtures of a set, one by one: who said what and what was written, in color."""

from typing import Any, List, Mapping, NamedTuple, Optional, Sequence

from espnet_mtasr.scoring.alignment import GAP, align_talkers
from espnet_mtasr.scoring.error_counts import ErrorCounts, match_talkers
from espnet_mtasr.scoring.posteriors import Posteriors
from espnet_mtasr.scoring.report.charts import NUM_COLORS
from espnet_mtasr.scoring.report.html import Markup, tag
from espnet_mtasr.scoring.report.posteriors import (
    EXPLAINED,
    ROWS,
    draw_curves,
    place_labels,
)
from espnet_mtasr.scoring.segments import Interval

# Mixtures shown per set.
WORST, MEDIAN = 3, 1
# Of the time line, in CSS pixels of a narrow window; wide ones stretch it.
WIDEST, NARROWEST, SECOND = 4000, 1000, 80
ROW, LEFT = 22, 70
# Of a stream in it: its curves, a row of tokens below them, and all with a margin.
CURVES, TOKENS = 40, 13
STREAM = CURVES + ROWS * TOKENS + 10
# Words of a talker that are shown.
MOST_WORDS = 200


class Shown(NamedTuple):
    """A mixture that is shown.

    Attributes:
        utt: Utterance id.
        why: Why it is shown: `worst` or `median`.
    """

    utt: str
    why: str


def choose(
    errors: Mapping[str, ErrorCounts], worst: int = WORST, median: int = MEDIAN
) -> List[Shown]:
    """Choose the mixtures with the highest cpWER, then those in the middle.

    If rates are equal, more errors are worse. Mixtures without reference words are left
    out.

    >>> errors = {u: ErrorCounts(4, n) for u, n in zip("abcde", (0, 4, 2, 3, 1))}
    >>> [f"{m.utt} {m.why}" for m in choose(errors, worst=2)]
    ['b worst', 'd worst', 'c median']
    """
    known = [(utt, counts) for utt, counts in errors.items() if counts.words]
    known.sort(key=lambda pair: (-(pair[1].percent or 0.0), -pair[1].errors, pair[0]))
    utts = [utt for utt, _ in known]
    first = max(0, (len(utts) - median) // 2)
    middle = [utt for utt in utts[first : first + median] if utt not in utts[:worst]]
    shown = [Shown(utt, "worst") for utt in utts[:worst]]
    return shown + [Shown(utt, "median") for utt in middle]


def render_words(reference: Sequence[str], hypothesis: Sequence[str]) -> List[Markup]:
    """Return spoken words above written words, per talker; errors are colored.

    An error has S, D or I below it: substituted, deleted or inserted.

    Args:
        reference: One text per talker.
        hypothesis: One text per stream.
    """
    shown = []
    for talker, stream, words in align_talkers(reference, hypothesis):
        who = "nobody" if talker is None else f"talker {talker + 1}"
        where = "not written" if stream is None else f"stream {stream + 1}"
        cells = [
            tag(
                "span",
                *(tag("b", "" if word == GAP else word) for word in (said, written)),
                tag("i", error),
                class_=error or None,
            )
            for said, written, error in words[:MOST_WORDS]
        ]
        if len(words) > MOST_WORDS:
            cells.append(tag("span", f"and {len(words) - MOST_WORDS} more words"))
        color = None if talker is None else f"s{talker % NUM_COLORS}"
        heading = tag("div", tag("span", f"{who}, {where}", class_=color), class_="key")
        shown.append(Markup(heading + tag("div", cells, class_="words")))
    return shown


def time_line(
    intervals: Sequence[Interval], seconds: float, streams: Sequence[Markup] = ()
) -> Optional[Markup]:
    """Draw when each talker speaks, and CTC posteriors; None if no time is known.

    Args:
        intervals: (start, end) of each talker, in seconds.
        seconds: The recording's length.
        streams: What `draw_streams` returned.
    """
    if not seconds or not (intervals or streams):
        return None
    width = width_of(seconds)
    bars = ROW * len(intervals)
    height = bars + STREAM * len(streams)
    drawn: List[Any] = []
    for k, (start, end) in enumerate(intervals):
        x, last = (LEFT + time / seconds * (width - LEFT) for time in (start, end))
        label = tag("text", f"talker {k + 1}", x=0, y=ROW * k + 15)
        bar = tag(
            "rect",
            tag("title", f"{start:.2f} to {end:.2f} s"),
            x=round(x, 1),
            y=ROW * k + 4,
            width=round(last - x, 1),
            height=ROW - 8,
            class_=f"fill s{k % NUM_COLORS}",
        )
        drawn += [label, bar]
    for k, stream in enumerate(streams):
        top = bars + STREAM * k
        label = tag("text", f"stream {k + 1}", x=0, y=top + CURVES / 2 + 8)
        drawn += [label, tag("g", stream, transform=f"translate({LEFT} {top + 4})")]
    drawn.append(tag("line", x1=LEFT, y1=0, x2=LEFT, y2=height, class_="cursor"))
    picture = tag(
        "svg",
        drawn,
        viewBox=f"0 0 {width} {height}",
        class_="times",
        style=f"min-width:{width}px",
        data_seconds=f"{seconds:.3f}",
        data_left=LEFT,
        data_right=width,
    )
    return tag("div", picture, class_="wide")


def width_of(seconds: float) -> int:
    """Return the width of a time line."""
    return min(max(NARROWEST, LEFT + round(SECOND * seconds)), WIDEST)


def draw_streams(
    streams: Sequence[Posteriors],
    reference: Sequence[str],
    hypothesis: Sequence[str],
    seconds: float,
) -> List[Markup]:
    """Draw the posteriors of each stream, in the color of its talker.

    Args:
        streams: Of a mixture.
        reference: One text per talker.
        hypothesis: One text per stream.
        seconds: The recording's length.
    """
    talkers = {
        stream: talker
        for talker, stream in match_talkers(reference, hypothesis).assignment
        if talker is not None
    }
    width = width_of(seconds) - LEFT
    drawn = []
    for k, posteriors in enumerate(streams):
        scale = f"scale({width / max(len(posteriors.best), 1):.4f} {CURVES / 100})"
        curves = tag(
            "g", draw_curves(posteriors, "var(--c, var(--pale))"), transform=scale
        )
        tokens = [
            tag("text", label.token, x=label.x, y=CURVES + TOKENS * (label.row + 0.8))
            for label in place_labels(posteriors, width)
        ]
        base = tag("line", x1=0, y1=CURVES, x2=width, y2=CURVES, class_="grid")
        talker = talkers.get(k)
        color = "ctc" if talker is None else f"ctc s{talker % NUM_COLORS}"
        drawn.append(
            tag("g", tag("title", EXPLAINED), base, curves, tokens, class_=color)
        )
    return drawn
