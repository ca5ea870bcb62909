"""Names and paths in lists: none writes or reads outside of its folder."""

import csv
import json
import re

import pytest
from faults.cases import LIST_FAULTS
from helpers.tiny_corpus import make_tiny_corpus

from espnet_mtasr.bin import prepare_data, simulate
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import run_command_line

GOOD = {
    "mixture_ID": "m1",
    "source_1_path": "test-clean/11/7/11-7-0002.flac",
    "source_1_gain": 0.5,
    "source_2_path": "test-clean/12/7/12-7-0002.flac",
    "source_2_gain": 0.25,
    "noise_path": "tt/n0.wav",
    "noise_gain": 0.1,
    "offset": 0.25,
}


@pytest.fixture
def root(tmp_path):
    """A corpus, and beside it recordings that are no part of it."""
    root = make_tiny_corpus(tmp_path / "place", seconds=(0.4, 1.2))
    for name in ("secret.flac", "secret.wav"):
        source = root / "LibriSpeech" / GOOD["source_1_path"]
        (tmp_path / name).write_bytes(source.read_bytes())
    return root


def run(main, words, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command_line(main, [str(word) for word in words])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def make(root, path):
    return [
        *("--librispeech", root / "LibriSpeech", "--wham_noise", root / "wham_noise"),
        *("--audio", root / "audio", "--data", root / "data", "--nj", 1),
        *("--set", "test_x", path, "noisy" if path.suffix == ".csv" else "clean"),
    ]


def write_csv(path, **changes):
    row = {**GOOD, **changes}
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, row)
        writer.writeheader()
        writer.writerow(row)


def write_jsonl(path, **changes):
    sources = [GOOD["source_1_path"], GOOD["source_2_path"]]
    row = dict(id="m1", wavs=sources, delays=[0.0, 0.25], texts=["a", "b"])
    path.write_text(json.dumps({**row, **changes}) + "\n")


@pytest.mark.parametrize("case", LIST_FAULTS, ids=lambda case: case.name)
def test_a_list(root, tmp_path, capsys, case):
    path = root / case.file
    write = write_csv if path.suffix == ".csv" else write_jsonl
    write(path, **case.changes)
    before = sorted(tmp_path.rglob("*"))
    line = run(simulate.main, make(root, path), capsys)
    assert re.search(case.says, line), line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture(params=["recording", "chapter", "noise"])
def link(root, tmp_path, request):
    """The place of a link that leads out of the corpus."""
    source = root / "LibriSpeech" / GOOD["source_1_path"]
    place, outside = {
        "recording": (source, tmp_path / "secret.flac"),
        "chapter": (source.parent, tmp_path / "chapter"),
        "noise": (root / "wham_noise" / GOOD["noise_path"], tmp_path / "secret.wav"),
    }[request.param]
    place.rename(outside)
    place.symlink_to(outside)
    return place


def test_a_link_that_leads_out(root, tmp_path, capsys, link):
    write_csv(root / "m.csv")
    before = sorted(tmp_path.rglob("*"))
    words = make(root, root / "m.csv")
    line = run(simulate.main, words, capsys)
    assert str(link) in line and "if they are yours, give --follow_links true" in line
    assert sorted(tmp_path.rglob("*")) == before
    simulate.main([*map(str, words), "--follow_links", "true"])
    assert list((root / "data").glob("test_x*/text"))


def test_links_that_stay_inside(root):
    """The corpus may be a link, and have links within."""
    write_csv(root / "m.csv")
    (root / "LibriSpeech").rename(root / "speech")
    (root / "LibriSpeech").symlink_to(root / "speech")
    source = root / "speech" / GOOD["source_1_path"]
    source.rename(source.with_name("other.flac"))
    source.symlink_to("other.flac")
    simulate.main([str(word) for word in make(root, root / "m.csv")])
    assert list((root / "data").glob("test_x*/text"))


def test_a_good_list(root):
    write_csv(root / "m.csv")
    simulate.main([str(word) for word in make(root, root / "m.csv")])
    assert list((root / "data").glob("test_x*/text"))


IDS = ["../x", "a/b", "..", "x" * 230]


@pytest.mark.parametrize("utt", IDS, ids=range(len(IDS)))
@pytest.mark.parametrize("stage", ["format", "perturb"])
def test_ids_of_a_data_directory(root, tmp_path, capsys, utt, stage):
    source = root / "LibriSpeech" / GOOD["source_1_path"]
    tables = {"wav.scp": source, "text": "had lunch <sc> good day", "utt2num_spk": 2}
    for name, value in tables.items():
        write_table(root / "data" / "train" / name, {utt: value})
    before = sorted(tmp_path.rglob("*"))
    words = ["--nj", 1, "--fs", 8000, stage]
    if stage == "format":
        words += ["--source", root / "data", "--target", root / "dump"]
        words += ["--train_sets", "train"]
    else:
        words += [root / "data" / "train", root / "data" / "train_sp"]
        words += ["--factors", "0.9 1.1"]
    line = run(prepare_data.main, words, capsys)
    assert "can't name a file; use letters" in line
    assert sorted(tmp_path.rglob("*")) == before
