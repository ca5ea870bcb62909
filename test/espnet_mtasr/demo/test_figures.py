"""Curves of the page."""

import re

import numpy as np

from espnet_mtasr.demo.figures import (
    COLORS,
    MOST_POINTS,
    posteriors_svg,
    waveform_svg,
)
from espnet_mtasr.scoring.posteriors import Posteriors

NUMBER = r"(-?[\d.]+) (-?[\d.]+)"


def points(svg):
    return [
        [tuple(map(float, pair)) for pair in re.findall(NUMBER, path)]
        for path in re.findall(r' d="(.*?)"', svg)
    ]


def test_waveform():
    samples = np.zeros(40_000)
    samples[10_000], samples[30_000] = 0.5, -0.25
    (outline,) = points(waveform_svg(samples))
    assert len(outline) == 2 * MOST_POINTS
    top, bottom = outline[:MOST_POINTS], outline[MOST_POINTS:][::-1]
    # 1 at the top, 99 at the bottom, 50 in the middle.
    assert [y for _, y in top if y != 50.0] == [1.0] and top[1000][1] == 1.0
    assert [y for _, y in bottom if y != 50.0] == [74.5] and bottom[3000][1] == 74.5
    # The same scale as a louder one's.
    (outline,) = points(waveform_svg(samples, full=1.0))
    assert outline[1000][1] == 25.5


def test_waveform_of_little():
    for samples in (np.zeros(1), np.zeros(5), np.full(3, -0.1, np.float32)):
        (outline,) = points(waveform_svg(samples))
        assert len(outline) == 2 * len(samples) and np.isfinite(outline).all()


def test_posteriors():
    posteriors = Posteriors([10, 80, 60, 100, 0], [90, 20, 10, 0, 100], [])
    area, blank = points(posteriors_svg(posteriors, COLORS[0]))
    assert area[0] == (0.0, 100.0) and area[-1] == (5.0, 100.0) and len(area) == 7
    assert [x for x, _ in blank] == [0.5, 1.5, 2.5, 3.5, 4.5] and blank[-1][1] == 2.0
    assert 'viewBox="0 0 5 100"' in posteriors_svg(posteriors, COLORS[0])
    assert posteriors_svg(Posteriors([], [], []), COLORS[0]) == ""
