"""A recording in blocks gives the samples that it gives as a whole."""

import numpy as np
import pytest

from espnet_mtasr.data.audio import resample
from espnet_mtasr.data.block_resampler import resample_blocks

RATE = 16000


@pytest.mark.parametrize("own_rate", [8000, 16000, 22050, 44100, 48000, 16001])
@pytest.mark.parametrize("lengths", [(70000,), (1, 500, 3, 40000, 20000, 7), (9,)])
def test_as_the_whole(own_rate, lengths):
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((sum(lengths), 2)).astype(np.float32)
    blocks = np.split(samples, np.cumsum(lengths)[:-1])
    found = np.concatenate(list(resample_blocks(blocks, own_rate, RATE)))
    assert found.dtype == np.float32
    for wave, expected in zip(found.T, samples.T):
        assert wave == pytest.approx(resample(expected, own_rate, RATE), abs=1e-5)


def test_blocks_come_as_they_are_ready():
    blocks = (np.zeros((48000, 1), np.float32) for _ in range(100))
    resampled = resample_blocks(blocks, 48000, RATE)
    next(resampled)
    assert sum(1 for _ in blocks) == 99
