"""The benchmark of the separator runs and compares; its speeds are not tested."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[3] / "tools" / "bench" / "separator.py"


def test_figures(tmp_path):
    out = tmp_path / "out.json"
    words = "--rows 2 --frames 3 --width 4 --hidden_size 2 --rounds 2 --json".split()
    done = subprocess.run(
        [sys.executable, BENCHMARK, *words, out], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert set(results) > {"date", "machine", "versions", "settings"}
    for what in ("training", "inference"):
        packed, padded = (
            results["seconds"][f"{what}, {name}"] for name in ("packed", "padded")
        )
        each = sorted(a / b for a, b in zip(packed, padded))
        told = results["figures"][what]
        assert [told["min"], told["max"]] == each
        assert f"{what}: padded is" in done.stdout
