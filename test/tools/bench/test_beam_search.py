"""The benchmark of the beam search compares searches that write the same."""

import json

import pytest

from espnet_mtasr.asr import ctc_beam_search
from espnet_mtasr.asr.ctc_beam_search import prefix_beam_search
from espnet_mtasr.errors import UserError
from tools.bench import beam_search
from tools.bench.side_by_side import Ratio

WORDS = "--units 40 200 --frames 30 --beam_size 4 --rounds 2".split()


def test_ratios_are_those_of_the_rounds(tmp_path, capsys):
    out = tmp_path / "out.json"
    beam_search.main([*WORDS, "--json", str(out)])
    results = json.loads(out.read_text())
    told = capsys.readouterr().out
    for where in ("40 units, sure", "200 units, doubtful"):
        seconds = results["seconds"]
        ratio = Ratio(seconds[f"{where}, sorting"], seconds[f"{where}, ours"])
        assert results["figures"][where]["ratio"] == ratio
        assert f"{where}: {ratio} as fast" in told


def test_other_texts_are_refused(monkeypatch):
    def search(log_probs, beam_size):
        return prefix_beam_search(log_probs, beam_size)[1:]

    monkeypatch.setattr(ctc_beam_search, "prefix_beam_search", search)
    with pytest.raises(UserError, match="have different texts than one that sorts"):
        beam_search.main(WORDS)


def test_too_few_units():
    with pytest.raises(UserError, match="--units 5: give more than --beam_size 4 and"):
        beam_search.main([*WORDS, "--units", "5"])


@pytest.mark.parametrize("height", [0.0, *beam_search.KINDS.values()])
def test_no_shortcut_changes_a_text(height):
    for seed in range(20):
        log_probs = beam_search.draw(30, 50, height, seed)
        for beam_size in (1, 2, 5, 10):
            wanted = beam_search.sort_all(log_probs, beam_size)
            assert prefix_beam_search(log_probs, beam_size) == wanted
