"""What a notebook has recordings in: all become the same samples."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.inputs import is_one, open_input

RATE = 16000
rng = np.random.default_rng(0)
STEREO = (0.1 * rng.standard_normal((900, 2))).astype(np.float32)


def content(samples=STEREO):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


class Decoder:
    """As torchcodec's AudioDecoder."""

    def get_all_samples(self):
        return SimpleNamespace(data=torch.from_numpy(STEREO.T), sample_rate=RATE)


@pytest.mark.parametrize(
    "source, name",
    [
        (content(), "7"),
        (bytearray(content()), "7"),
        (memoryview(content()), "7"),
        (io.BytesIO(content()), "7"),
        ({"array": STEREO.T, "sampling_rate": RATE, "path": "calls/a.wav"}, "a"),
        ({"bytes": content(), "path": None}, "7"),
        ({"raw": STEREO, "sampling_rate": RATE}, "7"),
        (Decoder(), "7"),
        # As torchaudio loads it.
        (torch.from_numpy(STEREO.T), "7"),
        (STEREO, "7"),
        (STEREO.T, "7"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_all_are_one_recording(source, name):
    assert is_one(source)
    # What says its rate is believed.
    told = None if isinstance(source, (np.ndarray, torch.Tensor)) else 8000
    recording = open_input(source, 7, told, RATE, "each").read()
    assert recording.name == name
    assert np.stack(recording.channels) == pytest.approx(STEREO.T, abs=1e-6)


def test_a_path_in_a_dictionary(tmp_path):
    (tmp_path / "a.wav").write_bytes(content())
    entry = {"bytes": None, "path": str(tmp_path / "a.wav")}
    (samples,) = open_input(entry, 0, None, RATE, 1).read().channels
    assert samples == pytest.approx(STEREO[:, 1], abs=1e-6)


def test_integers_have_full_scale_1():
    ints = (STEREO[:, 0] * 32768).astype(np.int16)
    for source in (ints, torch.from_numpy(ints)):
        (samples,) = open_input(source, 0, None, RATE, "mix").read().channels
        assert samples == pytest.approx(STEREO[:, 0], abs=1e-4)


@pytest.mark.parametrize(
    "source, problem",
    [
        (b"no audio", "recording 3: is not readable audio"),
        (7, "recording 3: a int is not a recording; give a file"),
        ({"sampling_rate": 8000}, "recording 3: a NoneType is not a recording"),
        ([[0.1], [0.1, 0.2]], "recording 3: a list is not a recording"),
        ((STEREO, "16 kHz"), "recording 3: a tuple is not a recording"),
        (STEREO > 0, "recording 3: has bool samples; give floats or signed integers"),
    ],
)
def test_what_is_none(source, problem):
    with pytest.raises(UserError, match=problem):
        open_input(source, 3, None, RATE, "mix").read()


@pytest.mark.parametrize(
    "pair",
    [
        (torch.from_numpy(STEREO.T), RATE // 2),
        (np.int64(RATE // 2), (STEREO * 32768).astype(np.int16)),
    ],
)
def test_samples_with_their_rate(pair):
    """As torchaudio.load and gradio return them."""
    assert is_one(pair)
    (samples,) = open_input(pair, 0, None, RATE, 0).read().channels
    assert len(samples) == 2 * len(STEREO)
    with pytest.raises(UserError, match="impossible rate of 3 Hz"):
        open_input((STEREO, 3), 0, None, RATE, 0)


def test_lists_are_several():
    assert not any(map(is_one, ([], [STEREO], (b"",), iter([]))))
