"""mtasr.sh with progress line and learning curve: exit codes, Ctrl-C, the screen."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.stand_in_decoder import ANSWERS, DECODE
from helpers.terminal import last_screen, run_in_terminal

ROOT = Path(__file__).resolve().parents[2]
# Stands for Python: decodes three mixtures as the file `behaviour` says.
PYTHON = f"""#!/usr/bin/env bash
case $* in
    *show_progress*)
        [ ! -e late ] || sleep 3
        export PYTHONPATH={ROOT}
        exec {sys.executable} "$@" ;;
    *fit_routing*)
        cd "$(dirname "$0")"
        [ -e routing ] || exit 0
        until [ -e go ]; do sleep 0.05; done
        echo "routing: batches: 1 of 3"
        exit 0 ;;
    *mtasr_inference* | *check_config* | *speech_entries*) ;;
    *) exit 0 ;;
esac
{ANSWERS}{DECODE}cd "$(dirname "$0")"
# The follower may need a while; nothing here goes by the clock.
until [ -e go ]; do sleep 0.05; done
echo "INFO: best hypo: one"
. ./behaviour
"""


@pytest.fixture
def recipe(tmp_path):
    """A recipe with three mixtures to decode, in a repository of its own."""
    shutil.copytree(ROOT / "egs2" / "TEMPLATE", tmp_path / "egs2" / "TEMPLATE")
    recipe = tmp_path / "egs2" / "tiny" / "mtasr1"
    subprocess.run([tmp_path / "egs2/TEMPLATE/mtasr1/setup.sh", recipe], check=True)
    for name in ("train_phase1", "train_phase2", "decode"):
        (recipe / "conf" / f"{name}.yaml").write_text("{}\n")
    dump = recipe / "dump" / "raw" / "t1"
    dump.mkdir(parents=True)
    (dump / "wav.scp").write_text("a 1\nb 2\nc 3\n")
    (recipe / "python").write_text(PYTHON)
    (recipe / "python").chmod(0o755)
    return recipe


OPTIONS = (
    "--train_set train --valid_set dev --test_sets t1 --stage 12 --stop_stage 12 "
    "--inference_nj 1 --python ./python"
).split()


def run(recipe, behaviour, typed=(), at="t1 ["):
    """Decode in a terminal; `go` is there once Enter was typed at the line `at`."""
    (recipe / "behaviour").write_text(behaviour)
    script = 'stty -echo; (read </dev/tty; touch go) & exec ./mtasr.sh "$@"'
    return run_in_terminal(
        ["bash", "-c", script, "mtasr.sh", *OPTIONS],
        typed=[(at, b"\n"), *typed],
        cwd=recipe,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
    )


def test_success_leaves_the_line(recipe):
    code, text = run(recipe, "echo 'INFO: best hypo: two'; echo 'INFO: best hypo: x'\n")
    assert code == 0, text
    lines = last_screen(text).splitlines()
    (at,) = [k for k, line in enumerate(lines) if line.startswith("t1 [####")]
    assert "100 %, 3/3, took " in lines[at]
    assert " t1: 3 mixtures" in lines[at + 1]


def test_routing_has_a_line_too(recipe):
    (recipe / "routing").touch()
    code, text = run(recipe, "", at="Routing [")
    assert code == 0, text
    assert re.search(r"^Routing \[#{12,}\] 100 %, 3/3, took ", last_screen(text), re.M)


def test_failure_keeps_its_code_and_its_message(recipe):
    code, text = run(recipe, "echo 'ValueError: no'; exit 7\n")
    assert code == 7
    lines = last_screen(text).splitlines()
    (at,) = [k for k, line in enumerate(lines) if line.startswith("run.sh: ")]
    assert "1 of 1 jobs failed (code 7); log: " in lines[at]
    assert lines[-1] == "    ValueError: no"
    # Nor is there a line of progress left, or a word of bash on its end.
    assert not [line for line in lines if "t1 " in line and "%" in line]
    assert "Hangup" not in text and "Terminated" not in text


def test_it_ends_before_its_line_is_there(recipe):
    """Under nohup, whose processes ignore a hang-up."""
    for name in ("go", "late"):
        (recipe / name).touch()
    (recipe / "behaviour").write_text("exit 7\n")
    code, _ = run_in_terminal(
        ["bash", "-c", 'trap "" HUP; exec ./mtasr.sh "$@"', "mtasr.sh", *OPTIONS],
        cwd=recipe,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
    )
    assert code == 7


def test_ctrl_c_stops_all_of_it(recipe):
    code, text = run(
        recipe,
        "echo $$ >pid; echo 'INFO: best hypo: two'; sleep 60\n",
        typed=[("2/3", b"\x03")],
    )
    assert code == 130
    lines = last_screen(text).splitlines()
    assert lines[-1].startswith("run.sh: stopped; log: ")
    assert "Stage 12 took" not in text
    pid = (recipe / "pid").read_text().strip()
    status = Path(f"/proc/{pid}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_no_line_without_a_terminal(recipe):
    (recipe / "behaviour").write_text("")
    (recipe / "go").touch()
    done = subprocess.run(
        ["./mtasr.sh", *OPTIONS],
        cwd=recipe,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "%" not in done.stdout


def train(recipe, python):
    """Stage 8 on lists that are there, with a Python that does as it is told."""
    for path in (
        "dump/raw/train/wav.scp",
        "dump/raw/dev/wav.scp",
        *(
            f"exp/mtasr_stats_phase1/lists/{d}/{f}"
            for d in ("train", "valid")
            for f in ("wav.scp", "text")
        ),
        "data/token_list/bpe_unigram1000/tokens.txt",
    ):
        (recipe / path).parent.mkdir(parents=True, exist_ok=True)
        (recipe / path).write_text("a b\n")
    (recipe / "python").write_text(
        f"#!/usr/bin/env bash\n{ANSWERS}case $* in\n{python}\nesac\n"
    )
    options = [*OPTIONS[:6], *"--stage 8 --stop_stage 8 --python ./python".split()]
    return subprocess.run(
        ["./mtasr.sh", *options],
        cwd=recipe,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_training_is_not_lost_with_its_picture(recipe):
    done = train(recipe, "*plot_learning*) echo no matplotlib >&2; exit 2 ;;")
    assert done.returncode == 0
    assert done.stderr == "no matplotlib\n"
    picture = "exp/mtasr_phase1/learning_curve.png"
    assert f"warning: no {picture}, see the error above" in done.stdout
    assert "Stage 8 took" in done.stdout


@pytest.mark.parametrize("code", [0, 5])
def test_warnings_of_a_training_come_without_a_terminal(recipe, code):
    """The follower of the log runs beside it, and ends with it."""
    follower = '*show_progress*) echo "$@" $$ >followed; exec sleep 60 ;;'
    waits = "for n in {1..200}; do [ ! -s followed ] || break; sleep 0.05; done"
    done = train(recipe, f"{follower}\n*mtasr_train*) {waits}; exit {code} ;;")
    assert done.returncode == code, done.stderr
    *words, pid = (recipe / "followed").read_text().split()
    assert words[-2:] == ["training", "exp/mtasr_phase1/train.log"]
    assert not Path(f"/proc/{pid}").exists() and "Terminated" not in done.stderr


def test_a_failed_training_has_no_picture(recipe):
    failing = "*plot_learning*) touch plotted ;;\n*mtasr_train*) exit 5 ;;"
    done = train(recipe, failing)
    assert done.returncode == 5
    assert not (recipe / "plotted").exists()
    assert "learning_curve" not in done.stdout
