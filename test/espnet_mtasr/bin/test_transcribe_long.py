"""espnet-mtasr transcribe on long recordings: parts as they come, resumed runs."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
import torch
from helpers.terminal import run_in_terminal

from espnet_mtasr.bin.main import main
from espnet_mtasr.errors import UserError
from espnet_mtasr.model_zoo import wheels
from espnet_mtasr.model_zoo.model_files import fetch_model
from espnet_mtasr.model_zoo.voice_encoder import WHEEL
from espnet_mtasr.transcription.decoder import Decoder
from espnet_mtasr.transcription.long.voices import VoiceEncoder
from espnet_mtasr.transcription.many import Many
from espnet_mtasr.transcription.mtasr import MTASR

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = sorted((ROOT / "egs2" / "mini_librimix" / "samples").glob("*.flac"))
RATE = 16000


@pytest.fixture(scope="module")
def mixtures():
    return [soundfile.read(path, dtype="float32")[0] for path in SAMPLES]


@pytest.fixture
def long(tmp_path, monkeypatch, mixtures):
    """Samples one after the other, with pauses, twice."""
    monkeypatch.chdir(tmp_path)
    silence = np.zeros(round(1.2 * RATE), np.float32)
    wave = np.concatenate([part for m in 2 * mixtures for part in (m, silence)])
    soundfile.write("long.wav", wave, RATE)
    assert len(wave) > 40 * RATE
    return wave


@pytest.fixture(scope="module")
def alone(mixtures):
    """The texts of each sample."""
    model = MTASR.from_pretrained("mini", device="cpu")
    return [[t.text for t in r.talkers] for r in model.transcribe(mixtures)]


def texts(part):
    return [talker.text for talker in part.talkers]


def call(*words):
    main(["transcribe", "--model", "mini", "--device", "cpu", *map(str, words)])


def test_parts(long, alone, capsys):
    """Each sample is a part, and has the words that it has alone."""
    call("long.wav", "--format", "jsonl")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [[talker["text"] for talker in line["talkers"]] for line in lines]
    assert len(found) == len(2 * alone)
    same = total = 0
    for texts, expected in zip(found, 2 * alone):
        words, others = (Counter(" ".join(t).split()) for t in (texts, expected))
        same, total = same + (words & others).total(), total + others.total()
    assert same >= 0.8 * total, (same, total)
    starts = [line["start"] for line in lines]
    assert starts == sorted(starts) and lines[-1]["end"] < len(long) / RATE
    call("long.wav", "--format", "json")
    whole = json.loads(capsys.readouterr().out)
    assert whole["labels"] == "part"
    assert whole["seconds"] == pytest.approx(len(long) / RATE, abs=1e-3)
    words = [w["text"] for t in whole["talkers"] for w in t["words"]]
    assert sorted(words) == sorted(" ".join(t for line in found for t in line).split())


def test_txt_and_a_folder(long, capsys):
    call("long.wav")
    said = capsys.readouterr()
    first, *others = said.out.splitlines()
    assert first == "long: in parts; a talker's number is valid within one part"
    assert others[0].startswith("0:00 talker 1: ")
    assert said.err == ""
    call("long.wav", SAMPLES[0], "--output_dir", "out", "--format", "txt,srt,jsonl")
    assert capsys.readouterr().err.splitlines() == [
        "warning: long: in srt, talker 1 before a pause may be another person than "
        "after it; --num_people N tells them apart"
    ]
    assert Path("out/long.txt").read_text() == said.out
    assert not list(Path("out").glob("*.unfinished"))
    assert Path("out/long.srt").read_text().count("-->") > 12
    # The other was heard as a whole.
    assert len(Path("out", f"{SAMPLES[0].stem}.jsonl").read_text().splitlines()) == 1


def test_a_folder_gets_parts_as_they_come(long, monkeypatch):
    """Complete files only appear at the end."""
    seen = []
    draw = Many._draw_long

    def look(*args):
        parts = (
            Path("out/long.txt.parts").read_text(),
            Path("out/long.jsonl.parts").read_text(),
        )
        seen.append(parts)
        assert not Path("out/long.txt").exists()
        return draw(*args)

    monkeypatch.setattr(Many, "_draw_long", look)
    words = ["--output_dir", "out", "--format", "txt,jsonl", "--batch_seconds", "5"]
    call("long.wav", *words)
    assert len(seen) == 12
    for number, (txt, jsonl) in enumerate(seen, 1):
        assert len(jsonl.splitlines()) == number
        assert Path("out/long.txt").read_text().startswith(txt)
    assert Path("out/long.jsonl").read_text() == seen[-1][1]
    assert {path.name for path in Path("out").iterdir()} == {"long.txt", "long.jsonl"}


def test_parts_that_cannot_be_written(long, capsys):
    """The other recordings are transcribed."""
    Path("out/long.txt.parts").mkdir(parents=True)
    with pytest.raises(SystemExit) as ended:
        call("long.wav", SAMPLES[0], "--output_dir", "out", "--format", "txt")
    assert ended.value.code == 1
    assert "long.txt.parts: can't be written" in capsys.readouterr().err
    assert Path("out", f"{SAMPLES[0].stem}.txt").exists()


def test_at_most_so_many_talkers(long, capsys):
    call("long.wav", "--format", "json", "--num_talkers", "2")
    assert json.loads(capsys.readouterr().out)["num_talkers"] == 2
    with pytest.raises(UserError, match=r"the model knows \[2, 3\]"):
        call("long.wav", "--num_talkers", "4")


@pytest.fixture
def voice_encoder(tmp_path, monkeypatch):
    """Random weights where the downloaded ones would be."""
    monkeypatch.setenv("ESPNET_MTASR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    state = {k: v for k, v in VoiceEncoder().state_dict().items() if "mel." not in k}
    torch.save({"model_state": state}, tmp_path / "cache" / f"{WHEEL}.pt")


def test_people(long, voice_encoder, capsys):
    """Numbers hold for the recording; the words are those without labels."""
    call("long.wav", "--format", "json", "--num_talkers", "2")
    plain = json.loads(capsys.readouterr().out)
    call("long.wav", "--format", "json", "--num_people", "2")
    found = json.loads(capsys.readouterr().out)
    assert (plain["labels"], found["labels"]) == ("part", "recording")
    assert found["num_talkers"] == found["settings"]["num_people"] == 2

    def counted(entry):
        return Counter(" ".join(t["text"] for t in entry["talkers"]).split())

    assert counted(found) == counted(plain)
    starts = [talker["words"][0]["start"] for talker in found["talkers"]]
    assert starts == sorted(starts)
    call("long.wav", "--num_people", "4")
    assert capsys.readouterr().out.startswith(
        "long: in parts; 4 people, each with one "
    )
    call("long.wav", "--num_people", "2", "--format", "jsonl")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for number, talker in enumerate(found["talkers"], 1):
        texts = [
            t["text"]
            for line in lines
            for t in line["talkers"]
            if t["talker"] == number
        ]
        assert " ".join(texts) == talker["text"]
    with pytest.raises(UserError, match="--num_people 1: give 2 or more"):
        call("long.wav", "--num_people", "1")


def test_people_of_short_recordings(voice_encoder, mixtures, capsys):
    """There are at most so many talkers in them."""
    call(*SAMPLES, "--format", "json", "--num_people", "2")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["num_talkers"] for line in lines} == {2}
    call(*SAMPLES, "--format", "json", "--num_people", "3")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["num_talkers"] for line in lines} == {2, 3}


def test_the_voice_encoder_is_looked_for_first(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPNET_MTASR_CACHE", str(tmp_path / "cache"))

    def no_network(command):
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(wheels.subprocess, "run", no_network)
    with pytest.raises(UserError, match="--num_people: pip could not download Resem"):
        call(SAMPLES[0], "--num_people", "2")


def test_a_pipe(long, monkeypatch, capsys):
    call("long.wav")
    expected = capsys.readouterr().out
    pipe = io.BufferedReader(io.BytesIO(Path("long.wav").read_bytes()))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    call("-")
    assert capsys.readouterr().out == expected.replace("long:", "stdin:")


def test_python(long):
    model = MTASR.from_pretrained("mini", device="cpu")
    done = []
    transcript = model.transcribe("long.wav", progress=lambda *n: done.append(n))
    assert len(transcript.parts) == 12
    assert done and done[-1][1] == pytest.approx(len(long) / RATE)
    both = model.transcribe([long, long[: 3 * RATE]])
    assert both[0].talkers == transcript.talkers
    assert len(both[0].parts) == 12 and both[1].parts == ()
    parts = model.parts("long.wav", batch_seconds=5)
    found = [next(parts), *parts]
    # Confidences depend on the batch in their last digits.
    assert [texts(p) for p in found] == [texts(p) for p in transcript.parts]
    assert [p.start for p in found] == [p.start for p in transcript.parts]
    (short,) = model.parts(long[: 3 * RATE])
    assert short.talkers == both[1].talkers
    assert list(model.parts(np.zeros(RATE))) == []


@pytest.mark.slow
def test_it_goes_on_after_a_kill(long, capsys):
    soundfile.write("long.wav", np.tile(long, 12), RATE)
    words = ["long.wav", "--format", "json", "--batch_seconds", "5"]
    call(*words)
    expected = json.loads(capsys.readouterr().out)
    command = [sys.executable, "-m", "espnet_mtasr.bin.main", "transcribe"]
    command += [*words, "--model", "mini", "--device", "cpu", "--output_dir", "out"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    journal = Path("out/long.unfinished")
    limit = time.monotonic() + 120
    while not journal.exists() or len(journal.read_text().splitlines()) < 9:
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("out/long.json").exists()
    before = len(journal.read_text().splitlines()) - 2
    heard = []
    decode = Decoder._decode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Decoder,
            "_decode",
            lambda *args: (heard.extend(args[1]), decode(*args))[1],
        )
        call(*words, "--output_dir", "out", "--resume")
    assert json.loads(Path("out/long.json").read_text()) == expected
    assert not journal.exists()
    assert 0 < len(heard) <= 12 * 12 - before


@pytest.mark.parametrize("changed", [None, "weights", "calibration"])
def test_a_folder_with_another_model(long, monkeypatch, changed):
    """A run is only resumed with the same weights and calibration."""
    files = fetch_model("mini")
    config, weights = files.mtasr_train_config, files.mtasr_model_file
    top = Path(os.path.commonpath([config, weights]))
    shutil.copytree(top, "model")
    words = ["long.wav", "--model", "model", "--output_dir", "out", "--resume"]
    words += ["--batch_seconds", "5"]
    with monkeypatch.context() as patch:
        patch.setattr(Many, "_draw_long", Mock(side_effect=[None, KeyboardInterrupt]))
        with pytest.raises(KeyboardInterrupt):
            call(*words)
    place = Path("model", weights.relative_to(top))
    if changed == "weights":
        os.utime(place, (0, 0))
    elif changed == "calibration":
        os.utime(place.with_name("calibration.json"), (0, 0))
    heard = []
    decode = Decoder._decode
    monkeypatch.setattr(
        Decoder, "_decode", lambda *args: (heard.extend(args[1]), decode(*args))[1]
    )
    call(*words)
    assert 0 < len(heard) < 12 if changed is None else len(heard) == 12
    assert Path("out/long.txt").exists()


def test_a_terminal_shows_how_far_it_is(long):
    command = [sys.executable, "-m", "espnet_mtasr.bin.main", "transcribe"]
    words = ["long.wav", "--model", "mini", "--device", "cpu", "--output_dir", "out"]
    code, text = run_in_terminal(
        [*command, *words, "--batch_seconds", "10"], cwd=Path.cwd(), timeout=120
    )
    assert code == 0
    assert "of 1:1" in text and " left" in text


def test_a_recording_that_breaks_in_the_middle(long, capsys, monkeypatch):
    """What was heard stays on disk, and the others are transcribed."""
    decode = Decoder._decode
    calls = []

    def fail(*args):
        calls.append(args)
        if len(calls) == 3:
            raise RuntimeError("not enough memory")
        return decode(*args)

    monkeypatch.setattr(Decoder, "_decode", fail)
    words = ["long.wav", "--batch_seconds", "5", "--output_dir", "out", "--format"]
    with pytest.raises(SystemExit):
        call(*words, "json")
    error = capsys.readouterr().err
    assert "long: failed after 0:" in error and "(not enough memory)" in error
    assert not Path("out/long.json").exists()
    assert len(Path("out/long.unfinished").read_text().splitlines()) > 1
    calls.append(None)
    call(*words, "json", "--resume")
    assert Path("out/long.json").exists()
