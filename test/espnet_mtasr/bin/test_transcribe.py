"""espnet-mtasr transcribe: what it writes where, and what it says when it can't."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.terminal import last_screen, run_in_terminal
from helpers.tiny_inference import noises, save_tiny_model

from espnet_mtasr.bin.main import main
from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.decoder import Decoder
from espnet_mtasr.transcription.mtasr import MTASR

NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "exp").parent


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, wave in zip(NAMES, noises(9000, 4000, 12345)):
        soundfile.write(f"{name}.wav", wave, 16000, subtype="FLOAT")
    return tmp_path


@pytest.fixture
def expected(folder, recordings):
    model = MTASR.from_pretrained(folder, device="cpu")
    paths = [f"{name}.wav" for name in NAMES]
    transcripts = model.transcribe(paths, vad_threshold=0)
    return {t.recording: [talker.text for talker in t.talkers] for t in transcripts}


# The recordings are noise.
ALL_IS_SPEECH = ("--vad_threshold", "0")


def call(folder, *words):
    options = ("--model", str(folder), "--device", "cpu", *ALL_IS_SPEECH)
    main(["transcribe", *options, *words])


def test_on_standard_output(folder, expected, capsys):
    call(folder, *(f"{name}.wav" for name in NAMES))
    said = capsys.readouterr().out
    for name, texts in expected.items():
        assert f"{name}: {len(texts)} talkers" in said
        for k, text in enumerate(texts, 1):
            assert f"talker {k}: {text}" in said
    assert said.index("one:") < said.index("\n\ntwo:") < said.index("\n\nthree:")
    call(folder, "--format", "json", "three.wav", "one.wav")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["recording"] for entry in found] == ["three", "one"]
    assert [t["text"] for t in found[1]["talkers"]] == expected["one"]


def test_into_a_folder(folder, expected, capsys):
    call(folder, ".", "--output_dir", "out", "--format", "json,srt", "--num_talkers=2")
    found = sorted(path.name for path in Path("out").iterdir())
    assert found == sorted(f"{n}.{suffix}" for n in NAMES for suffix in ("json", "srt"))
    assert capsys.readouterr().out == ""
    entry = json.loads(Path("out/one.json").read_text())
    assert (entry["recording"], entry["num_talkers"]) == ("one", 2)
    assert "-->" in Path("out/one.srt").read_text()


def test_pictures(folder, expected, capsys):
    call(folder, "one.wav", "--plot", "new/one.png")
    assert f"talker 1: {expected['one'][0]}" in capsys.readouterr().out
    assert Path("new/one.png").read_bytes().startswith(b"\x89PNG")
    call(folder, ".", "--plot", "pictures", "--output_dir", "out")
    found = sorted(path.name for path in Path("pictures").iterdir())
    assert found == sorted(f"{name}.png" for name in NAMES)


def test_a_picture_that_cannot_be_written(folder, expected, capsys):
    """The texts are not lost, nor are the others' pictures."""
    Path("pictures/one.png").mkdir(parents=True)
    with pytest.raises(SystemExit) as stop:
        call(folder, "one.wav", "two.wav", "--plot", "pictures")
    said = capsys.readouterr()
    assert stop.value.code == 1
    assert f"talker 1: {expected['one'][0]}" in said.out
    assert "one: can't be written (Is a directory)" in said.err
    assert Path("pictures/two.png").is_file()


def test_a_failure_does_not_stop_the_others(folder, expected, capsys):
    Path("broken.wav").write_bytes(b"RIFF")
    with pytest.raises(SystemExit) as stop:
        call(folder, "one.wav", "broken.wav", "two.wav")
    assert stop.value.code == 1
    said = capsys.readouterr()
    assert f"talker 1: {expected['two'][0]}" in said.out
    assert "broken.wav: is not readable audio" in said.err
    assert "1 of 3 recordings failed:" in said.err


def test_one_that_is_too_long_for_the_memory(folder, expected, capsys, monkeypatch):
    decode = Decoder.transcribe

    def with_little_memory(model, recordings, *args):
        if any(r.num_samples > 12000 for r in recordings):
            raise RuntimeError("not enough memory\nfor all of it")
        return decode(model, recordings, *args)

    monkeypatch.setattr(Decoder, "transcribe", with_little_memory)
    with pytest.raises(SystemExit):
        call(folder, "one.wav", "three.wav", "two.wav")
    said = capsys.readouterr()
    assert f"talker 1: {expected['two'][0]}" in said.out
    assert "three: failed with its 1 s (not enough memory)" in said.err


def test_a_call_with_a_talker_on_each_channel(folder, recordings, capsys):
    wave = noises(9000, 9000)
    soundfile.write("call.wav", np.stack(wave, 1), 16000, subtype="FLOAT")
    call(folder, "call.wav", "--channel", "each", "--num_talkers", "2")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("call: 4 talkers, probability 0.")
    for number, one in enumerate(wave):
        soundfile.write("one.wav", one, 16000, subtype="FLOAT")
        call(folder, "one.wav", "--num_talkers", "2")
        expected = [line[10:] for line in capsys.readouterr().out.splitlines()[1:]]
        found = [line[22:] for line in lines if f"(channel {number}): " in line]
        assert found == expected
    with pytest.raises(SystemExit):
        call(folder, "call.wav", "--channel", "2")
    error = capsys.readouterr().err
    assert "call.wav: has 2 channels, and no channel 2 (counted from 0)" in error


def test_warnings(folder, recordings, capsys):
    """They are told, and the others lose nothing."""
    (wave,) = noises(9000)
    soundfile.write("out.wav", np.stack([wave, -wave], 1), 16000, subtype="FLOAT")
    soundfile.write("short.wav", wave[:100], 16000)
    Path("notes.txt").touch()
    call(folder, ".", "--format", "json")
    said = capsys.readouterr()
    by_name = {e["recording"]: e for e in map(json.loads, said.out.splitlines())}
    assert sorted(by_name) == sorted([*NAMES, "out", "short"])
    assert by_name["short"]["num_talkers"] == 0
    first, *others = said.err.splitlines()
    assert first == ".: skips 1 file not named as audio (1 .txt)"
    (cancel,), (short,) = (by_name[name]["warnings"] for name in ("out", "short"))
    assert "out.wav: its channels cancel each other out (their mean has 0% of" in cancel
    assert "short: 0.006 s is too short to contain a word" == short
    assert sorted(others) == sorted(f"warning: {w}" for w in (cancel, short))


TALK = """
import logging, os, sys, warnings
from espnet_mtasr.bin import main, transcribe

kept = logging.StreamHandler()
logging.getLogger().addHandler(kept)
fetch = transcribe.fetch_model

def talk(name):
    print("torch" in sys.modules, file=sys.stdout)
    print("Loading weights: 100 %", file=sys.stderr)
    os.write(2, b"a library in C")
    logging.warning("Retrying")
    warnings.warn("in the future", FutureWarning)
    return fetch(name)

transcribe.fetch_model = talk
main.console()
"""
NOISE = ("Loading weights", "library in C", "Retrying", "FutureWarning")


@pytest.mark.parametrize("verbose", [False, True])
def test_what_libraries_say(folder, recordings, verbose):
    """ESPnet's Conformer, for one, tells of a package that it could use."""
    words = ["transcribe", "--model", folder, "--device", "auto", "one.wav", "none.wav"]
    command = [sys.executable, "-c", TALK, *words, *ALL_IS_SPEECH]
    if verbose:
        command.append("--verbose")
    soundfile.write("none.wav", np.zeros(0), 16000)
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "one: " in done.stdout) == (1, True), done
    assert [word in done.stderr for word in NOISE] == 4 * [verbose]
    own = "none.wav: has no samples; replace it"
    if not verbose:
        assert done.stderr.splitlines() == [own, "1 of 2 recordings failed:", own]


def test_a_terminal_gets_something_before_torch_is_imported(folder, recordings):
    words = ["transcribe", "--model", folder, "--device", "cpu", "one.wav"]
    words += ALL_IS_SPEECH
    code, text = run_in_terminal(
        [sys.executable, "-c", TALK, *words], cwd=recordings, timeout=120
    )
    assert code == 0
    assert f"Loading {folder}"[:79] in text.split("False")[0]
    assert "Transcribing" in text
    # In the end, only the transcript is left there.
    left = [line for line in last_screen(text).splitlines() if line.strip()]
    assert left[1].startswith("one: ")
    assert re.fullmatch(r"\033\[3\dm(talker \d  .*)\033\[0m", left[-1])


def test_silence(folder, recordings, capsys):
    """Whatever the model would say to it."""
    soundfile.write("silence.wav", np.zeros(16000), 16000)
    main(["transcribe", "--model", str(folder), "silence.wav", "one.wav"])
    said = capsys.readouterr()
    assert said.out == "silence: 0 talkers\n\none: 0 talkers\n"
    assert said.err == ""


@pytest.mark.parametrize(
    "words, message",
    [
        (["none.wav"], "none.wav: no such file"),
        (["one.wav", "--format", "txt,doc"], "there is no 'doc'; choose from txt"),
        (["one.wav", "--format", "txt,json"], "several formats need --output_dir"),
        (["one.wav", "two.wav", "--format", "srt"], "can only .* one recording, not 2"),
        (["one.wav", "--dtype", "int8"], "--dtype int8: choose one of"),
        (["one.wav", "--device", "tpu"], "--device tpu: give auto, cpu"),
        (["one.wav", "--num_talkers", "0"], "--num_talkers 0: give 1 or more"),
        (["one.wav", "--num_talkers", "4"], r"the model knows \[2, 3\]"),
        (["one.wav", "--beam_size", "0"], "--beam_size 0"),
        (["one.wav", "--channel", "left"], "--channel left: give a number from 0, mix"),
        (["one.wav", "--batch_seconds", "0"], "--batch_seconds 0.0"),
        (["one.wav", "--output_dir", "two.wav"], "two.wav is a file"),
        (["one.wav", "--window_seconds", "1"], "--window_seconds 1.0: give 2 or more"),
        (["one.wav", "--window_seconds", "inf"], "inf: give 2 or more, but not inf"),
        (
            ["one.wav", "--num_people", "2", "--num_talkers", "3"],
            "--num_talkers 3: is more than --num_people 2",
        ),
        (
            ["a b.wav", "a_b.wav", "--format", "stm"],
            "two recordings are called 'a_b' in stm",
        ),
        (
            ["one.wav", "--vad_threshold", "1"],
            "--vad_threshold 1.0: give a probability",
        ),
        (["one.wav", "two.wav", "--plot", "x.png"], "can only .* one recording, not 2"),
        (["one.wav", "--plot", "x.jpg"], "--plot x.jpg: give a file that ends in"),
    ],
)
def test_bad_options(folder, recordings, words, message):
    for name in ("a b.wav", "a_b.wav"):
        shutil.copy("one.wav", name)
    with pytest.raises(UserError, match=message):
        call(folder, *words)


def test_a_model_that_cannot_count(recordings, tmp_path, capsys):
    folder = save_tiny_model(tmp_path / "exp", count_weight=0.0).parent
    with pytest.raises(UserError, match="no talker-count head: give --num_talkers"):
        call(folder, "one.wav")
    call(folder, "one.wav", "--num_talkers", "3")
    assert "talker 3:" in capsys.readouterr().out
    speech, rate = soundfile.read("one.wav")
    soundfile.write("long.wav", np.tile(speech, 1 + 5 * rate // len(speech)), rate)
    call(folder, "long.wav", "--num_talkers", "3", "--window_seconds", "2")
    assert "talker 3:" in capsys.readouterr().out


def test_options_are_checked_before_heavy_imports():
    code = (
        "import sys\n"
        "from espnet_mtasr.bin.main import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except (SystemExit, ValueError) as e:\n"
        "    print(type(e).__name__)\n"
        "print([m for m in ('torch', 'espnet2', 'meeteval', 'scipy') "
        "if m in sys.modules])\n"
    )
    for words in (
        ["--help"],
        ["transcribe", "--help"],
        ["transcribe", "none.wav"],
        ["transcribe", __file__, "--format", "doc"],
        ["transcribe", __file__, "--unknown"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True
        )
        assert done.stdout.endswith("[]\n"), (words, done)


def test_as_a_program(folder, recordings):
    command = [sys.executable, "-m", "espnet_mtasr.bin.main", "transcribe"]
    with open("one.wav", "rb") as pipe:
        done = subprocess.run(
            [*command, "--model", folder, "-"], stdin=pipe, capture_output=True
        )
    assert done.returncode == 0
    assert done.stdout.startswith(b"stdin: ")
    assert done.stderr == b""
    # What comes through a pipe later is another recording.
    Path("out").mkdir()
    Path("out/stdin.txt").write_text("before\n")
    with open("one.wav", "rb") as pipe:
        resumed = subprocess.run(
            [*command, "--model", folder, "-", "--output_dir", "out", "--resume"],
            stdin=pipe,
            capture_output=True,
        )
    assert resumed.stderr.startswith(b"0 recordings are already transcribed")
    assert Path("out/stdin.txt").read_bytes() == done.stdout
