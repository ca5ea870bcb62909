"""CTC posteriors over time as SVG, for RESULTS.html and for `espnet-mtasr demo`."""

from typing import List, NamedTuple

import numpy as np

from espnet_mtasr.scoring.posteriors import Posteriors
from espnet_mtasr.scoring.report.html import Markup, tag

EXPLAINED = "CTC posteriors: area: most probable token; dashed: blank"
GREY = "#6b7280"
# Two or three per pixel of a wide screen.
MOST_POINTS = 4000
# Of labels: width of a letter, gap between two, in CSS pixels; rows.
LETTER, GAP, ROWS = 6.5, 4.0, 2


class Label(NamedTuple):
    """A token below the curves.

    Attributes:
        token: As in the token list.
        x: Its middle.
        row: From 0.
    """

    token: str
    x: float
    row: int


def draw_curves(posteriors: Posteriors, color: str) -> Markup:
    """Draw the best token's probability as an area, the blank's as a line.

    Args:
        posteriors: Of T frames.
        color: CSS color of the area.

    Returns:
        Two paths in a box that is T wide and 100 high, to be stretched; nothing if
        there are no frames.
    """
    frames = len(posteriors.best)
    if frames == 0:
        return Markup()
    # Of several frames in a point, those stand out where a token does.
    starts = np.linspace(0, frames, min(MOST_POINTS, frames), endpoint=False)
    best = np.maximum.reduceat(posteriors.best, starts.astype(int))
    blank = np.minimum.reduceat(posteriors.blank, starts.astype(int))
    # A frame's value is drawn at its middle.
    x = starts + frames / len(starts) / 2
    area = f"M0 100L{_points(x, best)}L{frames} 100Z"
    return Markup(
        tag("path", d=area, style=f"fill:{color};fill-opacity:.75")
        + tag(
            "path",
            d=f"M{_points(x, blank)}",
            style=f"fill:none;stroke:{GREY};stroke-dasharray:2 2",
            vector_effect="non-scaling-stroke",
        )
    )


def _points(x: np.ndarray, percent: np.ndarray) -> str:
    """Points of a path, without those within a level stretch."""
    level = np.zeros(len(percent), bool)
    level[1:-1] = (percent[1:-1] == percent[:-2]) & (percent[1:-1] == percent[2:])
    points = zip(x[~level].tolist(), (100 - 0.98 * percent[~level]).tolist())
    return "L".join(f"{x:g} {y:.0f}" for x, y in points)


def place_labels(posteriors: Posteriors, width: float) -> List[Label]:
    """Place tokens below the curves, and leave out those without room.

    Args:
        posteriors: Of T frames.
        width: Of these, in CSS pixels.

    >>> from espnet_mtasr.scoring.posteriors import Peak
    >>> peaks = [Peak(0, "_one"), Peak(1, "_two"), Peak(2, "_six"), Peak(9, "_ten")]
    >>> labels = place_labels(Posteriors([90] * 10, [10] * 10, peaks), 100)
    >>> [(label.token, label.x, label.row) for label in labels]
    [('_one', 5.0, 0), ('_two', 15.0, 1), ('_ten', 95.0, 0)]
    """
    labels = []
    ends = [-np.inf] * ROWS
    for frame, token in posteriors.peaks:
        x = (frame + 0.5) * width / len(posteriors.best)
        half = len(token) * LETTER / 2
        row = next((r for r, end in enumerate(ends) if x - half > end + GAP), None)
        if row is not None:
            ends[row] = x + half
            labels.append(Label(token, round(x, 1), row))
    return labels
