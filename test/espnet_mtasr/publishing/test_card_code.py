"""The code that a packed model's card shows runs, and ESPnet's own does as it says."""

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import soundfile
from helpers.recipe_copy import write_script
from helpers.stand_in_writable_hub import TOKEN, stand_in_writable_hub
from helpers.tiny_inference import save_tiny_model
from helpers.tiny_results import save_results

from espnet_mtasr.bin import mtasr_pack
from espnet_mtasr.publishing import repository
from espnet_mtasr.publishing.model_card import format_card

ROOT = Path(__file__).resolve().parents[3]
SPEECH = ROOT / "egs2" / "mini_librimix" / "samples" / "two_talkers_1_clean.flac"
ADDRESS = "https://example.org/some/name"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's, with a packed model, a recording, and a pip that writes its words."""
    folder = tmp_path_factory.mktemp("user")
    model = save_tiny_model(folder / "exp")
    save_results(model)
    archive = folder / "some_model.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repository, "repository_of_package", lambda: ADDRESS)
        mtasr_pack.main(["--mtasr_model_file", str(model), "--outpath", str(archive)])
    speech, rate = soundfile.read(SPEECH)
    soundfile.write(folder / "mix.wav", speech, rate)
    write_script(folder / "bin" / "pip", 'printf "%s\\n" "$@" >pip_words')
    command = f'exec {shlex.quote(sys.executable)} -m espnet_mtasr.bin.main "$@"'
    write_script(folder / "bin" / "espnet-mtasr", command)
    return folder


def run(folder, *command, endpoint="http://127.0.0.1:9"):
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    environment = dict(PATH=path, PYTHONPATH=str(ROOT), HOME=str(folder))
    hub = dict(HF_ENDPOINT=endpoint, HF_HUB_DISABLE_XET="1", HF_TOKEN=TOKEN)
    return subprocess.run(
        list(map(str, command)),
        env={**os.environ, **environment, **hub, "HF_HOME": str(folder / "hf")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def blocks(card, language):
    use = card.split("## Use\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", use, re.S)


def check_code(folder, card, **options):
    """Run the card's code; all ways must give the same text."""
    (shell,), (python,) = blocks(card, "sh"), blocks(card, "python")
    done = run(folder, "bash", "-euc", shell, **options)
    assert done.returncode == 0, done.stderr
    assert "talker 1: " in done.stdout
    pip_words = (folder / "pip_words").read_text().splitlines()
    assert pip_words == ["install", f"espnet_mtasr @ git+{ADDRESS}"]
    in_python = run(folder, sys.executable, "-c", python, **options)
    assert in_python.returncode == 0, in_python.stderr
    talkers = [line for line in done.stdout.splitlines() if line.startswith("talker")]
    assert [t for t in in_python.stdout.splitlines() if t in talkers] == talkers != []
    (espnets,) = re.findall(r"`(\S+Speech2Text\.from_pretrained\(.*?\))`", card)
    module, _, call = espnets.rpartition(".Speech2Text")
    code = f"""
import soundfile
from {module} import Speech2Text
[first], *_ = Speech2Text{call}(soundfile.read("mix.wav", dtype="float32")[0])
print("talker 1:", first[0])
"""
    done = run(folder, sys.executable, "-c", code, **options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == talkers[0].strip()


def test_code_of_a_zips_card(folder):
    with zipfile.ZipFile(folder / "some_model.zip") as packed:
        card = packed.read("README.md").decode()
    check_code(folder, card)


def test_code_of_an_uploaded_models_card(folder):
    with stand_in_writable_hub() as hub:
        command = ["-m", "espnet_mtasr.bin.mtasr_upload", "--hf_repo", "me/model"]
        command += ["--packed_model", folder / "some_model.zip"]
        done = run(folder, sys.executable, *command, endpoint=hub.endpoint)
        assert done.returncode == 0, done.stderr
        card = hub.files("me/model")["README.md"].decode()
        check_code(folder, card, endpoint=hub.endpoint)


def test_espnets_own_command_refuses_as_the_card_says(folder):
    """If it takes our models one day, card and doc/espnet3.md must say so."""
    command = ["-m", "espnet2.bin.cli", "transcribe", "--model", "some_model.zip"]
    done = run(folder, sys.executable, *command, "mix.wav")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    message = "some_model.zip does not look like a model for `espnet transcribe`"
    assert message in done.stderr
    for page in (ROOT / "doc" / "espnet3.md").read_text(), format_card({}, None, "x"):
        assert "`espnet transcribe`" in page and "can't load" in page


@pytest.mark.parametrize(
    "facts, place, package",
    [
        ({}, "In a clone of the repository of espnet_mtasr:", "."),
        (
            {"recipe": {"repository": ADDRESS}, "repository": "https://other.org/name"},
            f"Its code is at <{ADDRESS}>:",
            f"espnet_mtasr @ git+{ADDRESS}",
        ),
    ],
)
def test_install_line(facts, place, package):
    card = format_card(facts, None, "some_model.zip")
    (shell,) = blocks(card, "sh")
    assert shlex.split(shell.splitlines()[0]) == ["pip", "install", package]
    assert f"## Use\n\n{place}\n" in card


def test_the_clones_origin(tmp_path, monkeypatch):
    monkeypatch.setattr(repository, "ROOT", tmp_path)
    git = ["git", "-C", tmp_path]
    subprocess.run([*git, "init", "-q"], check=True)
    assert repository.repository_of_package() is None
    for url, expected in (
        ("https://me:secret@example.org/some/name.git", ADDRESS),
        (str(tmp_path / "clone"), None),
    ):
        subprocess.run([*git, "remote", "add", "origin", url], check=True)
        assert repository.repository_of_package() == expected
        subprocess.run([*git, "remote", "remove", "origin"], check=True)
