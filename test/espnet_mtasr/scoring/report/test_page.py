"""RESULTS.html: it has all figures, nothing in it is broken, and nothing is loaded."""

import base64
import io

import numpy as np
import pytest
import soundfile
from helpers.pages import Page

from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring.conditions import Conditions
from espnet_mtasr.scoring.inputs import Hypotheses, References
from espnet_mtasr.scoring.posteriors import Peak, Posteriors
from espnet_mtasr.scoring.report import sound
from espnet_mtasr.scoring.report.page import ScoredSet, render_page
from espnet_mtasr.scoring.results import assemble_results, score_set
from espnet_mtasr.scoring.segments import Timing

EVIL = "<script>alert(1)</script>"
RATE = 8000


def scored(references, hypotheses, timing=None):
    score = score_set(references, hypotheses, None, (2, 3))
    return score, ScoredSet(references, hypotheses, score.errors, timing or Timing())


def a_set(number=9):
    """Mixture k has k deleted words of 9."""
    texts = {f"u{k}": ["a b c d e f g", "x y"] for k in range(number)}
    written = {f"u{k}": [" ".join("abcdefg"[k:]), "x y"] for k in range(min(number, 8))}
    overlaps = {utt: k / 10 for k, utt in enumerate(texts)}
    conditions = {utt: Conditions(1.0, k, None) for k, utt in enumerate(texts)}
    timing = Timing(dict.fromkeys(texts, 2.0), {"u7": [(0.0, 1.5), (1.0, 2.0)]})
    return scored(
        References(texts, overlaps, conditions),
        Hypotheses(written, dict.fromkeys(written, 2)),
        timing,
    )


def page_of(sets, read=None, curves=(), model="model", **options):
    results = assemble_results("mixtures", model, {n: s for n, (s, _) in sets.items()})
    parts = {name: part for name, (_, part) in sets.items()}
    return render_page(results, parts, curves, read, RATE, **options)


def noise(name, utt):
    return 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)


def test_all_that_is_known():
    page = Page(page_of({"test_a": a_set()}, noise, command="run.sh", machine="a CPU"))
    for text in ("Word error rates", "Talker counts", "run.sh", "a CPU", "cpWER %"):
        assert text in page.text
    assert "test_a 9 1 81 45.68" in page.text
    assert page.all("span", class_="heat")[0]["style"] == "--p:0.889"
    titles = [e["aria-label"] for e in page.all("svg") if "aria-label" in e]
    assert titles == [
        f"cpWER % by {name}"
        for name in ("overlap", "onset gap", "signal-to-noise ratio")
    ]
    # u8 has no hypothesis; of equal rates the one that comes first by name.
    shown = ["u8 (worst)", "u7 (worst)", "u6 (worst)", "u4 (median)"]
    assert [t for t in page.texts if t.endswith((" (worst)", " (median)"))] == shown
    assert "cpWER 100.0 %, 2 talkers, no hypothesis, 9 errors in 9 words" in page.text
    assert len(page.all("audio")) == 4
    assert [e["data-seconds"] for e in page.all("svg", class_="times")] == ["2.000"]
    said = next(t for t in page.texts if t.startswith("test_a, 0.2–0.4: "))
    # u2 and u3: 5 of 18 words.
    assert said.endswith(": 27.78 % (22.22 to 33.33), 2 mixtures, 18 words")


def test_texts_are_texts():
    """In a reference, a hypothesis, an id, a set's name, what a command was."""
    references = References({f"u{EVIL}": [f"{EVIL} & b", '" x']})
    hypotheses = Hypotheses({f"u{EVIL}": ["a </span>", "' &lt;"]}, {f"u{EVIL}": 2})

    def read(name, utt):
        raise UserError(f"{EVIL}: is missing")

    content = page_of(
        {f"set{EVIL}": scored(references, hypotheses)}, read, model=EVIL, command=EVIL
    )
    page = Page(content)
    assert "<script>alert" not in content and len(page.all("script")) == 1
    assert content.count("alert(1)") == content.count("&lt;script&gt;alert(1)") > 6
    for text in (EVIL, "&", '"', "</span>", "&lt;", f"set{EVIL}", f"u{EVIL} (worst)"):
        assert text in page.texts
    assert f"No sound: {EVIL}: is missing" in page.text


def test_nothing_can_be_loaded():
    page = Page(page_of({"a": a_set()}, noise))
    (policy,) = [e for e in page.all("meta") if "http-equiv" in e]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'; ")
    assert "http" not in policy["content"] and page.all("link") == page.all("img") == []


def decoded(element):
    kind, _, content = element["src"].partition(";base64,")
    assert kind == "data:audio/mpeg"
    return soundfile.read(io.BytesIO(base64.b64decode(content)))


def test_sounds_are_those_of_the_mixtures():
    def tone(name, utt):
        wave = np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)
        return np.stack([0.2 * wave, 0.0 * wave], 1)

    page = Page(page_of({"a": a_set(1)}, tone))
    (element,) = page.all("audio")
    samples, rate = decoded(element)
    assert rate == RATE and len(samples) == pytest.approx(3 * RATE, abs=2500)
    assert np.abs(samples).max() == pytest.approx(0.1, abs=0.02)
    spectrum = np.abs(np.fft.rfft(samples[: 2 * RATE]))
    assert spectrum.argmax() / 2 == pytest.approx(440, abs=2)


def test_the_size_is_bounded(monkeypatch):
    def long(name, utt):
        return np.random.default_rng(0).standard_normal(40 * RATE).clip(-1, 1) * 0.3

    one = Page(page_of({"a": a_set(1)}, long))
    samples, _ = decoded(one.all("audio")[0])
    assert len(samples) / RATE == pytest.approx(30, abs=0.5)
    assert "The first 30 of 40 s" in one.text
    monkeypatch.setattr(sound, "MOST_BYTES", 300_000)
    content = page_of({f"set{k}": a_set() for k in range(8)}, long)
    page = Page(content)
    assert 0 < len(page.all("audio")) < 32 and len(content) < 600_000
    assert "No sound: the page's limit for sounds is reached" in page.text
    # As many mixtures and words as one likes.
    words = " ".join(f"word{k}" for k in range(5000))
    references = References({f"u{k}": [words, "x"] for k in range(20)})
    hypotheses = Hypotheses({f"u{k}": ["", "x"] for k in range(20)}, {})
    content = page_of({"a": scored(references, hypotheses)})
    assert len(content) < 150_000 and "and 4800 more words" in Page(content).text


def posteriors(frames, *tokens):
    places = dict(tokens)
    curve = [90 if k in places else 5 for k in range(frames)]
    return Posteriors(curve, [95 - c for c in curve], [Peak(*t) for t in tokens])


def test_posteriors_stand_in_the_time_line():
    """Each stream in its talker's color, tokens at their frames."""

    def read(name, utt):
        streams = [posteriors(20, (2, "▁x"), (3, EVIL)), posteriors(20, (19, "▁a"))]
        return streams if utt in ("u6", "u7") else None

    references = References({f"u{k}": ["a b", "x"] for k in range(5, 8)})
    hypotheses = Hypotheses({u: ["x", "a"] for u in references.texts}, {})
    timing = Timing(dict.fromkeys(references.texts, 2.0), {"u7": [(0.0, 1.5), (1, 2)]})
    sets = {"s": scored(references, hypotheses, timing)}
    page = Page(page_of(sets, read_posteriors=read))
    assert "CTC posteriors: area: most probable token; dashed: blank." in page.texts
    six, seven = page.all("svg", class_="times")
    assert (six["viewbox"], seven["viewbox"]) == ("0 0 1000 152", "0 0 1000 196")
    groups = [group["class"] for group in page.all("g") if "class" in group]
    # Stream 1 is talker 2's.
    assert groups == ["ctc s1", "ctc s0"] * 2
    tokens = {t["x"]: t for t in page.all("text") if t["x"] not in ("0",)}
    # Frames 2, 3 and 19 of 20; the wide one has no room.
    assert set(tokens) == {"116.2", "906.8"} | ({"162.8"} & set(tokens))
    assert "▁x" in page.texts and "▁a" in page.texts
    assert "CTC" not in Page(page_of(sets)).text


def test_posteriors_that_cannot_be_read():
    def read(name, utt):
        raise UserError(f"{EVIL}: u is damaged")

    page = Page(page_of({"a": a_set()}, read_posteriors=read))
    assert page.text.count(f"No CTC posteriors: {EVIL}: u is damaged") == 4


def test_an_hour_of_posteriors_takes_no_more():
    def read(name, utt):
        alternating = posteriors(180_000, *((k, "a") for k in range(0, 180_000, 2)))
        return [alternating] * 2

    sets = {"a": a_set(1)}
    content = page_of(sets, read_posteriors=read)
    assert len(content) < 400_000
    best, blank = (path["d"] for path in Page(content).all("path")[:2])
    # What stands out does so still.
    assert " 12L" in best and " 95L" in blank


def test_curves():
    lines = {
        "all": {"train": [4.0, 2.0, None], "valid": [3.0, 1.0, 0.5]},
        f"2 {EVIL}": {"train": [None] * 3, "valid": [3.0, 1.0, 0.5]},
    }
    panel = dict(title="CTC", log=True, note=EVIL, lines=lines)
    curve = dict(title="phase2", epochs=[1, 2, 3], best=3, panels=[panel])
    page = Page(page_of({"a": a_set(1)}, curves=[curve]))
    assert "CTC (log axis)" in page.text and "best epoch: 3" in page.text
    paths = page.all("path")
    assert [path["class"].split()[2] for path in paths] == ["train", "valid", "valid"]
    assert paths[0]["d"].count("L") == 1 and paths[1]["d"].count("L") == 2
    assert f"2 {EVIL}" in page.texts and EVIL in page.texts
    assert "Learning curves" not in Page(page_of({"a": a_set(1)})).text


def test_a_long_training_takes_no_more():
    values = list(np.linspace(2, 1, 5000))
    panel = dict(title="x", log=False, note="", lines={"all": {"valid": values}})
    curve = dict(title="x", epochs=list(range(5000)), best=None, panels=[panel])
    (path,) = Page(page_of({"a": a_set(1)}, curves=[curve])).all("path")
    assert path["d"].count("L") < 250
