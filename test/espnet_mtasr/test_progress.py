"""The progress line: on a terminal only, and never wider than that."""

import subprocess
import sys

import pytest
from helpers.terminal import last_screen, run_in_terminal

from espnet_mtasr.progress import progress, progress_line

SCRIPT = """
import time
from espnet_mtasr.progress import progress
items = progress(range(4), 4, "a long name of a set: mixtures")
for _, item in zip("abcd", items):
    time.sleep(0.3)
"""


@pytest.mark.parametrize("width", range(1, 120))
def test_never_wider_than_asked(width):
    line = progress_line("a long label", 0.4, "epoch 3/8, loss 2.31", "9 s left", width)
    assert len(line) <= width
    assert line.startswith("a long label"[:width])


def test_full_only_at_the_end():
    assert "[#####-] 99 %" in progress_line("x", 0.999, "", "", 19).replace("  ", " ")
    assert "[######] 100 %" in progress_line("x", 1.0, "", "", 19)


def test_items_pass_and_nothing_is_shown_without_a_terminal(capsys):
    assert list(progress("abc", 3, "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")
    assert list(progress("abc", 3, "letters", in_logs=True)) == ["a", "b", "c"]
    lines = "letters: 1 of 3\nletters: 2 of 3\nletters: 3 of 3\n"
    assert capsys.readouterr() == ("", lines)


@pytest.mark.parametrize("columns", [20, 100])
def test_in_a_terminal(columns):
    code, text = run_in_terminal([sys.executable, "-c", SCRIPT], columns)
    assert code == 0
    drawn = text.replace("\n", "").replace("\033[K", "").split("\r")
    assert max(map(len, drawn)) < columns
    if columns == 100:
        assert " 50 %, 2/4, " in text or " 75 %, 3/4, " in text
        # The line is complete and stays, though zip() never asks for more than four.
        assert "100 %, 4/4, took 1 s" in last_screen(text)
        assert text.endswith("\r\n")


def test_work_with_no_known_end():
    script = (
        "import time; from espnet_mtasr.progress import busy\n"
        "with busy('Loading a model'):\n"
        "    time.sleep(2.5)\n"
        "print('loaded')"
    )
    code, text = run_in_terminal([sys.executable, "-c", script], 40)
    drawn = text.replace("\033[K", "").split("\r")
    assert code == 0
    assert drawn[1:4] == [
        "Loading a model",
        "Loading a model, 1 s",
        "Loading a model, 2 s",
    ]
    assert last_screen(text).split() == ["loaded"]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert (done.stdout, done.stderr) == (b"loaded\n", b"")
