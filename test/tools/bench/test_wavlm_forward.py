"""The benchmark of WavLM's forward pass compares what gives the same output."""

import json

import pytest
import torch
from helpers.shrunken_facts import shrunken_facts

from espnet_mtasr.errors import UserError
from tools import published_models
from tools.bench import wavlm_forward
from tools.bench.side_by_side import Ratio


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(published_models, "FACTS", shrunken_facts(vocabulary=20))


WORDS = "--seconds 0.3 --rounds 2 --batch_size 2".split()


@pytest.mark.parametrize("model", ["wavlm-large", "wavlm-base-plus"])
def test_ratio_is_that_of_the_rounds(model, tmp_path, capsys):
    out = tmp_path / "out.json"
    wavlm_forward.main([*WORDS, "--model", f"microsoft/{model}", "--json", str(out)])
    results = json.loads(out.read_text())
    seconds = results["seconds"]
    assert list(seconds) == ["transformers", "ours"]
    told = results["figures"]["forward"]
    assert told == Ratio(seconds["transformers"], seconds["ours"])
    assert f"{told['median']:.2f} x" in capsys.readouterr().out
    assert 0 < results["figures"]["difference"] < 1e-4


def test_another_output_is_refused(monkeypatch):
    build = wavlm_forward.build

    def build_another(args):
        wavlm, trunk, branch = build(args)
        with torch.no_grad():
            branch.layers[0].attention.out_proj.bias[0] += 1.0
        return wavlm, trunk, branch

    monkeypatch.setattr(wavlm_forward, "build", build_another)
    with pytest.raises(UserError, match="the outputs differ by"):
        wavlm_forward.main(WORDS)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--rounds 0", "--rounds 0: give more than 0"),
        ("--model a/b", "a/b: its shape is not in tools/published_models.json"),
    ],
)
def test_bad_options(words, message):
    with pytest.raises(UserError, match=message):
        wavlm_forward.main(words.split())
