"""The `python` that recipes' tests use acts as Python does."""

import os
import subprocess
import sys

import pytest
from helpers.warm_python import warm_python

PRINT = (
    "import os, sys; print(os.getcwd(), sys.argv[1:], os.environ['WORD'], flush=True)"
)
COMMANDS = {
    "prints": PRINT,
    "fails": f"{PRINT}; 1 / 0",
    "exits": f"{PRINT}; sys.exit(3)",
    "says": f"{PRINT}; sys.exit('some words')",
    "reads": f"{PRINT}; print(sys.stdin.read(), file=sys.stderr)",
    "is_killed": f"{PRINT}; os.kill(os.getpid(), 9)",
    "imports": f"import torch; {PRINT}; print(torch.get_num_threads())",
}


@pytest.fixture
def package(tmp_path):
    """One that shadows ours, with the commands above and one that waits."""
    folder = tmp_path / "espnet_mtasr" / "bin"
    folder.mkdir(parents=True)
    for name, code in COMMANDS.items():
        (folder / f"{name}.py").write_text(code + "\n")
    (folder / "waits.py").write_text(f"import time; {PRINT}; time.sleep(600)\n")
    return tmp_path


def command_and_env(python, name, package):
    env = {**os.environ, "WORD": "some", "OMP_NUM_THREADS": "2"}
    env["PYTHONPATH"] = str(package)
    return [python, "-m", f"espnet_mtasr.bin.{name}", "a b", "--c"], env


def run(python, name, package):
    command, env = command_and_env(python, name, package)
    done = subprocess.run(
        command, env=env, cwd=package, input="words", capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr.splitlines()[-1:]


@pytest.mark.parametrize("name", COMMANDS)
def test_it_does_the_same(name, package):
    code, *said = run(sys.executable, name, package)
    # The shell's code for a signal.
    code = code if code >= 0 else 128 - code
    assert run(warm_python() / "python", name, package) == (code, *said)


def test_other_commands_and_settings(package):
    python = warm_python() / "python3"
    version = subprocess.check_output([python, "-c", "import sys; print(sys.version)"])
    assert version.decode().strip() == sys.version
    command, env = command_and_env(python, "imports", package)
    env["HF_HOME"] = str(package)
    cold = subprocess.check_output(command, env=env, cwd=package, text=True)
    assert cold.splitlines()[-1] == "2"


def test_it_ends_with_its_caller(package):
    command, env = command_and_env(warm_python() / "python", "waits", package)
    with subprocess.Popen(command, env=env, cwd=package, stdout=subprocess.PIPE) as it:
        assert b"a b" in it.stdout.readline()
        it.kill()
        # The fork has this file open as well.
        assert it.stdout.read() == b""
