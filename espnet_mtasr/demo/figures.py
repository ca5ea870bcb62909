"""Curves over time as SVG without text, which a page may stretch."""

from typing import List, NamedTuple, Sequence

import numpy as np

# Blue, vermilion, green, purple and olive, on which white text is readable: after
# Okabe and Ito's palette for colour-blind readers, darkened.
COLOURS = ("#0072b2", "#b84a00", "#00714f", "#8e3a80", "#5c5c00")
GREY = "#6b7280"
# Two or three per pixel of a wide screen.
MOST_POINTS = 4000


class Peak(NamedTuple):
    """A token where it is more probable than the blank and all other tokens.

    Attributes:
        token: As in the token list.
        place: The most probable frame's middle, as a share of the recording.
        probability: There.
    """

    token: str
    place: float
    probability: float


def colour_of(talker: int) -> str:
    """The colour of the talker with this number, from 0."""
    return COLOURS[talker % len(COLOURS)]


def waveform_svg(samples: np.ndarray, colour: str = GREY, full: float = 0.0) -> str:
    """Draw the lowest and highest sample of many short stretches.

    Args:
        samples: `(N,)`, N > 0.
        colour: CSS colour.
        full: Sample value that reaches the edge; 0: the largest there is.
    """
    full = full or float(np.abs(samples).max()) or 1.0
    starts = np.linspace(
        0, len(samples), min(MOST_POINTS, len(samples)), endpoint=False
    ).astype(int)
    top = np.maximum.reduceat(samples, starts) / full
    bottom = np.minimum.reduceat(samples, starts) / full
    outline = [*enumerate(top), *reversed([*enumerate(bottom)])]
    points = [f"{x} {50 - 49 * y:.1f}" for x, y in outline]
    return _svg(len(starts), f'<path d="M{"L".join(points)}Z" fill="{colour}"/>')


def posteriors_svg(posteriors: np.ndarray, colour: str) -> str:
    """Draw the blank's probability as a line, the best token's as an area.

    Args:
        posteriors: `(T, V)` of one talker; token 0 is the blank.
        colour: CSS colour of the area.
    """
    frames = len(posteriors)
    if frames == 0 or posteriors.shape[1] < 2:
        return ""
    # A frame's value is drawn at its middle.
    blank = _points(posteriors[:, 0])
    best = _points(posteriors[:, 1:].max(axis=1))
    return _svg(
        frames,
        f'<path d="M0 100L{best}L{frames} 100Z" fill="{colour}" fill-opacity=".75"/>'
        f'<path d="M{blank}" fill="none" stroke="{GREY}" '
        f'vector-effect="non-scaling-stroke" stroke-dasharray="2 2"/>',
    )


def find_peaks(posteriors: np.ndarray, token_list: Sequence[str]) -> List[Peak]:
    """Return the tokens that greedy search writes, in their order.

    Args:
        posteriors: `(T, V)` of one talker; token 0 is the blank.
        token_list: The V tokens.

    >>> frames = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.9, 0.1]])
    >>> find_peaks(frames, ["<blank>", "go"])
    [Peak(token='go', place=0.625, probability=0.8)]
    """
    if len(posteriors) == 0:
        return []
    best = posteriors.argmax(axis=1)
    runs = np.split(np.arange(len(best)), np.flatnonzero(np.diff(best)) + 1)
    peaks = []
    for run in runs:
        token = best[run[0]]
        if token != 0:
            top = run[posteriors[run, token].argmax()]
            place = float((top + 0.5) / len(best))
            probability = round(float(posteriors[top, token]), 3)
            peaks.append(Peak(token_list[token], place, probability))
    return peaks


def _points(values: np.ndarray) -> str:
    return "L".join(f"{x + 0.5} {100 - 98 * y:.1f}" for x, y in enumerate(values))


def _svg(width: int, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} 100" preserveAspectRatio="none" '
        f'aria-hidden="true">{content}</svg>'
    )
