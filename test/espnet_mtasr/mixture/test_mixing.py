"""Mixing and overlap, against values worked out by hand."""

import numpy as np
import pytest

from espnet_mtasr.mixture.mixing import (
    all_at_once,
    fit_noise,
    mix,
    overlap_ratio,
    start_at,
)


def f4(*values):
    return np.array(values, dtype=np.float32)


def test_mix_gains_onsets_and_padding():
    mixture = mix([f4(1, 2), f4(4, 4, 4)], [0.5, 0.25], [0, 1])
    assert mixture.dtype == np.float32
    np.testing.assert_array_equal(mixture, f4(0.5, 2, 1, 1))


def test_mix_onset_order_is_free_and_gaps_are_silent():
    mixture = mix([f4(1), f4(2)], [1, 1], [3, 0])
    np.testing.assert_array_equal(mixture, f4(2, 0, 0, 1))


def test_mix_cuts_longer_noise():
    mixture = mix([f4(1, 1)], [1], [0], f4(2, 4, 8), 0.5)
    np.testing.assert_array_equal(mixture, f4(2, 3))


def test_mix_does_not_change_its_inputs():
    source, noise = f4(1, 1, 1), f4(1, 1)
    mix([source], [0.5], [0], noise, 0.5)
    np.testing.assert_array_equal(source, f4(1, 1, 1))
    np.testing.assert_array_equal(noise, f4(1, 1))


def test_mix_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="1 sources, 2 gains, 1 onsets"):
        mix([f4(1)], [1, 1], [0])
    with pytest.raises(ValueError, match="negative"):
        mix([f4(1)], [1], [-1])
    with pytest.raises(ValueError, match="noise_gain"):
        mix([f4(1)], [1], [0], f4(1))


def test_repeated_noise_crossfades():
    # 6 samples: a fade of 3 with the factors 0, 1/2 and 1, so repetitions start every
    # 3. Sample 3: 4 * 1 + 1 * 0; sample 4: 5 / 2 + 2 / 2; sample 5: 6 * 0 + 3 * 1.
    np.testing.assert_allclose(
        fit_noise(f4(1, 2, 3, 4, 5, 6), 9, 16000), f4(1, 2, 3, 4, 3.5, 3, 4, 5, 6)
    )


@pytest.mark.parametrize("length", [1, 2, 3, 7, 50])
def test_repeated_constant_noise_stays_constant(length):
    noise = fit_noise(np.ones(length, dtype=np.float32), 101, 16)
    np.testing.assert_allclose(noise, np.ones(101), atol=1e-6)


@pytest.mark.parametrize("start", [0, 3, 5, 12])
@pytest.mark.parametrize("n", [0, 1, 2, 4, 5, 9])
def test_noise_that_starts_later_goes_on_at_its_beginning(start, n):
    noise = f4(1, 2, 3, 4, 5)
    np.testing.assert_array_equal(start_at(noise, start, n), np.roll(noise, -start)[:n])


def test_noise_as_long_as_the_mixture_is_kept():
    np.testing.assert_array_equal(fit_noise(f4(1, 2, 3), 3, 16000), f4(1, 2, 3))


@pytest.mark.parametrize(
    "intervals, ratio, at_once",
    [
        ([(0, 4)], 0.0, True),
        ([(0, 3), (1, 4)], 0.5, True),
        ([(0, 1), (1, 2)], 0.0, False),
        ([(0, 1), (3, 4)], 0.0, False),
        ([(0, 4), (1, 2), (1.5, 3)], 0.5, True),
        ([(0, 2), (1, 4), (2, 5)], 0.6, False),
        ([(2, 5), (0, 2), (1, 4)], 0.6, False),
    ],
)
def test_overlap(intervals, ratio, at_once):
    assert overlap_ratio(intervals) == pytest.approx(ratio)
    assert all_at_once(intervals) is at_once
