"""The figures of the model `speech` are kept whole, and the page shows them."""

import json
import zipfile

import pytest
from helpers.tiny_results import make_results

from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.spec import MixtureSpec, Source
from espnet_mtasr.model_zoo.model_files import KNOWN_MODELS
from tools import speech_results
from tools.kept_results import ROOT
from tools.marked_text import put


def mixture(*talkers):
    sources = tuple(Source(f"{name}.flac", 1.0, name, 2.0) for name in talkers)
    return MixtureSpec(sources, tuple(0.5 * n for n in range(len(talkers))))


def test_a_mixture_is_of_adults_or_of_children_or_of_both():
    ages = {"so1": 30, "so2": 19, "so3": 15, "so4": 6}
    for talkers, group in (
        (("so1", "so2"), "adults"),
        (("so3", "so4"), "children"),
        (("so1", "so3", "so4"), "both"),
        (("so4",), "children"),
    ):
        assert speech_results.group_of(mixture(*talkers), ages) == group


@pytest.fixture
def results_of_a_run(tmp_path):
    """Options of `keep` for two mixtures: all words right, and half of them."""
    data = tmp_path / "data" / "test_so2mix_clean"
    decoding = tmp_path / "decoding"
    texts = {"a": "one two <sc> three four", "b": "one two <sc> three four"}
    found = {**texts, "b": "one six <sc> three five"}
    lines = {
        data / "text": texts,
        data / "utt2num_spk": dict.fromkeys(texts, "2"),
        data
        / "utt2mixture": {
            "a": mixture("so1", "so2").to_line(),
            "b": mixture("so3", "so4").to_line(),
        },
        decoding / data.name / "text": found,
        decoding / data.name / "utt2num_spk": dict.fromkeys(texts, "2"),
        tmp_path / "spk2age": {"1": "30", "2": "19", "3": "15", "4": "6"},
    }
    for path, table in lines.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{k} {v}\n" for k, v in table.items()))
    sets = {"test_so2mix_clean": {}, "test_ml2mix_clean": {}}
    results = {"model": "/home/me/some.zip (best.safetensors)", "sets": sets}
    (decoding / "results.json").write_text(json.dumps(results))
    measured = dict(date="today", settings={"seed": 0}, figures={"counts": {}})
    (tmp_path / "no_speech.json").write_text(json.dumps(measured))
    return [
        *("keep", "--decoding", str(decoding), "--data", str(data.parent)),
        *("--ages", str(tmp_path / "spk2age")),
        *("--no_speech", str(tmp_path / "no_speech.json")),
        *("--output", str(tmp_path / "speech.json")),
    ]


def test_adults_and_children_are_scored_apart(results_of_a_run, tmp_path):
    speech_results.main(results_of_a_run)
    kept = json.loads((tmp_path / "speech.json").read_text())
    assert kept["model"] == "speech/best.safetensors"
    assert kept["by_age"] == {
        "test_so2mix_clean": {
            "adults": dict(mixtures=1, n_words=4, cpwer=0.0),
            "children": dict(mixtures=1, n_words=4, cpwer=50.0),
        }
    }
    assert kept["no_speech"] == dict(settings={"seed": 0}, figures={"counts": {}})
    table = speech_results.age_table(kept)
    assert table.rows == [["test_so2mix_clean", "0.0 (1)", "50.0 (1)", "-"]]


def test_a_missing_file_is_named(results_of_a_run, tmp_path):
    (tmp_path / "spk2age").unlink()
    with pytest.raises(UserError, match="--ages .*spk2age: no such file"):
        speech_results.main(results_of_a_run)
    assert not (tmp_path / "speech.json").exists()


def test_a_model_ships_with_its_results(tmp_path):
    place = "/home/me/some.zip (best.safetensors)"
    results = {**make_results(place), "model_sha256": "12ab"}
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "RESULTS.md").write_text(f"Model: {place}\n")
    mini = ROOT / "espnet_mtasr" / KNOWN_MODELS["mini"]
    output = tmp_path / "shipped.zip"
    words = ["ship", "--packed", str(mini), "--decoding", str(tmp_path)]
    speech_results.main([*words, "--output", str(output)])
    with zipfile.ZipFile(mini) as before, zipfile.ZipFile(output) as after:
        assert {*before.namelist()} <= {*after.namelist()}
        written = {"model_card.yaml", "results.json", "RESULTS.md", "README.md"}
        for name in {*before.namelist()} - written:
            assert after.read(name) == before.read(name)
        for name in written:
            assert b"/home/me" not in after.read(name)
        card = after.read("README.md").decode()
    assert 'from_pretrained("speech")' in card
    assert "| test_tiny | 1 | 0 | 3 | 33.33 |" in card and "not with" not in card


def test_only_kinds_of_sounds_that_get_words_have_rows():
    def row(alone, vad, rule):
        ways = ("model alone", "silero-vad", "with the rule")
        return dict(clips=10) | {
            way: dict(words=words, talkers=0.0)
            for way, words in zip(ways, (alone, vad, rule))
        }

    sounds = {"rain": row(90.0, 0.0, 0.0), "chords": row(90.0, 30.0, 10.0)}
    figures = dict(sounds=sounds | dict(all=row(90.0, 15.0, 5.0)))
    table = speech_results.sound_table(dict(no_speech=dict(figures=figures)))
    assert table.header[2:] == ["model alone", "silero-vad", "with the rule"]
    assert table.rows == [
        ["chords", "10", "90.0", "30.0", "10.0"],
        ["all", "10", "90.0", "15.0", "5.0"],
    ]


def test_the_page_shows_the_kept_figures(tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    page.write_text(speech_results.PAGE.read_text())
    monkeypatch.setattr(speech_results, "PAGE", page)
    original = page.read_text()
    for name in ("speech", "speech, ages", "speech, counts", "speech, sounds"):
        put(page, name, "")
    speech_results.main(["show"])
    assert page.read_text() == original, "run: python -m tools.speech_results show"


def test_the_kept_figures_are_whole():
    kept = json.loads(speech_results.KEPT.read_text())
    assert len(kept["sets"]) == 12
    for row in kept["sets"].values():
        assert row["n_scored"] == row["n_utt"] == 200 and row["n_missing"] == 0
    assert {*kept["no_speech"]["figures"]["counts"]["with the rule"]} >= {*"0123"}
