"""The benchmark of Whisper's encoder compares what gives the same output."""

import json

import pytest
import torch
from helpers.shrunken_facts import shrunken_facts

from espnet_mtasr.errors import UserError
from tools import published_models
from tools.bench import whisper_forward
from tools.bench.side_by_side import Ratio

WORDS = "--seconds 0.5 --rounds 2 --batch_size 2".split()


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(published_models, "FACTS", shrunken_facts(vocabulary=20))


def test_ratios_are_those_of_the_rounds(tmp_path, capsys):
    out = tmp_path / "out.json"
    whisper_forward.main([*WORDS, "--json", str(out)])
    results = json.loads(out.read_text())
    printed = capsys.readouterr().out
    for name in ("ours", "halved"):
        told = results["figures"][name]
        seconds = results["seconds"]
        assert told == Ratio(seconds["transformers"], seconds[name])
        assert f"{name}: {told['median']:.2f} x" in printed
    assert 0 <= results["figures"]["difference"] < 1e-3


def test_another_output_is_refused(monkeypatch):
    build = whisper_forward.build

    def build_another(args):
        whisper, trunk, branch = build(args)
        with torch.no_grad():
            branch.layers[0].self_attn.out_proj.bias[0] += 1.0
        return whisper, trunk, branch

    monkeypatch.setattr(whisper_forward, "build", build_another)
    with pytest.raises(UserError, match="the outputs differ by"):
        whisper_forward.main(WORDS)


def test_more_than_whisper_reads_is_refused():
    with pytest.raises(UserError, match="--seconds 31: Whisper reads 30 s"):
        whisper_forward.main(["--seconds", "31"])
