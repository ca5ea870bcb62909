"""Decoding in batches beside one by one, on a tiny model: figures and refusals."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.tiny_inference import noises, save_tiny_model

from espnet_mtasr.errors import UserError
from tools.bench import batched_decoding

ROOT = Path(__file__).parents[3]


def test_figures(tmp_path):
    model, out = save_tiny_model(tmp_path / "exp"), tmp_path / "out.json"
    for k, wave in enumerate(noises(9000, 4000, 7001)):
        soundfile.write(tmp_path / f"{k}.wav", wave, 16000)
    words = ["--model", model, "--recordings", tmp_path]
    words += ["--mixtures", 5, "--rounds", 2, "--batch_sizes", 2, 3]
    words += ["--batch_seconds", 1, "--json", out]
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.batched_decoding", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    alone = ["one by one", "one by one, with words"]
    names = [alone[0]]
    for size in (2, 3):
        names += [f"batches of {size}", f"batches of {size}, as they come"]
    names += [alone[1], "batches of 1 s, with words"]
    assert list(results["figures"]) == list(results["seconds"]) == names
    for name, figure in results["figures"].items():
        base = results["seconds"][alone["words" in name]]
        each = sorted(a / b for a, b in zip(base, results["seconds"][name]))
        told = figure["times_as_fast"]
        assert [told["min"], told["max"]] == each and len(each) == 2
        assert figure["real_time_factor"] > 0
        assert f"{name}: RTF " in done.stdout
    assert done.stdout.startswith("5 mixtures of 0.2 to 0.6 s; all texts are equal")


def test_other_texts_are_refused():
    right = [["a", "b"], ["c", "d"]]
    runs = {
        batched_decoding.ALONE: lambda: right,
        "batches of 2": lambda: [list(texts) for texts in right],
        "batches of 3": lambda: [["a", "b"], ["d", "c"]],
    }
    with pytest.raises(
        UserError, match="^batches of 3: 1 of 2 mixtures have different"
    ):
        batched_decoding.check_same_texts(runs)
    del runs["batches of 3"]
    batched_decoding.check_same_texts(runs)


def test_copies_have_other_lengths():
    waves = [np.arange(100), np.arange(30)]
    many = batched_decoding.repeat_with_cuts(waves, 40, 20)
    assert many[:2] == waves and len(many) == 40
    lengths = {n: [len(w) for w in many[n::2]] for n in (0, 1)}
    assert min(lengths[0]) >= 80 and min(lengths[1]) >= 15
    assert len(set(lengths[0])) > 5 and len(set(lengths[1])) > 5
    assert all(np.array_equal(wave, np.arange(len(wave))) for wave in many)
    assert [len(w) for w in batched_decoding.repeat_with_cuts(waves, 1, 20)] == [100]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--recordings", "no_such"], "--recordings no_such: no such file"),
        (["--model", "no_such"], "model no_such: is not a folder"),
    ],
)
def test_a_bad_option(words, message):
    with pytest.raises(UserError, match=message):
        batched_decoding.main(words)
