"""What README.md and the pages in doc/ show must run."""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile

from espnet_mtasr.bin.main import main

ROOT = Path(__file__).resolve().parents[1]
README = ((ROOT / "README.md").read_text(), re.S)
PAGES = [ROOT / "README.md", *sorted((ROOT / "doc").glob("*.md"))]


def example(page):
    """The one of a page in Python."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
    return code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_is_left_to_fill_in(page):
    assert not re.search(r"@[A-Z]+@|TODO|<this ", page.read_text())


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("page", ["README.md", "doc/transcribe.md"])
def test_transcription(page, capsys):
    exec(example(page), {})
    count, *talkers = capsys.readouterr().out.splitlines()
    assert count.startswith("2 0.") and len(talkers) == 2
    assert all(re.match(r"[a-z ]+ \[\(", talker) for talker in talkers)


def test_classes_in_another_recipe(capsys):
    exec(example("doc/reuse.md"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("[[[") and printed.count("]]") == 4


def test_the_command_that_the_readme_begins_with(capsys):
    block = re.search(r"```console\n\$ espnet-mtasr (.*?)\n(.*?)```", *README)
    main([*block[1].split(), "--device", "cpu"])
    assert capsys.readouterr().out == block[2]


def test_notebook_prints_what_it_shows(capsys):
    notebook = ROOT / "doc" / "notebooks" / "five_steps.ipynb"
    names = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
            outputs = cell["outputs"]
            texts = ["".join(output.get("text", "")) for output in outputs]
            assert capsys.readouterr().out == "".join(texts)
            pictures = ["image/png" in output.get("data", ()) for output in outputs]
            assert len(plt.get_fignums()) == sum(pictures)
            plt.close("all")
    sample = ROOT / "egs2/mini_librimix/samples/two_talkers_1_clean.flac"
    assert np.array_equal(names["mixture"], soundfile.read(sample, dtype="float32")[0])


def test_pictures_are_small():
    pictures = [*(ROOT / "doc").rglob("*.png")]
    assert pictures and all(p.stat().st_size < 200_000 for p in pictures)


def links():
    for page in ROOT.rglob("*.md"):
        if not {".venv", "exp", "downloads"} & {*page.parts}:
            for link in re.findall(r"\]\(([^)#\s]+)[^)\s]*\)", page.read_text()):
                if not link.startswith(("http", "mailto")):
                    yield page, link


def test_links_lead_to_files():
    broken = [
        (str(page), link) for page, link in links() if not (page.parent / link).exists()
    ]
    assert not broken
