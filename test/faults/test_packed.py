"""Faults in a packed model's weights, which are safetensors, and in older ones."""

import re
import shutil
import zipfile

import pytest
import torch
from faults.cases import PACKED_FAULTS
from helpers.tiny_inference import noises, save_tiny_model

from espnet_mtasr.bin import export_onnx, mtasr_download, mtasr_pack, transcribe
from espnet_mtasr.errors import run_command_line
from espnet_mtasr.inference import Speech2Text

WEIGHTS = "model.safetensors"
COMMANDS = {
    "transcribe": (transcribe.main, "--device", "cpu", "recording.wav", "--model"),
    "export": (export_onnx.main, "--output_dir", "onnx", "--model"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A packed model, and what it was packed from."""
    root = tmp_path_factory.mktemp("whole")
    model = save_tiny_model(root / "exp", share_separator=True)
    archive = root / "model.zip"
    mtasr_pack.main(["--mtasr_model_file", f"{model}", "--outpath", f"{archive}"])
    return archive, model


@pytest.fixture
def place(whole, tmp_path, monkeypatch):
    import soundfile

    with zipfile.ZipFile(whole[0]) as packed:
        packed.extractall(tmp_path / "model")
    soundfile.write(tmp_path / "recording.wav", noises(9000)[0], 16000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("case", PACKED_FAULTS, ids=lambda case: case.name)
def test_fault(place, capsys, monkeypatch, command, zipped, case):
    monkeypatch.setenv("ESPNET_MTASR_CACHE", str(place / "cache"))
    case.fault(place / "model" / case.file)
    model = "model"
    if zipped:
        model = shutil.make_archive(str(place / "other"), "zip", place / "model")
    function, *words = COMMANDS[command]
    with pytest.raises(SystemExit) as stop:
        run_command_line(function, [*words, model])
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if "error: " in line]
    assert stop.value.code == 2 and len(lines) == 1 and "Traceback" not in error, error
    assert case.file in lines[0] and re.search(case.says, lines[0]), lines
    assert not (place / "onnx").exists() and not (place / "ran").exists()


def test_nothing_in_it_can_hold_code(whole):
    with zipfile.ZipFile(whole[0]) as packed:
        assert not [
            name for name in packed.namelist() if name.endswith((".pth", ".pt"))
        ]
        assert WEIGHTS in packed.namelist()


def test_a_model_that_was_packed_before(whole, place):
    """It has a .pth, and a meta.yaml that names it."""
    archive, model = whole
    expected = Speech2Text(mtasr_model_file=model)(noises(9000))
    assert Speech2Text(mtasr_model_file=place / "model" / WEIGHTS)(noises(9000)) == (
        expected
    )
    (place / "model" / WEIGHTS).unlink()
    torch.save(torch.load(model, weights_only=True), place / "model" / "model.pth")
    meta = place / "model" / "meta.yaml"
    meta.write_text(meta.read_text().replace(WEIGHTS, "model.pth"))
    mtasr_download.main(["--model", "model"])
    assert Speech2Text(mtasr_model_file=place / "model" / "model.pth")(
        noises(9000)
    ) == (expected)
