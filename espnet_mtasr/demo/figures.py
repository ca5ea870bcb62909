"""Curves over time as SVG without text, which a page may stretch."""

import numpy as np

from espnet_mtasr.scoring.posteriors import Posteriors
from espnet_mtasr.scoring.report.posteriors import GREY, MOST_POINTS, draw_curves

# Blue, vermilion, green, purple and olive, on which white text is readable: after
# Okabe and Ito's palette for color-blind readers, darkened.
COLORS = ("#0072b2", "#b84a00", "#00714f", "#8e3a80", "#5c5c00")


def color_of(talker: int) -> str:
    """The color of the talker with this number, from 0."""
    return COLORS[talker % len(COLORS)]


def waveform_svg(samples: np.ndarray, color: str = GREY, full: float = 0.0) -> str:
    """Draw the lowest and highest sample of many short stretches.

    Args:
        samples: `(N,)`, N > 0.
        color: CSS color.
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
    return _svg(len(starts), f'<path d="M{"L".join(points)}Z" fill="{color}"/>')


def posteriors_svg(posteriors: Posteriors, color: str) -> str:
    """Draw posteriors; "" if there are no frames."""
    curves = draw_curves(posteriors, color)
    return _svg(len(posteriors.best), curves) if curves else ""


def _svg(width: int, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} 100" preserveAspectRatio="none" '
        f'aria-hidden="true">{content}</svg>'
    )
