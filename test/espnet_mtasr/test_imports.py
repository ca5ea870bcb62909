"""What is imported when: no torch for bad arguments, no task for a trained model.

Each in a process of its own, for this one has imported everything.
"""

import subprocess
import sys

import pytest
from helpers.tiny_inference import save_tiny_model

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
sys.modules.update(torch=None, transformers=None, espnet2=None)
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


@pytest.mark.parametrize("words", [["--help"], ["transcribe", "--help"]])
def test_help(words):
    done = run_python(COMMAND_WITHOUT_TORCH, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "transcribe" in done.stdout


@pytest.mark.parametrize(
    "words, message",
    [
        ("{wav} --no_such_option", "unrecognized arguments: --no_such_option"),
        ("{wav} --format doc", "--format doc: there is no 'doc'"),
        ("{wav} --batch_seconds 0", "--batch_seconds 0.0: give more than 0"),
        ("/missing.wav", "/missing.wav: no such file"),
        ("{wav} --model missing.zip", "model missing.zip: no such file"),
        ("{wav} --model no_such_name", "model no_such_name: is no folder, no file"),
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
