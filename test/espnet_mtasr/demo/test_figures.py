"""Curves of the page."""

import re

import numpy as np

from espnet_mtasr.demo.figures import (
    COLOURS,
    MOST_POINTS,
    Peak,
    find_peaks,
    posteriors_svg,
    waveform_svg,
)

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


FRAMES = np.array(
    [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.3, 0.6], [0.0, 0.0, 1.0], [1, 0, 0]]
)


def test_posteriors():
    area, blank = points(posteriors_svg(FRAMES, COLOURS[0]))
    assert [y for _, y in blank] == [11.8, 80.4, 90.2, 100.0, 2.0]
    assert area[0] == (0.0, 100.0) and area[-1] == (5.0, 100.0)
    assert [y for _, y in area[1:-1]] == [90.2, 21.6, 41.2, 2.0, 100.0]
    assert posteriors_svg(FRAMES[:0], COLOURS[0]) == ""


def test_peaks():
    assert find_peaks(FRAMES, ["<blank>", "a", "b"]) == [
        Peak("a", 0.3, 0.8),
        Peak("b", 0.7, 1.0),
    ]
    assert find_peaks(FRAMES[:0], ["<blank>", "a", "b"]) == []
    assert find_peaks(FRAMES[4:], ["<blank>", "a", "b"]) == []
