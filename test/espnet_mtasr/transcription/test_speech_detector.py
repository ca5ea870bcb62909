"""Speech is told from the rest: in blocks of any length, at any rate."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from espnet_mtasr.data.audio import resample
from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.speech_detector import FRAME, SpeechDetector

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "egs2" / "mini_librimix" / "samples" / "two_talkers_1_clean.flac"
RATE = 16000


@pytest.fixture(scope="module")
def wave():
    silence = np.zeros(RATE, np.float32)
    return np.concatenate([silence, soundfile.read(SAMPLE, dtype="float32")[0]])


def in_blocks(detector, wave, length):
    found = [detector(wave[at : at + length]) for at in range(0, len(wave), length)]
    return np.concatenate([*found, detector.end()])


def test_blocks_of_any_length(wave):
    detector = SpeechDetector(RATE)
    expected = in_blocks(detector, wave, len(wave))
    assert len(expected) == -(-len(wave) // 512)
    second = round(1 / FRAME)
    assert expected[: second - 2].max() < 0.2 and expected[second + 5 :].max() > 0.9
    for length in (100, 5000):
        detector.reset()
        found = in_blocks(detector, wave, length)
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_other_rates(wave, rate):
    expected = in_blocks(SpeechDetector(RATE), wave, RATE)
    found = in_blocks(SpeechDetector(rate), resample(wave, RATE, rate), rate)
    assert len(found) == pytest.approx(len(expected), abs=1)
    length = min(len(found), len(expected))
    same = (found[:length] > 0.5) == (expected[:length] > 0.5)
    assert same.mean() > 0.9


def test_speech_is_heard(wave):
    detector = SpeechDetector(RATE)
    assert detector.hears_speech(wave)
    assert not detector.hears_speech(wave[:RATE])
    # A click is none.
    click = np.zeros(RATE, np.float32)
    click[8000:8010] = 1.0
    assert not detector.hears_speech(click)
    assert detector.hears_speech(wave)


def test_samples_that_are_too_large():
    """They are no silence."""
    with pytest.raises(UserError, match="samples are too large to detect"):
        SpeechDetector(RATE).hears_speech(np.full(RATE, 1e38, np.float32))


def test_torch_keeps_its_threads(monkeypatch):
    """Importing silero-vad leaves one."""
    for name in [name for name in sys.modules if name.startswith("silero_vad")]:
        monkeypatch.delitem(sys.modules, name)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        SpeechDetector(RATE)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
