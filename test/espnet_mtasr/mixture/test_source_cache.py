"""Recordings in memory: which are kept, at which rate and speed."""

import numpy as np
import pytest
import soundfile

from espnet_mtasr.data.audio import from_int16, read_recording, to_int16
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture import source_cache
from espnet_mtasr.mixture.source_cache import SourceCache


def test_the_cache_forgets_what_was_not_used_for_longest(tmp_path, monkeypatch):
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", np.full(8000, 0.1), 16000, "PCM_16")
    loads = []

    def watched(path):
        loads.append(path[-5])
        return read_recording(path)

    monkeypatch.setattr(source_cache, "read_recording", watched)
    cache = SourceCache(0.04)  # 16 kB each
    for name in "ababcab":
        samples, rate = cache.read(f"{tmp_path}/{name}.wav")
        assert rate == 16000 and len(samples) == 8000
    assert loads == list("abcab")
    part, _ = cache.read(f"{tmp_path}/a.wav", needed=lambda rate: rate // 4)
    assert len(part) == 4000 and len(cache.read(f"{tmp_path}/a.wav")[0]) == 8000
    none = SourceCache(0)
    for _ in range(2):
        none.read(f"{tmp_path}/a.wav")
    assert loads == list("abcabaa")


def test_another_rate_is_another_recording(tmp_path, monkeypatch):
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(8000) / 8000)
    soundfile.write(tmp_path / "t.wav", tone, 8000, "PCM_16")
    cache = SourceCache(10)
    own, own_rate = cache.read(f"{tmp_path}/t.wav")
    assert own_rate == 8000
    resampled, rate = cache.read(f"{tmp_path}/t.wav", rate=16000)
    assert (rate, len(resampled)) == (16000, 16000)
    # Kept with 16 bits, of which each sample is one.
    np.testing.assert_array_equal(from_int16(to_int16(resampled)), resampled)
    np.testing.assert_allclose(resampled[500:-500:2], own[250:-250], atol=0.01)
    np.testing.assert_array_equal(cache.read(f"{tmp_path}/t.wav")[0], own)
    part, _ = cache.read(f"{tmp_path}/t.wav", needed=lambda r: r // 4, rate=16000)
    np.testing.assert_array_equal(part, resampled[:4000])


def test_faster_is_shorter_and_higher(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    soundfile.write(tmp_path / "t.wav", tone, 16000, "PCM_16")
    samples, _ = SourceCache(10).read(f"{tmp_path}/t.wav", 1.25, rate=16000)
    assert len(samples) == 16000 * 4 // 5
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() / len(samples) * 16000 == pytest.approx(1250, abs=3)


@pytest.mark.parametrize("megabytes", [-1, "many", None, float("nan")])
def test_no_size_of_a_cache(megabytes):
    with pytest.raises(UserError, match="cache_megabytes: .*: give a number from 0"):
        SourceCache(megabytes)
