"""The benchmark of the generator runs and compares; its speeds are not tested."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[3] / "tools" / "bench" / "mixture_generation.py"


def run(*words):
    return subprocess.run(
        [sys.executable, BENCHMARK, *map(str, words)], capture_output=True, text=True
    )


def test_figures(tmp_path):
    out = tmp_path / "out.json"
    options = ("--mixtures", 3, "--seconds", 0.5, "--rounds", 2, "--json", out)
    done = run(*options, "--folder", tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert list(results["figures"]) == [
        "plain loop",
        "generator, 1 job",
        "generator, 2 jobs",
    ]
    for name, seconds in results["seconds"].items():
        assert len(seconds) == 2
        plain = results["seconds"]["plain loop"]
        ratios = sorted(a / b for a, b in zip(plain, seconds))
        told = results["figures"][name]["times_as_fast_as_plain_loop"]
        assert [told["min"], told["max"]] == ratios
        assert name in done.stdout
    # Scratch files are gone.
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_a_bad_option():
    done = run("--rounds", 0)
    assert done.returncode == 2
    assert done.stderr.endswith("error: --rounds 0: give more than 0\n")
