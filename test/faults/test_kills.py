"""Each command is killed before each change of its files, and then simply run again.

What it has made in the end must be what an undisturbed run makes.
"""

import csv
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import pytest
import soundfile
import torch
from faults.killing import Killer
from helpers.tiny_corpus import make_tiny_corpus
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_lab import Lab

from espnet_mtasr.bin import simulate
from espnet_mtasr.data.tables import write_table


class Job(NamedTuple):
    """A command, the folder that it makes, and what of it must be the same."""

    module: str
    words: List[Any]
    folder: Path
    made: Callable[[Path], Dict[str, Any]]


def contents(folder: Path) -> Dict[str, bytes]:
    """All files; a part of one that a kill has left is none."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".part" and not path.name.startswith(".")
    }


def texts_and_tables(folder: Path) -> Dict[str, bytes]:
    """All files, without seconds that were measured."""
    return {k: v for k, v in contents(folder).items() if not k.endswith("rtf")}


def weights(folder: Path) -> Dict[str, Any]:
    """Epochs' and averaged weights as numbers, and what the links lead to."""
    found: Dict[str, Any] = {
        path.name: path.resolve().name for path in folder.glob("*.pth")
    }
    for name in ("1epoch.pth", "2epoch.pth", "valid.loss_sot.ave.pth"):
        state = torch.load(folder / name, map_location="cpu", weights_only=True)
        found[name] = {k: v.tolist() for k, v in state.items()}
    return found


def training(root: Path) -> Job:
    lab = Lab(root)
    words = lab.options(1, "exp", "--resume", "true", "--use_tensorboard", "false")
    return Job("mtasr_train", words, root / "exp", weights)


def corpus(root: Path) -> List[Any]:
    """A corpus and a list of two mixtures; the options of `simulate` for them."""
    make_tiny_corpus(root, seconds=(0.4, 1.2))
    rows = [
        {
            "mixture_ID": f"m{k}",
            "source_1_path": f"test-clean/11/7/11-7-000{k}.flac",
            "source_1_gain": 0.5,
            "source_2_path": f"test-clean/12/7/12-7-000{k}.flac",
            "source_2_gain": 0.25,
            "noise_path": "tt/n0.wav",
            "noise_gain": 0.1,
            "offset": 0.25,
        }
        for k in range(2)
    ]
    with (root / "m.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return [
        *("--librispeech", root / "LibriSpeech", "--wham_noise", root / "wham_noise"),
        *("--audio", root / "made/audio", "--data", root / "made/data", "--nj", 1),
        *("--set", "test_x", root / "m.csv", "both"),
    ]


def simulation(root: Path) -> Job:
    return Job("simulate", corpus(root), root / "made", contents)


def formatting(root: Path, audio_format: str) -> Job:
    words = [str(word) for word in corpus(root)]
    simulate.main([w.replace("/made/", "/source/") for w in words])
    sets = ["--train_sets", "test_x_clean", "--eval_sets", "test_x_noisy"]
    return Job(
        "prepare_data",
        [
            *("--fs", 16000, "--nj", 1, "format", "--source", root / "source/data"),
            *("--target", root / "dump", "--audio_format", audio_format, *sets),
        ],
        root / "dump",
        contents,
    )


def tokens(root: Path) -> Job:
    text = root / "text"
    text.write_text("u1 had had lunch <sc> good day\nu2 good lunch <sc> had a day\n")
    words = ["--text", text, "--output_dir", root / "tokens", "--nbpe", 25]
    return Job("make_token_list", words, root / "tokens", contents)


def recordings(root: Path) -> None:
    for k, wave in enumerate(noises(9000, 8000)):
        soundfile.write(root / f"{k}.wav", wave, 16000, subtype="FLOAT")
    write_table(root / "wav.scp", {f"u{k}": root / f"{k}.wav" for k in range(2)})


def decoding(root: Path) -> Job:
    model = save_tiny_model(root / "model")
    recordings(root)
    words = ["--mtasr_model_file", model, "--num_workers", 0]
    words += ["--data_path_and_name_and_type", f"{root}/wav.scp,speech,sound"]
    words += ["--output_dir", root / "decoded", "--store_posteriors", "true"]
    return Job("mtasr_inference", words, root / "decoded", texts_and_tables)


def transcription(root: Path) -> Job:
    model = save_tiny_model(root / "model")
    recordings(root)
    words = [root / "0.wav", root / "1.wav", "--model", model, "--device", "cpu"]
    words += ["--format", "txt,json", "--output_dir", root / "texts", "--resume"]
    return Job("transcribe", words, root / "texts", contents)


def packing(root: Path) -> Job:
    import zipfile

    def unpacked(folder: Path) -> Dict[str, Any]:
        with zipfile.ZipFile(folder / "model.zip") as archive:
            return {name: archive.read(name) for name in sorted(archive.namelist())}

    def without_time(folder: Path) -> Dict[str, Any]:
        # ESPnet notes when it was packed.
        return {k: v for k, v in unpacked(folder).items() if k != "meta.yaml"}

    model = save_tiny_model(root / "model")
    words = ["--mtasr_model_file", model, "--outpath", root / "packed/model.zip"]
    return Job("mtasr_pack", words, root / "packed", without_time)


JOBS: Dict[str, Callable[[Path], Job]] = {
    "training": training,
    "mixtures": simulation,
    "stage 3": lambda root: formatting(root, "wav"),
    "stage 3, archives": lambda root: formatting(root, "flac.ark"),
    "tokens": tokens,
    "decoding": decoding,
    "transcription": transcription,
    "packing": packing,
}


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    killer = Killer(tmp_path_factory.mktemp("killer") / "log")
    yield killer
    killer.close()


@pytest.mark.parametrize("name", JOBS)
def test_killed_between_any_two_writes(name, killer, tmp_path, record_kills):
    job = JOBS[name](tmp_path)
    module, words, folder, made = job
    undisturbed = killer.run(module, words, folder)
    assert undisturbed.code == 0, killer.log.read_text()[-2000:]
    expected = made(folder)
    assert expected
    wrong = []
    for number, change in enumerate(undisturbed.changes):
        shutil.rmtree(folder)
        killed = killer.run(module, words, folder, number)
        assert killed.code == -9, (change, killed)
        again = killer.run(module, words, folder)
        if again.code != 0 or made(folder) != expected:
            wrong.append((number, change, again.code))
    record_kills(len(undisturbed.changes), len(wrong))
    assert not wrong, wrong
