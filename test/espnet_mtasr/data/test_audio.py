"""Samples of recordings: what is read, resampled, played faster, and rounded."""

import numpy as np
import pytest
import soundfile

from espnet_mtasr.data.audio import (
    from_int16,
    pcm16,
    read_audio,
    read_recording,
    to_int16,
)
from espnet_mtasr.errors import UserError


def f4(*values):
    return np.array(values, dtype=np.float32)


def test_every_16_bit_sample_survives_the_way_to_float32_and_back():
    samples = np.arange(-(2**15), 2**15).astype(np.int16)
    floats = from_int16(samples)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(floats, samples / 2**15)
    np.testing.assert_array_equal(to_int16(floats), samples)
    np.testing.assert_array_equal(to_int16(f4(-1.5, 1.0)), [-(2**15), 2**15 - 1])


def test_16_bits_are_those_of_a_wav_file(tmp_path):
    rng = np.random.default_rng(0)
    samples = np.concatenate(
        [
            rng.uniform(-1.2, 1.2, 50000),
            rng.normal(0, 1e-5, 50000),
            [0, 1, -1, 0.99999, 1e-12, -1e-12, 2**-15 - 2**-40, -(2**-15), 2, -2],
        ]
    ).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    wanted, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    np.testing.assert_array_equal(pcm16(samples), wanted)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("seconds, read", [(0.5, 4000), (9, 8000)])
def test_no_more_is_read_than_is_needed(tmp_path, name, seconds, read):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(tmp_path / name, noise, 8000, "PCM_16")
    part, rate = read_recording(
        tmp_path / name, needed=lambda rate: int(seconds * rate)
    )
    whole, _ = read_recording(tmp_path / name)
    assert rate == 8000
    np.testing.assert_array_equal(part, whole[:read])


def test_a_faster_recording_is_read_whole(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    samples, _ = read_recording(tmp_path / "a.wav", 0.8, needed=lambda rate: 10)
    assert len(samples) == 20000


def test_a_faster_recording_is_shorter_and_higher(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 400 * np.arange(16000) / 16000)
    soundfile.write(tmp_path / "a.wav", tone, 16000)
    samples, rate = read_recording(tmp_path / "a.wav", speed=0.8)
    assert (rate, samples.dtype, samples.shape) == (16000, np.float32, (20000,))
    expected = 0.5 * np.sin(2 * np.pi * 320 * np.arange(20000) / 16000)
    np.testing.assert_allclose(samples[200:-200], expected[200:-200], atol=0.005)


def test_read_audio_resamples_8_khz(tmp_path):
    tone = np.sin(2 * np.pi * 500 * np.arange(8000) / 8000)
    soundfile.write(tmp_path / "a.wav", tone, 8000, subtype="FLOAT")
    samples = read_audio(tmp_path / "a.wav", 16000)
    expected = np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)
    assert samples.dtype == np.float32
    assert samples.shape == (16000,)
    np.testing.assert_allclose(samples[500:-500], expected[500:-500], atol=0.01)


def test_read_audio_takes_the_first_channel(tmp_path):
    stereo = np.stack([np.full(10, 0.25), np.full(10, -0.5)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", 16000), [0.25] * 10)


def test_read_audio_refuses_bad_files(tmp_path):
    with pytest.raises(UserError, match="missing.wav: no such audio"):
        read_audio(tmp_path / "missing.wav", 16000)
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(UserError, match="text.wav: cannot be read"):
        read_audio(tmp_path / "text.wav", 16000)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    with pytest.raises(UserError, match="empty.wav: holds no samples"):
        read_audio(tmp_path / "empty.wav", 16000)
    soundfile.write(tmp_path / "nan.wav", f4(0, np.nan), 16000, subtype="FLOAT")
    with pytest.raises(UserError, match="nan.wav: holds NaN"):
        read_audio(tmp_path / "nan.wav", 16000)
