"""What is imported when: no torch for bad arguments, no task for a trained model.

Each in a process of its own, for this one has imported everything.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.tiny_inference import save_tiny_model

from espnet_mtasr.bin.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / "espnet_mtasr" / "bin"

# What only training, language models, scores and other models need.
NEEDLESS = (
    *(
        "espnet2.tasks.asr",
        "espnet2.train.preprocessor",
        "espnet2.text.build_tokenizer",
    ),
    *("transformers", "peft", "accelerate", "scipy", "librosa", "numba"),
    *("matplotlib", "tensorboard", "sklearn", "meeteval", "kaldialign", "hydra"),
)
IMPORT_INFERENCE = f"""
import sys
import espnet_mtasr.transcription.mtasr
print(*(name for name in {NEEDLESS!r} if name in sys.modules))
"""
# None makes an import fail.
COMMAND_WITHOUT_TORCH = """
import sys
sys.modules.update(torch=None, transformers=None, espnet2=None, gradio=None)
from espnet_mtasr.bin.main import console
console()
"""


def run_python(code, *words):
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_decoding_imports_no_task():
    done = run_python(IMPORT_INFERENCE)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_the_package_alone():
    done = run_python(
        "import sys; before = set(sys.modules); import espnet_mtasr; "
        "print(*sorted(set(sys.modules) - before))"
    )
    assert "numpy" not in done.stdout and "espnet_mtasr" in done.stdout.split()


def test_what_a_notebook_completes():
    code = "import sys, espnet_mtasr; print(*dir(espnet_mtasr), 'torch' in sys.modules)"
    names = run_python(code).stdout.split()
    assert {"MTASR", "__version__"} <= {*names} and names[-1] == "False"


# `train` asks ESPnet for its options.
@pytest.mark.parametrize("command", [None, *sorted({*COMMANDS} - {"train"})])
def test_help(command):
    words = ["--help"] if command is None else [command, "--help"]
    done = run_python(COMMAND_WITHOUT_TORCH, *words)
    assert (done.returncode, done.stderr) == (0, "")
    name = "espnet-mtasr" if command is None else f"espnet-mtasr {command}"
    assert done.stdout.startswith(f"usage: {name} [-h]")
    assert command is not None or all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"train", "download-corpora"}))
def test_a_command_without_options(command):
    done = run_python(COMMAND_WITHOUT_TORCH, command)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"espnet-mtasr {command}: error: ")


def test_what_pages_name_is_a_command():
    """What only mtasr.sh calls need not be one."""
    commands = {module for module, _ in COMMANDS.values()}
    assert all((BIN / f"{module}.py").is_file() for module in commands)
    pages = [path for path in ROOT.rglob("*.md") if ".venv" not in path.parts]
    named = {
        module
        for page in pages
        for module in re.findall(r"espnet_mtasr\.bin\.(\w+)", page.read_text("utf-8"))
    }
    assert named <= {*commands, "main"}


def test_an_unknown_command():
    done = run_python(COMMAND_WITHOUT_TORCH, "transcripe")
    assert done.returncode == 2
    assert "invalid choice: 'transcripe' (choose from" in done.stderr


@pytest.mark.parametrize(
    "words, message",
    [
        ("{wav} --no_such_option", "unrecognized arguments: --no_such_option"),
        ("{wav} --format doc", "--format doc: there is no 'doc'"),
        ("{wav} --batch_seconds 0", "--batch_seconds 0.0: give more than 0"),
        ("/missing.wav", "/missing.wav: no such file"),
        ("{wav} --model missing.zip", "model missing.zip: no such file"),
        ("{wav} --model no_such_name", "model no_such_name: is not a folder, a file"),
    ],
)
def test_bad_arguments(words, message, tmp_path):
    wav = tmp_path / "a.wav"
    wav.touch()
    words = words.format(wav=wav).split()
    done = run_python(COMMAND_WITHOUT_TORCH, "transcribe", *words)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.splitlines()[-1]


def test_a_model_that_is_there_needs_torch(tmp_path):
    """The command above would not have come so far."""
    model = save_tiny_model(tmp_path / "exp")
    wav = tmp_path / "a.wav"
    wav.touch()
    words = ("transcribe", wav, "--model", model)
    done = run_python(COMMAND_WITHOUT_TORCH, *words)
    assert done.returncode == 1 and "torch" in done.stderr.splitlines()[-1]


def test_what_is_installed(tmp_path):
    """Type checkers look for py.typed, and models are files beside the code."""
    built = tmp_path / "lib"
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", built]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in (
        "py.typed",
        "models/mtasr_mini.zip",
        "models/mtasr_speech.zip",
        "publishing/repository.py",
    ):
        assert (built / "espnet_mtasr" / name).is_file(), name
