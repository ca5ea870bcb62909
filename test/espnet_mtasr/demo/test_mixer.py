"""Onsets, levels and noise of the page's mixer."""

import numpy as np
import pytest
import soundfile

from espnet_mtasr.demo.mixer import PEAK, REFERENCE_DBFS, Part, mix_parts
from espnet_mtasr.errors import UserError

RATE = 8000
RNG = np.random.default_rng(3)


@pytest.fixture
def paths(tmp_path):
    """Two recordings: 1 s and loud; 2 s, soft, and at another rate."""
    named = {}
    for name, seconds, rate, loudness in (("a", 1, RATE, 0.3), ("b", 2, 16000, 0.001)):
        samples = loudness * RNG.standard_normal(seconds * rate)
        named[name] = str(tmp_path / f"{name}.wav")
        soundfile.write(named[name], samples, rate, subtype="FLOAT")
    return named


def decibels(samples):
    return 20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=float))))


def test_onsets_and_levels(paths):
    parts = [
        Part("b", paths["b"], 1.5, -6.0, "there"),
        Part("a", paths["a"], 0.25, 0.0, "hello"),
    ]
    mixed = mix_parts(parts, RATE, 10.0)
    assert [part.name for part in mixed.parts] == ["a", "b"]
    assert mixed.reference == ("hello", "there")
    assert mixed.seconds == 3.5 and mixed.overlap == 0.0
    assert not mixed.samples[: RATE // 4].any()
    first = mixed.samples[RATE // 4 : 5 * RATE // 4]
    second = mixed.samples[3 * RATE // 2 :]
    assert decibels(first) == pytest.approx(REFERENCE_DBFS, abs=0.01)
    assert decibels(second) == pytest.approx(REFERENCE_DBFS - 6, abs=0.01)
    assert np.allclose(first, mixed.voices[0]) and np.allclose(second, mixed.voices[1])


def test_overlap_adds_up(paths):
    parts = [Part("a", paths["a"], 0.5), Part("b", paths["b"], 0.0, text="there")]
    mixed = mix_parts(parts, RATE, 10.0)
    # One second of two.
    assert mixed.overlap == 0.5 and mixed.reference is None
    expected = mixed.voices[0].copy()
    expected[RATE // 2 : 3 * RATE // 2] += mixed.voices[1]
    assert np.allclose(mixed.samples, expected, atol=1e-6)


def test_noise(paths):
    part = Part("a", paths["a"])
    clean = mix_parts([part], RATE, 10.0)
    noisy = mix_parts([part], RATE, 10.0, paths["b"], -10.0)
    noise = noisy.samples - clean.samples
    assert decibels(noise) == pytest.approx(REFERENCE_DBFS - 10, abs=0.2)


def test_too_loud_is_softer_as_a_whole(paths):
    parts = [Part("a", paths["a"], 0.0, 20.0), Part("b", paths["b"], 1.0, 0.0)]
    mixed = mix_parts(parts, RATE, 10.0)
    assert np.abs(mixed.samples).max() == pytest.approx(PEAK, abs=1e-5)
    difference = decibels(mixed.voices[0]) - decibels(mixed.voices[1])
    assert difference == pytest.approx(20, abs=0.01)
    assert np.allclose(mixed.samples[RATE:], mixed.voices[1], atol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda folder: [], "no talkers in the mixer"),
        (lambda folder: [Part("quiet", silence(folder))], "quiet: is silent"),
        (lambda folder: [Part("gone", str(folder / "c.wav"))], "no such file"),
        (
            lambda folder: [Part("a", silence(folder, 11))],
            "c.wav: has more than the 10 s",
        ),
    ],
)
def test_what_cannot_be_mixed(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        mix_parts(change(tmp_path), RATE, 10.0)


def silence(folder, seconds=1):
    soundfile.write(folder / "c.wav", np.zeros(seconds * RATE), RATE)
    return str(folder / "c.wav")
