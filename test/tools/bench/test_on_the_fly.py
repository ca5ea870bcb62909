"""The benchmark of mixing while loading runs and compares; speeds are not tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "tools" / "bench" / "on_the_fly.py"


def run(*words):
    return subprocess.run(
        [sys.executable, BENCHMARK, *map(str, words)], capture_output=True, text=True
    )


def test_figures(tmp_path):
    out = tmp_path / "out.json"
    options = ("--mixtures", 4, "--seconds", 0.5, "--rounds", 2, "--json", out)
    done = run(*options, "--folder", tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert list(results["figures"]) == [
        "stored recordings",
        "on the fly",
        "on the fly, cache",
        "dynamic mixing, cache",
    ]
    stored = results["seconds"]["stored recordings"]
    for name, seconds in results["seconds"].items():
        each = sorted(b / a for a, b in zip(stored, seconds))
        told = results["figures"][name]["times_as_long_as_stored"]
        assert [told["min"], told["max"]] == pytest.approx(each)
        assert name in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_a_bad_option():
    done = run("--num_workers", -1)
    assert done.returncode == 2
    assert done.stderr.endswith("error: --num_workers -1: give 0 or more\n")
