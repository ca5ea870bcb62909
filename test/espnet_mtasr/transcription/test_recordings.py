"""What is read: files of all kinds, standard input, arrays; and how it is named."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.recordings import (
    Source,
    find_recordings,
    read_recording,
    to_model,
)

RATE = 16000


def tone(seconds=0.5, rate=RATE, hertz=440.0):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_formats(tmp_path, suffix):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(), RATE)
    recording = read_recording(Source("a name", str(path)), RATE)
    assert recording.name == "a name"
    assert recording.samples.dtype == np.float32
    assert len(recording.samples) == pytest.approx(RATE / 2, abs=1200)
    spectrum = np.abs(np.fft.rfft(recording.samples))
    peak = spectrum.argmax() * RATE / len(recording.samples)
    assert peak == pytest.approx(440, abs=5)


def test_channels_are_averaged_and_rates_changed(tmp_path):
    path = tmp_path / "stereo.wav"
    left, right = tone(rate=8000), tone(rate=8000, hertz=600.0)
    soundfile.write(path, np.stack([left, right], 1), 8000, subtype="FLOAT")
    samples = read_recording(Source("stereo", str(path)), RATE).samples
    assert len(samples) == RATE // 2
    # 0.5 s: bins of 2 Hz.
    spectrum = np.abs(np.fft.rfft(samples)) / len(samples) * 2
    assert spectrum[[220, 300]] == pytest.approx([0.15, 0.15], abs=0.01)
    assert spectrum.sum() - spectrum[[220, 300]].sum() < 0.3


def test_standard_input(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(), RATE, format="FLAC")
    pipe = io.BufferedReader(io.BytesIO(buffer.getvalue()))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    recording = read_recording(Source("stdin", "-"), RATE)
    assert np.abs(recording.samples - tone()).max() < 1e-3


def test_bad_files(tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF and no more")
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros(0), RATE)
    endless = tmp_path / "endless.wav"
    soundfile.write(endless, np.full(9, np.inf), RATE, subtype="FLOAT")
    headless = tmp_path / "samples.raw"
    headless.write_bytes(bytes(100))
    for path, problem in (
        (broken, "is no readable audio"),
        (empty, "has no samples"),
        (endless, "has NaN or infinite samples"),
        (tmp_path / "none.wav", "no such file"),
        (headless, "is no readable audio"),
    ):
        with pytest.raises(UserError, match=f"{path.name}: {problem}"):
            read_recording(Source("x", str(path)), RATE)


def test_arrays():
    wave = tone()
    assert to_model(wave, RATE, RATE, "x") == pytest.approx(wave, abs=1e-6)
    # A sound card's integers have full scale 1.
    integers = np.round(wave * 32768).astype(np.int16)
    assert to_model(integers, RATE, RATE, "x") == pytest.approx(wave, abs=1e-4)
    for bad, problem in (
        (np.zeros((2, 2, 2)), r"x: has shape \(2, 2, 2\)"),
        (np.array(["a"]), "x: has <U1 samples"),
        (np.zeros((0, 2)), "x: has no samples"),
        (np.zeros((1, 9)), "x: has 9 channels of 1 samples; give"),
        (np.array([np.nan]), "x: has NaN"),
    ):
        with pytest.raises(UserError, match=problem):
            to_model(bad, RATE, RATE, "x")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("b/mix.wav", "a/mix.flac", "a/mix.wav", "a/deep/one.MP3", "other.ogg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("a/notes.txt", "text.only"):
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["other.ogg", "-"], {"other": "other.ogg", "stdin": "-"}),
        # A file that is named is taken whatever it is called, and once.
        (["text.only", "text.only"], {"text": "text.only"}),
        (["a/mix.wav", "other.ogg"], {"mix": "a/mix.wav", "other": "other.ogg"}),
        (["other.ogg", "./other.ogg"], {"other": "other.ogg"}),
        (["b"], {"mix": "b/mix.wav"}),
        (["b/mix.wav", "a/mix.wav"], {"b/mix": "b/mix.wav", "a/mix": "a/mix.wav"}),
        (
            ["a"],
            {
                "deep/one.MP3": "a/deep/one.MP3",
                "mix.flac": "a/mix.flac",
                "mix.wav": "a/mix.wav",
            },
        ),
    ],
)
def test_names(tree, arguments, expected):
    assert {s.name: s.path for s in find_recordings(arguments)} == expected


def test_links_to_folders_are_followed_once(tmp_path):
    soundfile.write(tmp_path / "tone.wav", tone(), RATE)
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "tone.wav").symlink_to(tmp_path / "tone.wav")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "day").symlink_to(tmp_path / "day")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
    (found,) = find_recordings([str(tmp_path / "in")])
    assert found.path == str(tmp_path / "in" / "day" / "tone.wav")


def test_nothing_to_find(tree):
    with pytest.raises(UserError, match="empty: a folder without audio files"):
        find_recordings(["other.ogg", "empty"])
    with pytest.raises(UserError, match="none.wav: no such file"):
        find_recordings(["other.ogg", "none.wav"])
