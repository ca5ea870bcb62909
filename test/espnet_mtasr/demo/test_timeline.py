"""The page's HTML, without gradio: what stands on it, and that names stay text."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import soundfile

from espnet_mtasr.demo.figures import COLORS
from espnet_mtasr.demo.hearing import Heard
from espnet_mtasr.demo.mixer import Mixed, Part
from espnet_mtasr.demo.timeline import render_error, render_heard, render_mixed
from espnet_mtasr.scoring.posteriors import Peak, Posteriors
from espnet_mtasr.transcription.transcript import Talker, Transcript, Word

EVIL = "<script>alert('x')</script>\"&"
VOID = {"path", "input", "br"}
TRANSCRIPT = Transcript(
    "a mix",
    2.0,
    (
        Talker((Word("good", 0.1, 0.3, 0.9), Word("night", 1.0, 1.5, 0.4))),
        Talker(()),
    ),
    {2: 0.75, 3: 0.25},
    ("a mix: is truncated",),
)
POSTERIORS = [
    Posteriors([33] * 10, [30] * 10, [Peak(4, EVIL)]),
    Posteriors([33] * 10, [34] * 10, []),
]
SAMPLES = np.linspace(-0.5, 0.5, 200, dtype=np.float32)


class Page(HTMLParser):
    """Elements as (tag, attributes, text), and that each one is closed."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])
        if tag not in VOID:
            self.open.append((tag, self.elements[-1]))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, element in self.open:
            element[2] += data

    def find(self, tag, name=""):
        return [
            e
            for e in self.elements
            if e[0] == tag and (not name or name in e[1].get("class", "").split())
        ]


def heard(transcript=TRANSCRIPT, reference=None):
    return Heard(transcript, SAMPLES, 100, POSTERIORS, reference)


def test_words_stand_at_their_times():
    page = Page(render_heard(heard()))
    words = page.find("button", "mt-word")
    assert [word[2] for word in words] == ["good", "night"]
    assert [(w[1]["data-start"], w[1]["data-end"]) for w in words] == [
        ("0.1", "0.3"),
        ("1.0", "1.5"),
    ]
    assert words[1][1]["style"].startswith(
        "left:50.000%;width:max(25.000%,min(50.000%,43px))"
    )
    assert "1.00 to 1.50 s, confidence 0.40" in words[1][1]["title"]
    lanes = page.find("div", "mt-lane")
    assert [lane[1]["style"] for lane in lanes] == [f"--c:{c}" for c in COLORS[:2]]
    assert lanes[1][2] == "no words"
    assert len(page.find("div", "mt-ctc")) == 2
    peaks, _ = page.find("div", "mt-peaks")
    assert peaks[2] == EVIL
    ((_, place, _),) = [e for e in page.find("span") if e[2] == EVIL]
    assert place["style"] == "left:45.000%" and place["title"] == "33 %"
    assert [note[2] for note in page.find("p", "mt-note")] == ["a mix: is truncated"]


def test_count_probabilities():
    page = Page(render_heard(heard()))
    assert [e[2] for e in page.find("h3")] == ["2 talkers"]
    bars = [e for e in page.find("i") if "width" in e[1].get("style", "")]
    assert [bar[1]["style"] for bar in bars] == ["width:75.0%", "width:25.0%"]
    unknown = Transcript("a", 2.0, TRANSCRIPT.talkers[:1])
    page = Page(render_heard(heard(unknown)))
    assert [e[2] for e in page.find("h3")] == ["1 talker"] and not page.find("i")


def test_audio_and_downloads():
    page = Page(render_heard(heard()))
    ((_, audio, _),) = page.find("audio")
    data = base64.b64decode(audio["src"].removeprefix("data:audio/wav;base64,"))
    samples, rate = soundfile.read(io.BytesIO(data))
    assert rate == 100 and np.allclose(samples, SAMPLES, atol=1e-4)
    for link, format in zip(page.find("a"), ("srt", "json", "textgrid"), strict=True):
        text = base64.b64decode(link[1]["href"].split("base64,")[1]).decode()
        assert text == TRANSCRIPT.render(format)
        assert re.fullmatch(r"a mix\.(srt|json|TextGrid)", link[1]["download"])


def test_errors_where_the_words_are_known():
    page = Page(render_heard(heard(reference=["good day", "yes"])))
    wrong = page.find("button", "mt-wrong")
    assert [word[2] for word in wrong] == ["night"] and "wrong" in wrong[0][1]["title"]
    (errors,) = page.find("p", "mt-errors")
    assert errors[2].startswith(
        "cpWER 67 %: of 3 words 1 substituted, 1 deleted; 0 inserted."
    )
    assert not Page(render_heard(heard())).find("p", "mt-errors")


def test_words_never_overlap():
    """A short word may be wider than it lasts, but not reach the next one."""
    words = (Word("extraordinarily", 0.1, 0.15, 1.0), Word("so", 0.2, 0.3, 1.0))
    page = Page(render_heard(heard(Transcript("a", 2.0, (Talker(words),)))))
    first, second = (word[1]["style"] for word in page.find("button", "mt-word"))
    assert first == "left:5.000%;width:max(2.500%,min(5.000%,113px))"
    assert second.startswith("left:10.000%;")


def test_nothing_to_hear():
    nothing = Transcript("a", 0.0, (), None, ("a: 0.000 s are too short",))
    page = Page(render_heard(Heard(nothing, SAMPLES[:1], 100, [], ["<blank>"])))
    assert [e[2] for e in page.find("h3")] == ["0 talkers"]


def test_names_and_words_are_text():
    word = Word(EVIL, 0.1, 0.3, 0.9)
    transcript = Transcript(EVIL, 2.0, (Talker((word,)),), None, (EVIL,))
    mixed = Mixed(SAMPLES, 100, (Part(EVIL, "p"),), (SAMPLES,))
    shown = Heard(transcript, SAMPLES, 100, POSTERIORS[:1], [EVIL])
    page = Page(render_heard(shown) + render_error(EVIL) + render_mixed(mixed, [1]))
    assert not page.find("script")
    assert page.find("button", "mt-word")[0][2] == EVIL
    assert page.find("p", "mt-error")[0][2] == EVIL
    assert page.find("p", "mt-note")[0][2] == EVIL
    assert page.find("a")[0][1]["download"] == f"{EVIL}.srt"


def test_mixture_to_drag():
    parts = (Part("a", "a.wav", 0.0), Part("b", "b.wav", 1.0, -6.0))
    mixed = Mixed(SAMPLES, 100, parts, (SAMPLES[:150], SAMPLES[100:]))
    page = Page(render_mixed(mixed, [3, 1]))
    bars = page.find("div", "mt-bar")
    assert [bar[1]["data-slot"] for bar in bars] == ["3", "1"]
    assert bars[1][1]["style"].startswith("left:50.000%;width:50.000%")
    assert bars[1][2] == "b, 1.00 s, -6 dB"
    assert page.find("p", "mt-overlap")[0][2] == "25 % of the speech time overlaps"
