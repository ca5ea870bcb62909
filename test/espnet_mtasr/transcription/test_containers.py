"""Sound out of mp4, m4a, webm: read, and told where it is truncated."""

import io

import av
import numpy as np
import pytest

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.containers import open_track
from espnet_mtasr.transcription.recordings import open_recording, open_sound
from espnet_mtasr.transcription.sources import Source

RATE = 16000
SECONDS = 3.0
BLOCK = 960
KINDS = {"m4a": "aac", "mp4": "aac", "webm": "libopus", "mkv": "flac", "aac": "aac"}


def write(path, hertz=(440.0, 600.0), codec=None, rate=48000, tracks=1):
    """A tone per channel."""
    times = np.arange(int(SECONDS * rate)) / rate
    tones = np.stack([0.3 * np.sin(2 * np.pi * h * times) for h in hertz])
    layout = "mono" if len(hertz) == 1 else "stereo"
    form = {"m4a": "mp4", "mkv": "matroska", "aac": "adts"}
    suffix = path.suffix[1:]
    with av.open(str(path), "w", format=form.get(suffix, suffix)) as container:
        streams = [
            container.add_stream(codec or KINDS[suffix], rate=rate, layout=layout)
            for _ in range(tracks)
        ]
        for stream in streams:
            resampler = av.AudioResampler(stream.format, layout, rate)
            for at in range(0, tones.shape[1], BLOCK):
                samples = np.ascontiguousarray(tones[:, at : at + BLOCK], np.float32)
                frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
                frame.sample_rate, frame.pts = rate, at
                for converted in resampler.resample(frame):
                    container.mux(stream.encode(converted))
            container.mux(stream.encode(None))
    return path


def peaks(samples):
    """The loudest tone of each channel, in Hz."""
    spectra = np.abs(np.fft.rfft(samples, axis=0))
    return spectra.argmax(0) * RATE / len(samples)


@pytest.mark.parametrize("suffix", KINDS)
def test_kinds(tmp_path, suffix):
    path = write(tmp_path / f"call.{suffix}")
    recording = open_recording(Source("call", str(path)), RATE, "each").read()
    assert recording.warnings == ()
    # AAC without a container may have a block of silence before and after.
    for samples, hertz in zip(recording.channels, (440, 600), strict=True):
        assert len(samples) == pytest.approx(SECONDS * RATE, abs=0.1 * RATE)
        assert peaks(samples) == pytest.approx(hertz, abs=1)
        middle = samples[RATE : 2 * RATE]
        assert middle.std() == pytest.approx(0.3 / np.sqrt(2), rel=0.02)
    from_memory = open_sound(io.BytesIO(path.read_bytes()), "bytes")
    assert np.concatenate(list(from_memory.blocks)).shape[1] == 2


def test_broken_off(tmp_path):
    path = write(tmp_path / "call.mkv")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    (warning,) = open_recording(Source("call", str(path)), RATE).read().warnings
    assert "call.mkv: is truncated, " in warning and "the rest is" in warning


def test_a_stream_without_a_container(tmp_path, monkeypatch):
    """FFmpeg guesses its length from its bit rate, which silence lowers."""
    monkeypatch.setattr(np, "sin", lambda x: np.where(x > 3000.0, np.cos(x), 0.0))
    path = write(tmp_path / "call.aac")
    assert open_track(str(path)).declared is None
    assert open_recording(Source("call", str(path)), RATE).read().warnings == ()


def test_several_tracks(tmp_path):
    path = write(tmp_path / "film.mp4", tracks=2)
    (warning,) = open_recording(Source("film", str(path)), RATE).read().warnings
    assert warning.endswith("film.mp4: has 2 audio tracks; the first is used")


def test_no_sound(tmp_path):
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        picture = np.zeros((32, 32, 3), np.uint8)
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    # FFmpeg would take a text for pictures of letters.
    text = tmp_path / "text.mp4"
    text.write_text("words\n" * 999)
    for bad in (path, text):
        with pytest.raises(UserError, match=f"{bad.name}: is not readable audio"):
            open_recording(Source("film", str(bad)), RATE).read()
