"""What is read: files of all kinds, standard input, arrays; and how it is named."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from helpers.transcripts import make_transcript

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription import sources
from espnet_mtasr.transcription.channels import check_channel
from espnet_mtasr.transcription.recordings import (
    open_pipe,
    open_recording,
    to_model,
    to_waves,
)
from espnet_mtasr.transcription.sources import Source, find_recordings
from espnet_mtasr.transcription.transcript import join_channels

RATE = 16000


def tone(seconds=0.5, rate=RATE, hertz=440.0):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_formats(tmp_path, suffix):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(), RATE)
    recording = open_recording(Source("a name", str(path)), RATE).read()
    assert recording.name == "a name"
    assert recording.channels[0].dtype == np.float32
    assert len(recording.channels[0]) == pytest.approx(RATE / 2, abs=1200)
    spectrum = np.abs(np.fft.rfft(recording.channels[0]))
    peak = spectrum.argmax() * RATE / len(recording.channels[0])
    assert peak == pytest.approx(440, abs=5)


def test_channels_are_averaged_and_rates_changed(tmp_path):
    path = tmp_path / "stereo.wav"
    left, right = tone(rate=8000), tone(rate=8000, hertz=600.0)
    soundfile.write(path, np.stack([left, right], 1), 8000, subtype="FLOAT")
    samples = open_recording(Source("stereo", str(path)), RATE).read().channels[0]
    assert len(samples) == RATE // 2
    # 0.5 s: bins of 2 Hz.
    spectrum = np.abs(np.fft.rfft(samples)) / len(samples) * 2
    assert spectrum[[220, 300]] == pytest.approx([0.15, 0.15], abs=0.01)
    assert spectrum.sum() - spectrum[[220, 300]].sum() < 0.3


def stereo_file(path, left, right):
    soundfile.write(path, np.stack([left, right], 1), RATE, subtype="FLOAT")
    return Source("stereo", str(path))


def test_one_channel_or_each(tmp_path):
    source = stereo_file(tmp_path / "call.wav", tone(), tone(hertz=600.0))
    for channel in ("0", 1):
        (found,) = open_recording(source, RATE, check_channel(channel)).read().channels
        expected = tone(hertz=(440.0, 600.0)[int(channel)])
        assert found == pytest.approx(expected, abs=1e-6)
    left, right = open_recording(source, RATE, "each").read().channels
    assert left == pytest.approx(tone(), abs=1e-6)
    assert right == pytest.approx(tone(hertz=600.0), abs=1e-6)
    with pytest.raises(UserError, match="call.wav: has 2 channels, and no channel 2"):
        open_recording(source, RATE, 2).read()
    for bad in ("left", "-1", "1.0", True):
        with pytest.raises(UserError, match=f"--channel {bad}: give a number from 0"):
            check_channel(bad)


@pytest.mark.parametrize(
    "right, cancels",
    [
        (-tone(), True),
        (-0.8 * tone() + 0.01, True),
        (tone(), False),
        (tone(hertz=600.0), False),
        (np.zeros(len(tone())), False),
    ],
)
def test_channels_that_cancel_each_other_out(tmp_path, right, cancels):
    source = stereo_file(tmp_path / "call.wav", tone(), right)
    warnings = open_recording(source, RATE).read().warnings
    assert any("channels cancel each other out" in w for w in warnings) == cancels
    assert open_recording(source, RATE, 0).read().warnings == ()


@pytest.mark.parametrize(
    "right, same",
    [
        (tone(), True),
        (-0.5 * tone(), True),
        (tone() + 0.5 * tone(hertz=600.0), False),
        (np.zeros(len(tone())), False),
    ],
)
def test_channels_with_the_same_sound(tmp_path, right, same):
    source = stereo_file(tmp_path / "call.wav", tone(), right)
    warnings = open_recording(source, RATE, "each").read().warnings
    expected = "call.wav: channels 0 and 1 have the same sound"
    assert any(expected in w and "--channel 0" in w for w in warnings) == same
    assert len(warnings) == same


def test_silence_cancels_nothing(tmp_path):
    source = stereo_file(tmp_path / "silence.wav", np.zeros(999), np.zeros(999))
    for channel in ("mix", "each"):
        assert open_recording(source, RATE, channel).read().warnings == ()


def transcript(starts, probabilities):
    talkers = [[(f"at{s}", s, s + 0.5)] if s is not None else [] for s in starts]
    return make_transcript(*talkers, probabilities=probabilities)


def test_talkers_of_all_channels():
    joined = join_channels(
        [transcript([1.0, None], {1: 0.2, 2: 0.8}), transcript([0.5], {1: 0.9, 2: 0.1})]
    )
    heard = [(talker.text, talker.channel) for talker in joined.talkers]
    assert heard == [("at0.5", 1), ("at1.0", 0), ("", 0)]
    assert joined.count_probabilities == {2: 0.18, 3: 0.74, 4: 0.08}
    unknown = join_channels([transcript([1.0], None), transcript([2.0], {1: 1.0})])
    assert (unknown.num_talkers, unknown.num_talkers_probability) == (2, None)
    # Nobody speaks on one channel, or on any.
    silent = transcript([], None)
    half = join_channels([silent, transcript([0.5], {1: 0.9, 2: 0.1})])
    assert [talker.channel for talker in half.talkers] == [1]
    assert half.count_probabilities == {1: 0.9, 2: 0.1}
    nobody = join_channels([silent, silent])
    assert (nobody.talkers, nobody.count_probabilities) == ((), None)


def test_standard_input(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(), RATE, format="FLAC")
    pipe = io.BufferedReader(io.BytesIO(buffer.getvalue()))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    recording = open_recording(Source("stdin", "-"), RATE).read()
    assert np.abs(recording.channels[0] - tone()).max() < 1e-3


class Trickle(io.RawIOBase):
    """A pipe: no way back, and no more at once than it has."""

    def __init__(self, content):
        self.content, self.place = content, 0

    def readable(self):
        return True

    def readinto(self, buffer):
        some = self.content[self.place : self.place + min(len(buffer), 4000)]
        buffer[: len(some)] = some
        self.place += len(some)
        return len(some)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "W64"])
def test_a_pipe_is_read_as_it_comes(form):
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(20.0), RATE, format=form)
    pipe = Trickle(buffer.getvalue())
    waves = to_waves("x", open_pipe(io.BufferedReader(pipe), "x"), RATE, "mix", "x")
    first = next(waves.blocks)
    assert pipe.place < 0.8 * len(buffer.getvalue())
    samples = np.concatenate([first, *waves.blocks])[:, 0]
    assert len(samples) == pytest.approx(20 * RATE, abs=2000)
    assert samples[RATE : 2 * RATE].std() == pytest.approx(0.3 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("form", ["WAV", "AIFF", "W64", "FLAC"])
def test_a_pipe_that_breaks_off(form):
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(2.0), RATE, format=form)
    content = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    sound = open_pipe(io.BufferedReader(Trickle(content)), "x")
    assert len(np.concatenate(list(sound.blocks))) > 0.7 * RATE
    (warning,) = sound.warnings
    assert warning.startswith("x: is truncated, ")


@pytest.mark.parametrize("content", [b"", b"no sound", bytes(9999)])
def test_a_pipe_without_sound(content):
    with pytest.raises(UserError, match="a pipe: is not readable audio"):
        open_pipe(io.BufferedReader(Trickle(content)), "a pipe")


def test_a_pipe_that_must_be_searched():
    # Creative Voice is not among the formats that are taken from FFmpeg.
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(), RATE, format="VOC")
    sound = open_pipe(io.BufferedReader(Trickle(buffer.getvalue())), "x")
    assert len(np.concatenate(list(sound.blocks))) == len(tone())


def test_a_file_is_read_block_by_block(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([tone(10.0, 44100)] * 2, 1), 44100)
    waves = open_recording(Source("x", str(path)), RATE)
    assert waves.seconds == 10.0
    blocks = list(waves.blocks)
    assert len(blocks) >= 9 and sum(map(len, blocks)) == 10 * RATE


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
        (broken, "is not readable audio"),
        (empty, "has no samples"),
        (endless, "has NaN or infinite samples"),
        (tmp_path / "none.wav", "no such file"),
        (headless, "is not readable audio"),
    ):
        with pytest.raises(UserError, match=f"{path.name}: {problem}"):
            open_recording(Source("x", str(path)), RATE).read()


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


def test_what_is_passed_over_is_counted(tree):
    for name in ("a/deep/.hidden", "a/film.MP4", "a/README", "a/more.txt"):
        (tree / name).touch()
    lines = []
    found = find_recordings(["a", "b"], lines.append)
    assert "a/film.MP4" in [source.path for source in found]
    kinds = "2 .txt, 1 without suffix"
    assert lines == [f"a: skips 3 files not named as audio ({kinds})"]
    (tree / "empty" / "list.csv").touch()
    with pytest.raises(UserError, match=r"audio files, only 1 file .*\(1 .csv\); name"):
        find_recordings(["empty"])


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    folder = tmp_path / "locked.d"
    folder.mkdir()

    def locked(folder, on_error):
        on_error(PermissionError(13, "Permission denied", str(folder)))
        return []

    monkeypatch.setattr(sources, "files_below", locked)
    assert find_recordings([str(folder)]) == [Source("locked.d", str(folder))]
