"""Sounds without speech: the same for the same seed, and others for another part."""

import numpy as np
import pytest

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.calibration.non_speech import (
    KINDS,
    PARTS,
    PEAK,
    SECONDS,
    UNSCALED,
    make_clip,
)

RATE = 8000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", PARTS)
def test_a_clip(kind, part):
    clip = make_clip(kind, part, 3, 1, RATE)
    assert clip.dtype == np.float32
    assert SECONDS[0] - 0.01 < len(clip) / RATE <= SECONDS[1]
    assert np.isfinite(clip).all() and np.abs(clip).max() <= PEAK + 1e-6
    assert np.array_equal(clip, make_clip(kind, part, 3, 1, RATE))
    if kind == "digital zero":
        assert not clip.any()
        return
    others = [make_clip(kind, part, 4, 1, RATE), make_clip(kind, part, 3, 2, RATE)]
    assert not any(np.array_equal(clip, other) for other in others)
    if kind not in UNSCALED:
        decibels = 10 * np.log10((clip**2).mean())
        low, high = PARTS[part].levels
        loudest = np.abs(clip).max() > PEAK - 1e-3
        assert low - 0.1 < decibels < high + 0.1 or loudest and decibels < high


def test_parts_differ():
    """No parameter of dev is test's."""
    for dev, test in zip(PARTS["dev"], PARTS["test"]):
        assert dev != test


def test_an_unknown_part():
    with pytest.raises(UserError, match="part 'train': choose one of dev, test"):
        make_clip("hum", "train", 0, 0, RATE)


@pytest.mark.parametrize("part, mains", [("dev", 60), ("test", 50)])
def test_hum_and_noise_are_what_they_say(part, mains):
    hum = make_clip("hum", part, 0, 0, RATE)
    strongest = np.abs(np.fft.rfft(hum)).argmax() * RATE / len(hum)
    assert strongest == pytest.approx(mains, abs=1)
    white, brown = (
        make_clip(k, "dev", 0, 0, RATE) for k in ("white noise", "brown noise")
    )
    low = [
        (np.abs(np.fft.rfft(clip))[: len(clip) // 8] ** 2).sum()
        / (np.abs(np.fft.rfft(clip)) ** 2).sum()
        for clip in (white, brown)
    ]
    assert low[0] == pytest.approx(0.25, abs=0.05) and low[1] > 0.95
