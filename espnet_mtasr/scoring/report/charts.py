"""Charts as SVG: rates with intervals, and lines over epochs."""

import math
from typing import Any, Container, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from espnet_mtasr.scoring.report.html import Markup, tag

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 34
# Classes s0 to s7 of looks.py.
NUM_COLORS = 8
# Points of a line; more can't be seen.
MOST_POINTS = 200

Point = Tuple[int, float]


class Rate(NamedTuple):
    """A rate with its interval, and a text to show on hover."""

    value: float
    low: float
    high: float
    hint: str


class Axis:
    """A vertical axis.

    Args:
        low: The smallest value.
        high: The largest value.
        log: Whether the axis is logarithmic; then `low` must be above 0.
    """

    def __init__(self, low: float, high: float, log: bool = False):
        if not high > low:
            high = low + (abs(low) or 1.0)
        self.log = log
        self.ticks = _log_ticks(low, high) if log else _even_ticks(low, high)
        self.low = min(low, self.ticks[0])
        self.high = max(high, self.ticks[-1])

    def place(self, value: float) -> float:
        """Return the y of a value."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def draw(self) -> List[Markup]:
        """Return the grid lines and their labels."""
        drawn = []
        for value in self.ticks:
            y = self.place(value)
            drawn.append(_line(LEFT, y, WIDTH - RIGHT, y, "grid"))
            drawn.append(_text(LEFT - 6, y + 4, f"{value:g}", "end"))
        return drawn


def _even_ticks(low: float, high: float) -> List[float]:
    """Return three to seven round numbers that enclose both.

    >>> _even_ticks(0.0, 47.0)
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    """
    least = math.floor(math.log10(high - low)) - 1
    steps = [m * 10.0**p for p in (least, least + 1) for m in (1, 2, 5)]
    step = next(step for step in steps if (high - low) / step <= 5.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> List[float]:
    """Return 1, 2 and 5 times powers of ten that enclose both.

    >>> _log_ticks(0.7, 7.0)
    [0.5, 1.0, 2.0, 5.0, 10.0]
    """
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    every = [round(m * 10.0**p, 12) for p in powers for m in (1, 2, 5)]
    first = max(k for k, tick in enumerate(every) if tick <= low)
    last = min(k for k, tick in enumerate(every) if tick >= high)
    return every[first : last + 1]


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def _text(x: float, y: float, text: str, anchor: str = "middle") -> Markup:
    return tag("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor)


def _svg(title: str, drawn: Sequence[Any]) -> Markup:
    svg = tag(
        "svg", drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=title
    )
    return tag("figure", tag("h3", title), svg)


def key(names: Sequence[str], left_out: Container[str] = ()) -> Markup:
    """Return the legend, without names that aren't drawn."""
    return tag(
        "div",
        [
            tag("span", name, class_=f"s{k % NUM_COLORS}")
            for k, name in enumerate(names)
            if name not in left_out
        ],
        class_="key",
    )


def rate_chart(
    title: str,
    columns: Sequence[str],
    series: Mapping[str, Sequence[Optional[Rate]]],
) -> Markup:
    """Draw rates in percent, with intervals, side by side in columns.

    Args:
        title: Of the chart.
        columns: Their names.
        series: Name to a rate per column, None if there is none.
    """
    known = [rate for rates in series.values() for rate in rates if rate is not None]
    axis = Axis(0.0, max((rate.high for rate in known), default=1.0))
    column = (WIDTH - LEFT - RIGHT) / max(len(columns), 1)
    drawn: List[Any] = [axis.draw()]
    for k, name in enumerate(columns):
        drawn.append(_text(LEFT + (k + 0.5) * column, HEIGHT - BOTTOM + 16, name))
    for s, (name, rates) in enumerate(series.items()):
        shift = (s + 0.5 - len(series) / 2) * column / (len(series) + 1)
        for k, rate in enumerate(rates):
            if rate is None:
                continue
            x = round(LEFT + (k + 0.5) * column + shift, 1)
            y = axis.place(rate.value)
            low, high = axis.place(rate.low), axis.place(rate.high)
            bar = _line(x, low, x, high, "mark stroke")
            dot = tag("circle", cx=x, cy=y, r=4, class_="fill")
            said = tag("title", f"{name}, {columns[k]}: {rate.hint}")
            drawn.append(tag("g", said, bar, dot, class_=f"s{s % NUM_COLORS}"))
    return _svg(title, drawn)


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> List[Point]:
    """Leave out points, but never the last one.

    >>> thin([(0, 5), (1, 6), (2, 7), (3, 8)], 2)
    [(1, 6), (3, 8)]
    """
    step = max(1, math.ceil(len(points) / most))
    return list(points[::-1][::step][::-1])


def curve_chart(
    panel: Mapping[str, Any], epochs: Sequence[int], best: Optional[int]
) -> Markup:
    """Draw a panel of learning_curve.json: training dotted, validation solid."""
    found = [
        (label, dataset, [(e, v) for e, v in zip(epochs, values) if v is not None])
        for label, sets in panel["lines"].items()
        for dataset, values in sets.items()
    ]
    values = [v for _, _, points in found for _, v in points]
    log = bool(panel["log"]) and min(values, default=0.0) > 0.0
    axis = Axis(min(values, default=0.0), max(values, default=1.0), log)
    last = max(max(epochs) - min(epochs), 1)
    x_of = {
        epoch: round(LEFT + (epoch - min(epochs)) / last * (WIDTH - LEFT - RIGHT), 1)
        for epoch in epochs
    }
    drawn: List[Any] = [axis.draw()]
    if best in x_of:
        said = tag("title", f"best epoch: {best}")
        line = _line(x_of[best], TOP, x_of[best], HEIGHT - BOTTOM, "cursor")
        drawn.append(tag("g", said, line))
    for epoch in sorted({min(epochs), max(epochs)}):
        anchor = "start" if epoch == min(epochs) else "end"
        drawn.append(_text(x_of[epoch], HEIGHT - BOTTOM + 16, f"epoch {epoch}", anchor))
    labels = list(panel["lines"])
    for label, dataset, points in found:
        places = [f"{x_of[e]} {axis.place(v)}" for e, v in thin(points)]
        if places:
            path = tag(
                "path",
                d="M" + "L".join(places),
                class_=f"mark stroke {dataset} s{labels.index(label) % NUM_COLORS}",
            )
            drawn.append(path)
    title = panel["title"] + (" (log axis)" if log else "")
    figure = [_svg(title, drawn), key(labels)]
    if panel["note"]:
        figure.append(tag("p", panel["note"], class_="note"))
    return tag("div", figure)
