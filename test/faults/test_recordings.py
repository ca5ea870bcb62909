"""Faults in what is transcribed and in where it goes: the good ones are not lost."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faults import damage
from faults.cases import BAD_RECORDINGS
from helpers.tiny_inference import save_tiny_model

from espnet_mtasr.bin.main import main
from espnet_mtasr.errors import run_command_line

GOOD = ("a", "z")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "exp").parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder `in` with two good recordings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in GOOD:
        damage.sound(tmp_path / "in" / f"{name}.wav")
    return tmp_path / "in"


def transcribe(model, *words):
    """Exit code, as the program would have it."""
    command = ["transcribe", "--model", model, "--device", "cpu", *words]
    with pytest.raises(SystemExit) as stop:
        run_command_line(main, [os.fsdecode(word) for word in command])
    return stop.value.code


def put(folder, case):
    path = Path(os.fsdecode(os.fsencode(folder) + b"/" + case.file))
    case.fault(path)
    return path


@pytest.mark.parametrize("how", ["named", "in a folder"])
@pytest.mark.parametrize("case", BAD_RECORDINGS, ids=lambda case: case.name)
def test_a_bad_recording(model, folder, capsys, case, how):
    path = put(folder, case)
    words = [folder / "a.wav", path, folder / "z.wav"] if how == "named" else [folder]
    if how == "named" and case.name == "link to nothing":
        # A name that leads nowhere is a mistake in the command.
        assert transcribe(model, *words) == 2
        assert "bad.wav: no such file" in capsys.readouterr().err
        return
    code = transcribe(model, *words, "--output_dir", "out")
    error = capsys.readouterr().err
    assert code == 1 and "Traceback" not in error, error
    assert "1 of 3 recordings failed:" in error
    assert re.search(case.says, error.splitlines()[0]), error
    assert sorted(p.name for p in Path("out").iterdir()) == ["a.txt", "z.txt"]


@pytest.mark.parametrize("how", ["named", "in a folder"])
@pytest.mark.parametrize(
    "file, fault",
    [
        (b"\xe4\xff.wav", damage.sound),
        (b"with a blank\n.wav", damage.sound),
    ],
)
def test_strange_but_good(model, folder, capsys, file, fault, how):
    """Names that aren't UTF-8, or have a line in them."""
    path = Path(os.fsdecode(os.fsencode(folder) + b"/" + file))
    fault(path)
    words = [path, folder / "a.wav"] if how == "named" else [folder]
    command = ["transcribe", "--model", model, "--device", "cpu", *words]
    # The recordings are noise.
    command += ["--vad_threshold", "0", "--output_dir", "out", "--format=json"]
    main([os.fsdecode(w) for w in command])
    found = [json.loads(p.read_text()) for p in Path("out").iterdir()]
    assert len(found) == (2 if how == "named" else 3)
    assert all(entry["talkers"] for entry in found)
    assert capsys.readouterr().err == ""


def test_a_folder_that_cannot_be_read(model, folder, capsys, monkeypatch):
    """Root can read all: the system's answer to others stands in."""
    (folder / "closed").mkdir()
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert transcribe(model, folder, "--output_dir", "out") == 1
    error = capsys.readouterr().err
    assert "closed: a folder that can't be read; check its permissions" in error
    assert "1 of 3 recordings failed" in error
    assert sorted(p.name for p in Path("out").iterdir()) == ["a.txt", "z.txt"]


def test_a_file_that_cannot_be_opened(model, folder, capsys, monkeypatch):
    damage.sound(folder / "closed.wav")
    import builtins

    opened = builtins.open

    def refuse(path, *args, **options):
        if str(path).endswith("closed.wav"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(builtins, "open", refuse)
    assert transcribe(model, folder, "--output_dir", "out") == 1
    error = capsys.readouterr().err
    assert "closed.wav: can't be read (Permission denied); check its perm" in error
    assert sorted(p.name for p in Path("out").iterdir()) == ["a.txt", "z.txt"]


def test_a_disk_that_is_full_for_one(model, folder, capsys, monkeypatch):
    damage.sound(folder / "m.wav")
    replace = os.replace

    def refuse(source, target):
        if Path(target).name == "m.txt":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    assert transcribe(model, folder, "--output_dir", "out") == 1
    error = capsys.readouterr().err
    assert error.startswith("m: can't be written (No space left on device)\n")
    assert {"a.txt", "z.txt"} <= {p.name for p in Path("out").iterdir()}
    assert not Path("out/m.txt").exists()


@pytest.mark.parametrize("place", ["/proc/here", "/dev/null/here", "in/a.wav/here"])
def test_an_output_folder_that_cannot_be(model, folder, capsys, monkeypatch, place):
    from espnet_mtasr.transcription.mtasr import MTASR

    monkeypatch.setattr(MTASR, "from_files", lambda *args: pytest.fail("loaded first"))
    assert transcribe(model, folder, "--output_dir", place) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search("here: can't be written to .*; give another one$", line)


def test_what_is_there_is_left_out(model, folder, capsys):
    words = [folder, "--output_dir", "out"]
    command = ["transcribe", "--model", str(model), "--device", "cpu"]
    main([*command, str(folder / "a.wav"), "--output_dir", "out"])
    Path("out/a.txt").write_text("kept\n")
    main([*command, *map(str, words), "--resume"])
    assert "1 recording is already transcribed" in capsys.readouterr().err
    assert Path("out/a.txt").read_text() == "kept\n" and Path("out/z.txt").exists()
    # Nothing is left to do, so no model is loaded.
    main(["transcribe", "--model", "none.zip", *map(str, words), "--resume"])
    assert transcribe(model, folder, "--resume") == 2
    assert "--resume: needs --output_dir" in capsys.readouterr().err


PROGRAM = [sys.executable, "-m", "espnet_mtasr.bin.main", "transcribe"]


def test_standard_output_that_is_full(model, folder):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, "--model", model, "--device", "cpu", folder / "a.wav"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search("error: standard output: No space left on device; check", line)


def test_a_reader_that_leaves(model, folder):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*PROGRAM, "--model", model, "--device", "cpu", folder],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
