"""Faults in a model's files: each command that loads it says so, and writes nothing."""

import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import soundfile
from faults.cases import MODEL_FAULTS, UNTRUSTED
from faults.damage import config
from helpers.tiny_inference import noises, save_tiny_model

from espnet_mtasr.bin import (
    calibrate,
    export_onnx,
    fit_routing,
    main,
    make_token_list,
    mtasr_inference,
    mtasr_pack,
)
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import run_command_line

COMMANDS = {
    "transcribe": lambda place: (
        main.main,
        *("transcribe", "--model", place / "model", "--device", "cpu"),
        # The recording is noise.
        *("--vad_threshold", "0"),
        *(place / "0.wav", "--output_dir", place / "out"),
    ),
    "decode": lambda place: (
        mtasr_inference.main,
        *("--mtasr_model_file", place / "model" / "model.pth", "--num_workers", 0),
        *("--data_path_and_name_and_type", f"{place}/data/wav.scp,speech,sound"),
        *("--output_dir", place / "out"),
    ),
    "pack": lambda place: (
        mtasr_pack.main,
        *("--mtasr_model_file", place / "model" / "model.pth"),
        *("--outpath", place / "out.zip"),
    ),
    "export": lambda place: (
        export_onnx.main,
        *("--model", place / "model", "--output_dir", place / "onnx"),
    ),
    "calibrate": lambda place: (
        calibrate.main,
        *("--mtasr_model_file", place / "model" / "model.pth"),
        *("--data_dir", place / "data"),
    ),
    "fit_routing": lambda place: (
        fit_routing.main,
        *("--mtasr_model_file", place / "model" / "model.pth"),
        *("--data_dir", place / "data"),
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model with sentencepiece units, recordings, and a set of them."""
    root = tmp_path_factory.mktemp("whole")
    text = root / "text"
    text.write_text("u1 had had lunch <sc> good day\nu2 good lunch <sc> had a day\n")
    make_token_list.main(
        ["--text", f"{text}", "--output_dir", f"{root}/tokens", "--nbpe", "25"]
    )
    save_tiny_model(
        root / "model",
        (root / "tokens" / "tokens.txt").read_text().splitlines(),
        token_type="bpe",
        bpemodel="bpe.model",
    )
    shutil.copy(root / "tokens" / "bpe.model", root / "model")
    tables = {"wav.scp": {}, "text": {}, "utt2num_spk": {}}
    for k, wave in enumerate(noises(9000, 8000)):
        soundfile.write(root / f"{k}.wav", wave, 16000, subtype="FLOAT")
        tables["wav.scp"][f"u{k}"] = root / f"{k}.wav"
        tables["text"][f"u{k}"] = "had lunch <sc> good day"
        tables["utt2num_spk"][f"u{k}"] = 2
    for name, table in tables.items():
        write_table(root / "data" / name, table)
    return root


@pytest.fixture
def place(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "place")


def files_below(folder: Path):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def refusal(place: Path, command: str, capsys) -> str:
    """The one line with which a command refuses the model."""
    before = files_below(place)
    function, *words = COMMANDS[command](place)
    with pytest.raises(SystemExit) as stop:
        run_command_line(function, [str(word) for word in words])
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if "error: " in line]
    assert stop.value.code == 2 and len(lines) == 1, error
    assert "Traceback" not in error
    # Nothing is written, and no code of the model's was run.
    assert files_below(place) == before
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", MODEL_FAULTS, ids=lambda case: case.name)
def test_fault(place, capsys, command, case):
    case.fault(place / "model" / case.file)
    line = refusal(place, command, capsys)
    assert case.file in line and re.search(case.says, line), line


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "calibrate"])
def test_without_a_fault(place, command, capsys):
    """The commands do their work, so that a fault is what stops them.

    All words of a model of random weights are wrong, which calibrate refuses.
    """
    function, *words = COMMANDS[command](place)
    before = files_below(place)
    function([str(word) for word in words])
    assert files_below(place) != before


@pytest.fixture
def in_the_folder(place, monkeypatch):
    """`python -m`, called in the folder of a model that has modules of its own."""
    for name in ("evil_of_test", "espnet2_evil", "fairscale", "s3prl", "whisper"):
        (place / "model" / f"{name}.py").write_text(
            "import pathlib\npathlib.Path('was_run').touch()\n"
            "from espnet_mtasr.asr.separator.lstm_separator import LSTMSeparator as X\n"
        )
    monkeypatch.chdir(place / "model")
    monkeypatch.syspath_prepend(str(place / "model"))
    # As a PYTHONPATH that ends with a colon puts it there.
    monkeypatch.setattr(sys, "path", [*sys.path, "", "."])
    yield place
    for name in ("evil_of_test", "espnet2_evil"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", UNTRUSTED, ids=lambda case: case.name)
def test_untrusted(in_the_folder, capsys, command, case):
    """It is refused before anything of it is imported or fetched."""
    config(lambda c: c.update(case.entries))(in_the_folder / "model" / "config.yaml")
    path = list(sys.path)
    line = refusal(in_the_folder, command, capsys)
    assert case.says in line and "--trust_remote_code" in line, line
    assert sys.path == path


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "calibrate"])
def test_trusted(in_the_folder, command):
    """The user's own word lets the same model's code run."""
    config(lambda c: c.update(separator="evil_of_test:X"))(
        in_the_folder / "model" / "config.yaml"
    )
    function, *words = COMMANDS[command](in_the_folder)
    function([*(str(word) for word in words), "--trust_remote_code"])
    assert (in_the_folder / "model" / "was_run").exists()


def test_the_current_folder_is_no_place_to_import_from(in_the_folder):
    """ESPnet tries to import packages that aren't installed when it builds these."""
    change = dict(frontend="sliding_window", input_size=None)
    config(lambda c: c.update(change))(in_the_folder / "model" / "config.yaml")
    function, *words = COMMANDS["transcribe"](in_the_folder)
    # This encoder reads waveforms.
    with pytest.raises((SystemExit, ValueError)):
        run_command_line(function, [str(word) for word in words])
    assert not (in_the_folder / "model" / "was_run").exists()


def test_a_file_that_is_no_part_of_the_model_is_not_packed(place):
    """A model of characters has no bpemodel, whatever its configuration names."""
    secret = place / "id_rsa"
    secret.write_text("a key")
    tokens = [*"abcdefghijklmnopqrstuvwxyz'", "<space>"]
    save_tiny_model(
        place / "chars",
        ["<blank>", "<unk>", *tokens, "<sos/eos>"],
        token_type="char",
        bpemodel=str(secret),
    )
    words = ["--mtasr_model_file", place / "chars" / "model.pth"]
    mtasr_pack.main([*map(str, words), "--outpath", str(place / "out.zip")])
    with zipfile.ZipFile(place / "out.zip") as packed:
        assert not [name for name in packed.namelist() if "id_rsa" in name]
