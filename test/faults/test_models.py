"""Faults in a model's files: each command that loads it says so, and writes nothing."""

import re
import shutil
from pathlib import Path

import pytest
import soundfile
from faults.cases import MODEL_FAULTS
from helpers.tiny_inference import noises, save_tiny_model

from espnet_mtasr.bin import (
    calibrate,
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


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", MODEL_FAULTS, ids=lambda case: case.name)
def test_fault(place, capsys, command, case):
    case.fault(place / "model" / case.file)
    before = files_below(place)
    function, *words = COMMANDS[command](place)
    with pytest.raises(SystemExit) as stop:
        run_command_line(function, [str(word) for word in words])
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if "error: " in line]
    assert stop.value.code == 2 and len(lines) == 1, error
    assert case.file in lines[0] and re.search(case.says, lines[0]), lines
    assert "Traceback" not in error
    # Nothing is written, and no code of the model's was run.
    assert files_below(place) == before


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "calibrate"])
def test_without_a_fault(place, command, capsys):
    """The commands do their work, so that a fault is what stops them.

    All words of a model of random weights are wrong, which calibrate refuses.
    """
    function, *words = COMMANDS[command](place)
    before = files_below(place)
    function([str(word) for word in words])
    assert files_below(place) != before
