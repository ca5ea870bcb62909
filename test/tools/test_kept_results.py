"""The mini recipe's kept run: README shows its figures, and they are the run's own."""

import json

import pytest

from espnet_mtasr.errors import UserError
from tools import kept_results
from tools.marked_text import put

SETS = [f"test_mini{k}mix_{kind}" for k in (2, 3) for kind in ("clean", "noisy")]


def test_the_pages_show_the_kept_runs(tmp_path, monkeypatch):
    pages, copies = {}, {}

    def copy(page):
        if page is None:
            return None
        if page not in pages:
            pages[page] = tmp_path / str(len(pages))
            pages[page].write_text(page.read_text())
        return pages[page]

    for name, recipe in kept_results.RECIPES.items():
        copies[name] = recipe._replace(
            page=copy(recipe.page), teacher_page=copy(recipe.teacher_page)
        )
    monkeypatch.setattr(kept_results, "RECIPES", copies)
    kept_results.main(["show"])
    for page, shown in pages.items():
        assert (
            shown.read_text() == page.read_text()
        ), "run: python -m tools.kept_results show"


def test_the_kept_run_of_the_mini_recipe_is_whole():
    kept = json.loads(kept_results.kept_file("mini_librimix").read_text())
    assert list(kept["sets"]) == list(kept["decode_llm"]) == SETS
    assert {*kept["perplexity"]} == {"2", "3"} and kept["minutes"] > 0
    for row in kept["sets"].values():
        assert row["n_scored"] == row["n_utt"] == 200 and row["n_missing"] == 0


REAL_SPEECH = [
    f"test_{corpus}{k}mix_{kind}"
    for corpus in ("ml", "so")
    for k in (1, 2, 3)
    for kind in ("clean", "noisy")
]


@pytest.mark.parametrize(
    "name", ["mini_librispeech_mix", "mini_librispeech_mix_teacher"]
)
def test_the_kept_runs_on_real_speech_are_whole(name):
    kept = json.loads(kept_results.kept_file(name).read_text())
    assert kept["minutes"] > 0
    for results in (kept, kept.get("with_ngram", kept)):
        assert sorted(results["sets"]) == REAL_SPEECH
        for row in results["sets"].values():
            assert row["n_scored"] == row["n_utt"] == 200 and row["n_missing"] == 0


def test_what_a_run_left_is_kept_as_it_is(tmp_path):
    phase1, phase2 = (tmp_path / f"mtasr_phase{k}" for k in (1, 2))
    files = {
        phase2 / "results.json": {"mixtures": "m", "sets": {SETS[0]: {"cpwer": 13.3}}},
        phase1
        / "decode_llm_x"
        / "results.json": {"sets": {SETS[0]: {"cpwer": 33.25, "rtf": 0.1}}},
        phase1
        / "perplexity_dev.json": {
            "2": {"n_utt": 9, "right": 2.0, "other": 30.00001, "ratio": 15.0}
        },
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    out = tmp_path / "kept.json"
    words = ["keep", "--expdir", str(tmp_path), "--minutes", "33.5"]
    kept_results.main([*words, "--output", str(out)])
    kept = json.loads(out.read_text())
    assert kept == {
        **files[phase2 / "results.json"],
        "minutes": 33.5,
        "perplexity": {"2": {"right": 2.0, "other": 30.0}},
        "decode_llm": {SETS[0]: 33.25},
    }
    assert "| 2 | 2.00 | 30.0 | 15.0 | 33.2 |" in kept_results.teacher_table(kept)
    (phase1 / "decode_llm_y").mkdir()
    (phase1 / "decode_llm_x" / "results.json").rename(phase1 / "decode_llm_y" / "x")
    with pytest.raises(UserError, match="phase1/results.json: no such file; run the"):
        kept_results.main([*words, "--output", str(out)])
    for name in ("x", "y"):
        (phase1 / f"decode_llm_{name}" / "results.json").write_text("{}")
    with pytest.raises(UserError, match="several ways .decode_llm_x, decode_llm_y."):
        kept_results.main([*words, "--output", str(out)])


def test_a_page_without_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no marks\n")
    with pytest.raises(UserError, match="page.md: lacks the lines <!-- a table: begin"):
        put(page, "a table", "| 1 |")
