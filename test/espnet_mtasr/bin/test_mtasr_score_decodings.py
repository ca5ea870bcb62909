"""Stage 13: figures of one decoding are neither lost nor mixed with another's."""

import json
import shutil

import pytest
from helpers.pages import Page

from espnet_mtasr.bin.mtasr_score import main
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError

DEFAULT, BEAM = "decode_ave", "decode_beam_ave"


@pytest.fixture
def exp(tmp_path):
    """Two sets, one of which is decoded without errors."""
    for name in ("t1", "t2"):
        write_table(tmp_path / "data" / name / "text", {"u": "a b <sc> c d"})
        write_table(tmp_path / "data" / name / "utt2num_spk", {"u": "2"})
    return tmp_path / "exp"


def decode(exp, folder, name, text="a b <sc> c d", model="1", options="o"):
    path = exp / folder / name
    write_table(path / "text", {"u": text})
    write_table(path / "utt2num_spk", {"u": "2"})
    mark = {"model_sha256": model, "options_sha256": options}
    (path / "decoded_by.json").write_text(json.dumps(mark))


def score(exp, folder, sets, *options):
    words = ["--sets", sets, "--data_dir", exp.parent / "data"]
    words += ["--decode_dir", exp / folder, "--output_dir", exp / folder]
    words += ["--collect_dir", exp, "--default_decoding", DEFAULT]
    words += ["--mixtures", "made up", "--model", "exp/ave.pth", *options]
    main([str(word) for word in words])
    return json.loads((exp / folder / "results.json").read_text())


def test_the_default_stays_and_comes_first(exp):
    decode(exp, BEAM, "t1", "a b <sc> c x")
    score(exp, BEAM, "t1", "--decoding", "beam.yaml --num_talkers 2", "--num_talkers=2")
    assert not (exp / "results.json").exists()
    assert "beam.yaml" in Page(exp / "RESULTS.html").text
    decode(exp, DEFAULT, "t1")
    score(exp, DEFAULT, "t1")
    files = ("results", "cpwer", "cpwer_by_num_speakers", "speaker_count")
    kept = {name: (exp / f"{name}.json").read_text() for name in files}
    assert json.loads(kept["cpwer"]) == {"t1": 0.0}
    score(exp, BEAM, "t1", "--decoding", "beam.yaml --num_talkers 2", "--num_talkers=2")
    assert kept == {name: (exp / f"{name}.json").read_text() for name in files}
    default, other = (exp / "RESULTS.md").read_text().split("## Other decodings")
    assert default.rstrip("\n") == (exp / DEFAULT / "RESULTS.md").read_text().rstrip()
    assert "The talker count is predicted" in default and "| predicted 2" in default
    assert f"### {BEAM}" in other and "| t1 | 1 | 0 | 4 | 25.00 |" in other
    assert "- Decoding: beam.yaml --num_talkers 2\n" in other
    page, whole = Page(exp / DEFAULT / "RESULTS.html"), Page(exp / "RESULTS.html")
    assert "Other decodings" in whole.text and "Other decodings" not in page.text
    assert whole.text.startswith(page.text) and "beam.yaml" in whole.text
    (link,) = whole.all("a")
    assert (exp / link["href"]).resolve() == exp.resolve() / BEAM / "RESULTS.html"
    own = (exp / BEAM / "RESULTS.md").read_text()
    for text in (other, own):
        assert "predicted, but" not in text and "count is predicted" not in text
        assert "the decoder was told 2 for every mixture" in text
    assert "| told 2 |" in own and "predicted 2" not in own


def test_a_subset_joins_what_is_there(exp):
    for name in ("t1", "t2"):
        decode(exp, DEFAULT, name)
    score(exp, DEFAULT, "t1 t2")
    decode(exp, DEFAULT, "t2", "a b <sc> c x")
    results = score(exp, DEFAULT, "t2")
    assert {n: r["cpwer"] for n, r in results["sets"].items()} == {"t1": 0, "t2": 25}
    assert list(results["sets"]) == ["t1", "t2"]
    pooled = json.loads((exp / "cpwer_by_num_speakers.json").read_text())
    assert pooled["2"] == 12.5


@pytest.mark.parametrize("other", [dict(model="2"), dict(options="p")])
def test_another_model_or_other_options_share_no_table(exp, other):
    for name in ("t1", "t2"):
        decode(exp, DEFAULT, name)
    score(exp, DEFAULT, "t1 t2")
    decode(exp, DEFAULT, "t2", **other)
    assert list(score(exp, DEFAULT, "t2")["sets"]) == ["t2"]
    with pytest.raises(UserError, match="t1 and t2 were decoded by different models"):
        score(exp, DEFAULT, "t1 t2")


def test_sets_that_are_gone_are_left_out(exp):
    for name in ("t1", "t2"):
        decode(exp, DEFAULT, name)
    score(exp, DEFAULT, "t1 t2")
    shutil.rmtree(exp.parent / "data" / "t1")
    assert list(score(exp, DEFAULT, "t2")["sets"]) == ["t2"]


def test_figures_of_an_earlier_training_are_said_to_be_so(exp):
    for folder in (DEFAULT, BEAM):
        decode(exp, folder, "t1")
        score(exp, folder, "t1")
    said = "exp/ave.pth, an earlier version, since trained again"
    assert said not in (exp / "RESULTS.md").read_text()
    decode(exp, DEFAULT, "t1", model="2")
    score(exp, DEFAULT, "t1")
    default, other = (exp / "RESULTS.md").read_text().split("## Other decodings")
    assert said in other and said not in default
    decode(exp, BEAM, "t1", model="3")
    score(exp, BEAM, "t1")
    text = (exp / "RESULTS.md").read_text()
    assert text.startswith(f"# Results of {said}\n")


def test_results_of_an_earlier_version_stay(exp):
    decode(exp, DEFAULT, "t1")
    results = score(exp, DEFAULT, "t1")
    shutil.rmtree(exp)
    exp.mkdir()
    old = {k: v for k, v in results.items() if k != "model_sha256"}
    (exp / "results.json").write_text(json.dumps(old))
    decode(exp, BEAM, "t1")
    score(exp, BEAM, "t1")
    assert json.loads((exp / "results.json").read_text()) == old
    default, other = (exp / "RESULTS.md").read_text().split("## Other decodings")
    assert default.startswith("# Results\n") and "| t1 | 1 |" in default
    assert BEAM in other


def test_a_damaged_file(exp):
    decode(exp, DEFAULT, "t1")
    (exp / DEFAULT / "t1" / "decoded_by.json").write_text("{")
    with pytest.raises(UserError, match="decoded_by.json: is damaged .*; remove it"):
        score(exp, DEFAULT, "t1")
