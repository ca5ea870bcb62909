"""Recordings that were broken off: told with what is missing."""

import re

import numpy as np
import pytest
import soundfile
from faults.cases import WRITTEN_TO_A_PIPE, can_be_written, formats
from faults.damage import cut
from helpers.tiny_corpus import make_tiny_corpus
from helpers.tiny_inference import save_tiny_model

from espnet_mtasr.bin import main, prepare_data
from espnet_mtasr.data.audio_check import check_audio
from espnet_mtasr.data.audio_end import missing_seconds
from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.mixture.describe import probe_seconds
from espnet_mtasr.transcription.recordings import open_recording
from espnet_mtasr.transcription.sources import Source

SECONDS = 3.0
RATE = 16000
# What is read of an MP3 file that is cut, or of an Ogg file, is whole pages and frames.
COARSE = ("MP3", "OGG")


def write(path, form):
    if not can_be_written(form):
        pytest.skip(f"this libsndfile can't write {form}")
    rate = 48000 if form.subtype == "OPUS" else RATE
    noise = 0.1 * np.random.default_rng(0).standard_normal(int(SECONDS * rate))
    soundfile.write(path, noise, rate, format=form.format, subtype=form.subtype)
    return len(noise) / rate


def told(text, whole):
    """Seconds that a message says are missing; None: it says from where on."""
    found = re.search(r"is truncated, ([0-9.]+) of ([0-9.]+) s are missing", text)
    if found is None:
        assert re.search(
            r"is truncated, what comes after [0-9.]+ s is missing", text
        ), text
        return None
    assert float(found[2]) == pytest.approx(whole, abs=0.1)
    return float(found[1])


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("form", formats(), ids=str)
def test_a_recording_that_was_cut(tmp_path, form, share):
    path = tmp_path / f"cut{form.suffix}"
    whole = write(path, form)
    cut(share)(path)
    if form.format == "CAF":
        # libsndfile refuses it by itself.
        with pytest.raises(UserError, match="is not readable audio"):
            open_recording(Source("cut", str(path)), RATE).read()
        with pytest.raises(UserError, match="is not readable audio"):
            check_audio(path)
        return
    recording = open_recording(Source("cut", str(path)), RATE).read()
    missing = told(*recording.warnings, whole)
    if form.format not in COARSE:
        assert missing == pytest.approx((1 - share) * whole, abs=0.05)
    with pytest.raises(UserError, match="is truncated, .* missing; restore it or"):
        check_audio(path, "u1")
    if form.format != "MP3":
        # Headers alone don't tell.
        assert "is truncated" in probe_seconds(path)


@pytest.mark.parametrize("form", formats(), ids=str)
def test_a_whole_recording(tmp_path, form):
    path = tmp_path / f"whole{form.suffix}"
    whole = write(path, form)
    assert open_recording(Source("whole", str(path)), RATE).read().warnings == ()
    assert missing_seconds(path) is None
    assert probe_seconds(path) == pytest.approx(whole, abs=0.1)
    check_audio(path)


@pytest.mark.parametrize("size", WRITTEN_TO_A_PIPE)
def test_a_size_that_a_program_could_not_know(tmp_path, size):
    path = tmp_path / "piped.wav"
    soundfile.write(path, np.zeros(RATE), RATE, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = size.to_bytes(4, "little")
    path.write_bytes(bytes(content))
    assert missing_seconds(path) is None


def test_a_chunk_after_the_samples(tmp_path):
    path = tmp_path / "tagged.wav"
    soundfile.write(path, np.zeros(RATE + 1), RATE, subtype="PCM_U8")
    with path.open("ab") as file:
        file.write(b"\0LIST\4\0\0\0INFO")
    assert missing_seconds(path) is None


def test_transcribe_warns_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = save_tiny_model(tmp_path / "exp").parent
    write("a.wav", formats()[0])
    cut(0.5)(tmp_path / "a.wav")
    # What imports have said by now is not the command's.
    capsys.readouterr()
    main.main(["transcribe", "--model", str(model), "--device", "cpu", "a.wav"])
    said = capsys.readouterr()
    assert said.out.startswith("a: ")
    (line,) = said.err.splitlines()
    assert line.startswith(
        "warning: a.wav: is truncated, 1.50 of 3.00 s are missing; the"
    )


@pytest.mark.parametrize("kind", ["training", "test"])
def test_stage_3(tmp_path, capsys, kind):
    root = make_tiny_corpus(tmp_path / "place", seconds=(0.4, 1.2))
    flac = sorted((root / "LibriSpeech").rglob("*.flac"))[0]
    samples, rate = soundfile.read(flac)
    tables = {name: {} for name in ("wav.scp", "text", "utt2num_spk")}
    for utt in ("bad", "good"):
        path = tmp_path / f"{utt}.wav"
        soundfile.write(path, samples, rate)
        tables["wav.scp"][utt] = path
        tables["text"][utt] = "had lunch <sc> good day"
        tables["utt2num_spk"][utt] = 2
    cut(0.5)(tmp_path / "bad.wav")
    for name, table in tables.items():
        write_table(tmp_path / "data" / "a_set" / name, table)
    words = ["format", "--source", tmp_path / "data", "--target", tmp_path / "dump"]
    words += ["--train_sets" if kind == "training" else "--eval_sets", "a_set"]
    words = [str(word) for word in words]
    if kind == "training":
        prepare_data.main([*words, "--max_unreadable", "1"])
        assert list(read_table(tmp_path / "dump" / "a_set" / "text")) == ["good"]
        return
    with pytest.raises(SystemExit) as stop:
        run_command_line(prepare_data.main, words)
    assert stop.value.code == 2
    assert "is truncated" in capsys.readouterr().err
    assert not (tmp_path / "dump" / "a_set" / "text").exists()
