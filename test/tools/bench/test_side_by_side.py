"""Benchmarks run and compare; their speeds are not tested."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from espnet_mtasr.errors import UserError
from tools.bench.side_by_side import DEVICE, Option, Options, Results, measure

ROOT = Path(__file__).parents[3]
SHORT = ("--seconds", 0.5, "--rounds", 2)


def run(name, *words):
    return subprocess.run(
        [sys.executable, "-m", f"tools.bench.{name}", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        # As path.sh sets it: some use what tools/ has.
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    "name, mixtures, figure, names",
    [
        (
            "mixture_generation",
            3,
            "times_as_fast_as_plain_loop",
            [
                *("plain loop", "generator, 1 job", "generator, 2 jobs"),
                "2 plain loops",
            ],
        ),
        (
            "on_the_fly",
            4,
            "times_as_long_as_stored",
            [
                *("stored recordings", "on the fly", "on the fly, cache"),
                "dynamic mixing, cache",
            ],
        ),
    ],
)
def test_mixtures(name, mixtures, figure, names, tmp_path):
    out = tmp_path / "out.json"
    options = ("--mixtures", mixtures, *SHORT, "--json", out, "--folder", tmp_path)
    if name == "on_the_fly":
        options = (*options, "--step", "none")
    done = run(name, *options)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert list(results["figures"]) == list(results["seconds"]) == names
    for measured, seconds in results["seconds"].items():
        assert len(seconds) == 2
        each = [a / b for a, b in zip(seconds, results["seconds"][names[0]])]
        if "fast" in figure:
            each = [1 / ratio for ratio in each]
        told = results["figures"][measured][figure]
        assert [told["min"], told["max"]] == pytest.approx(sorted(each))
        assert measured in done.stdout
    # Scratch files are gone.
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_mixing_as_a_share_of_a_step(tmp_path):
    out = tmp_path / "out.json"
    options = ("--mixtures", 4, *SHORT, "--rows", 2, "--steps", 1, "--json", out)
    done = run("on_the_fly", *options)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    seconds = results["seconds"]
    assert [*results["figures"], "training step"] == list(seconds)
    for name, figure in results["figures"].items():
        # A step has two of the four mixtures.
        each = [
            100 * a / 2 / b for a, b in zip(seconds[name], seconds["training step"])
        ]
        told = figure["percent_of_a_step"]
        assert [told["min"], told["max"]] == pytest.approx(sorted(each))
        assert f"{told['median']:.1f} % (" in done.stdout
    stored = results["figures"]["stored recordings"]["percent_more_than_stored"]
    assert set(stored.values()) == {0.0}


def test_onnx_decoding(tmp_path):
    """The graphs are not looked at: any model can be compared with itself."""
    from helpers.tiny_inference import save_tiny_model

    model, out = save_tiny_model(tmp_path / "exp"), tmp_path / "out.json"
    words = ["--mtasr_model_file", model, "--onnx", model, "--int8", model]
    words += ["--json", out]
    done = run("onnx_decoding", *words, "--mixtures", 2, *SHORT)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    names = ["PyTorch, float32", "onnxruntime, float32", "onnxruntime, int8"]
    assert list(results["figures"]) == list(results["seconds"]) == names
    torch, *others = (results["seconds"][name] for name in names)
    for name, seconds in zip(names[1:], others):
        told = results["figures"][name]
        each = sorted(a / b for a, b in zip(torch, seconds))
        assert [told["min"], told["max"]] == each
        assert f"{name}: " in done.stdout


def test_onnx_decoding_of_sets(tmp_path):
    """Each set's cpWER, and how many texts are the same; a model with itself: all."""
    import soundfile
    from helpers.tiny_inference import noises, save_tiny_model

    model, out = save_tiny_model(tmp_path / "exp"), tmp_path / "out.json"
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, texts in zip(
        folders, (["a <sc> b", "c d <sc> e"], ["a <sc> b <sc> c"])
    ):
        folder.mkdir()
        with (folder / "wav.scp").open("w") as f, (folder / "text").open("w") as t:
            for k, (text, wave) in enumerate(zip(texts, noises(9000, 4000))):
                soundfile.write(folder / f"{k}.wav", wave, 16000)
                f.write(f"utt{k} {folder / f'{k}.wav'}\n")
                t.write(f"utt{k} {text}\n")
    words = ["--mtasr_model_file", model, "--onnx", model, "--int8", model]
    words += ["--data", *folders, "--mixtures", 1, "--rounds", 1, "--json", out]
    done = run("onnx_decoding", *words)
    assert done.returncode == 0, done.stderr
    sets = json.loads(out.read_text())["figures"]["sets"]
    assert list(sets) == ["first", "second", "together"]
    names = ["PyTorch, float32", "onnxruntime, float32", "onnxruntime, int8"]
    for where, mixtures in (("first", 2), ("second", 1), ("together", 3)):
        assert list(sets[where]) == names
        torch, *others = sets[where].values()
        for figures in others:
            assert figures.pop("cpwer_relative_percent") == 0.0
            assert figures == torch
        assert torch["same_texts"] == torch["mixtures"] == mixtures
        # Random weights are never right.
        assert torch["cpwer"] > 50.0
        assert f"{where}, {names[2]}: {mixtures} of {mixtures} texts" in done.stdout


@pytest.mark.parametrize(
    "name, option, message",
    [
        ("mixture_generation", "--rounds 0", "give more than 0"),
        ("on_the_fly", "--num_workers -1", "give 0 or more"),
        ("separator_and_ctc", "--frames 0", "give more than 0"),
        ("startup", "--rounds 0", "give more than 0"),
        ("batched_decoding", "--batch_sizes 0", "give more than 0"),
        ("onnx_decoding", "--mixtures 0", "give more than 0"),
        ("onnx_decoding", "--data no", "no such file; give another one"),
    ],
)
def test_a_bad_option(name, option, message):
    done = run(name, *option.split())
    assert done.returncode == 2
    assert done.stderr.endswith(f"error: {option}: {message}\n")


def test_settings_name_files_as_any_clone_has_them(tmp_path):
    settings = dict(
        config=ROOT / "egs2" / "x.yaml", data=[tmp_path / "test"], folder=tmp_path
    )
    Results(Namespace(json=tmp_path / "out.json", **settings)).write()
    written = json.loads((tmp_path / "out.json").read_text())["settings"]
    assert written == dict(config="egs2/x.yaml", data=["test"])


@pytest.mark.parametrize(
    "model, named",
    [
        ("mini", "mini"),
        ("owner/name", "owner/name"),
        (str(ROOT / "exp" / "some.zip"), "exp/some.zip"),
        ("/home/me/some.zip", "some.zip"),
    ],
)
def test_settings_do_not_say_where_a_model_lies(model, named, tmp_path):
    Results(Namespace(json=tmp_path / "out.json", model=model)).write()
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["settings"] == dict(model=named)


@pytest.mark.parametrize(
    "device, rounds, sizes", [("cpu", 2, [1]), ("cuda", 3, [1, 32])]
)
def test_defaults_of_a_device(device, rounds, sizes, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    options = Options(
        "A benchmark.",
        device=DEVICE,
        rounds=Option(2, on_gpu=3),
        sizes=Option([1], on_gpu=[1, 32]),
        seed=0,
        seconds=(1.5, "of each"),
    )
    found = options.parse_args(["--device", device])
    assert (found.rounds, found.sizes, found.seconds) == (rounds, sizes, 1.5)
    found = options.parse_args(f"--device {device} --rounds 7 --sizes 8 9".split())
    assert (found.rounds, found.sizes) == (7, [8, 9])
    with pytest.raises(UserError, match="--seed -1: give 0 or more"):
        options.parse_args(["--seed", "-1"])
    with pytest.raises(UserError, match="--sizes 0: give more than 0"):
        options.parse_args(["--sizes", "4", "0"])


def test_each_round_begins_with_another():
    order = []
    runs = {name: lambda name=name: order.append(name) for name in "abc"}
    seconds = measure(runs, 2)
    assert "".join(order) == "abcbcacab"
    # The first round warms up.
    assert [len(each) for each in seconds.values()] == [2, 2, 2]
