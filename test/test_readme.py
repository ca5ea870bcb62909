"""What README.md shows must run."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"@[A-Z]+@|TODO|<this ", (ROOT / "README.md").read_text())


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_transcription(capsys):
    exec(EXAMPLES[0], {})
    count, *talkers = capsys.readouterr().out.splitlines()
    assert count.startswith("2 0.") and len(talkers) == 2
    assert all(re.match(r"[a-z ]+ \[\(", talker) for talker in talkers)


def test_classes_in_another_recipe(capsys):
    exec(EXAMPLES[1], {})
    printed = capsys.readouterr().out
    assert printed.startswith("[[[") and printed.count("]]") == 4
