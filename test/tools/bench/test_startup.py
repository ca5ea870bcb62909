"""Fresh processes are run, read and counted; how long they take is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_mtasr.errors import UserError
from tools.bench import startup

ROOT = Path(__file__).parents[3]


def test_figures(tmp_path):
    out = tmp_path / "out.json"
    names = ["python -c pass", "import torch", "import espnet_mtasr", "bad arguments"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.startup", "--rounds", "2", "--json", out]
        + ["--commands", *names[2:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert list(results["figures"]) == names
    for name in names:
        figure, line = results["figures"][name], f"{name}: "
        seconds, python = (results["seconds"][f"{n}, answer"] for n in (name, names[0]))
        each = sorted(a / b for a, b in zip(seconds, python))
        told = figure["times_as_long_as_python"]
        assert len(seconds) == 2 and [told["min"], told["max"]] == each
        torch = results["seconds"]["import torch, answer"]
        each_torch = sorted(a / b for a, b in zip(seconds, torch))
        told_torch = figure["times_as_long_as_torch"]
        assert [told_torch["min"], told_torch["max"]] == each_torch
        assert sum(each) / 2 == pytest.approx(told["median"])
        assert len(results["seconds"][f"{name}, processor"]) == 2
        assert figure["cpu_seconds"] > 0
        assert any(said.startswith(line) for said in done.stdout.splitlines())
    modules = [results["figures"][name]["modules"] for name in names]
    assert 0 < modules[0] < modules[2] < modules[3] < modules[1]
    goals = [results["figures"][name]["goal_seconds"] for name in names]
    assert goals == [None, None, 0.5, 0.5]


def test_a_process():
    """More on standard error than a pipe holds must not stop it."""
    code = "import sys; sys.stderr.write('x' * 10**6); print('one'); print('two')"
    found = startup.start(startup.Command(("-c", code)))
    assert found.text == b"one\ntwo\n" and found.cpu > 0
    with pytest.raises(RuntimeError, match="ended with code 3, not 0: .*no good"):
        bad = "import sys; print('no good', file=sys.stderr); sys.exit(3)"
        startup.start(startup.Command(("-c", bad)))


def test_processes_that_disagree(monkeypatch):
    code = "import os; print(os.getpid())"
    commands = {startup.PYTHON: startup.Command(("-c", code))}
    monkeypatch.setattr(startup, "commands", lambda model, recording: commands)
    with pytest.raises(RuntimeError, match="two processes wrote different texts"):
        startup.main(["--rounds", "1"])


def test_a_bad_option(capsys):
    with pytest.raises(UserError, match="--recording no.wav: no such file"):
        startup.main(["--recording", "no.wav"])
    with pytest.raises(SystemExit, match="2"):
        startup.main(["--commands", "start"])
    told = capsys.readouterr().err
    assert "--commands: invalid choice: 'start' (choose from" in told
    assert startup.PYTHON in told
