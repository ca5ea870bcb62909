"""The picture of a transcript: what is drawn where, and what is refused."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.tiny_inference import noises
from helpers.transcripts import hard_transcript, make_talker, make_transcript

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.output import Output
from espnet_mtasr.transcription.plot import draw_transcript, is_picture, place_words
from espnet_mtasr.transcription.transcript import Part

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
(WAVE,) = noises(64000)


@pytest.fixture
def figures(monkeypatch):
    from matplotlib.figure import Figure

    found = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda f, *a, **k: (found.append(f), save(f, *a, **k))
    )
    return found


@pytest.fixture(autouse=True)
def glyphs():
    # The font of matplotlib has no Japanese.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        yield


@pytest.mark.parametrize("kind", STARTS)
def test_kinds(kind, tmp_path):
    transcript = hard_transcript()
    path = tmp_path / "new" / f"x{kind}"
    transcript.plot(path, WAVE, 16000)
    assert path.read_bytes().startswith(STARTS[kind])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_is_drawn(figures):
    transcript = make_transcript(
        [("a", 0.5, 1.0, 1.0), ("cat", 1.0, 1.5, 0.0)],
        [("$x_", 2.0, 3.0), ("y$", 3.0, 3.5)],
        [],
        recording="cost$_a$",
        probabilities={2: 0.25, 3: 0.75},
    )
    draw_transcript(transcript, [WAVE])
    (figure,) = figures
    assert figure.get_suptitle() == "cost$_a$"
    wave, *talkers, counts = figure.axes
    assert wave.get_ylabel() == "waveform"
    outline = wave.collections[0].get_datalim(wave.transData)
    assert outline.ymax == pytest.approx(WAVE.max(), abs=1e-6)
    assert outline.ymin == pytest.approx(WAVE.min(), abs=1e-6)
    assert [t.get_ylabel() for t in talkers] == ["talker 1", "talker 2", "talker 3"]
    assert [[t.get_text() for t in ax.texts] for ax in talkers] == [
        ["a", "cat"],
        ["$x_", "y$"],
        [],
    ]
    bars = talkers[0].patches
    assert [(b.get_x(), b.get_width()) for b in bars] == [(0.5, 0.5), (1.0, 0.5)]
    assert bars[0].get_alpha() > bars[1].get_alpha()
    colors = {ax.patches[0].get_facecolor()[:3] for ax in talkers[:2]}
    assert len(colors) == 2
    assert talkers[-1].get_xlim() == wave.get_xlim() == (0.0, 4.0)
    assert [bar.get_height() for bar in counts.patches] == [0.25, 0.75]


def test_without_talkers_or_probabilities(figures):
    draw_transcript(make_transcript(seconds=0.01))
    (figure,) = figures
    assert [ax.get_ylabel() for ax in figure.axes] == ["no talker", ""]
    assert figure.axes[1].texts[0].get_text() == "no speech"
    plain = make_transcript([("word", 0.0, 0.5)])
    part = Part(0.0, 0.5, plain.talkers)
    for transcript, said in (
        (plain, "the model\ncan't count"),
        (replace(plain, parts=(part,)), "counted in\neach part"),
    ):
        draw_transcript(replace(transcript, count_probabilities=None))
        assert figures[-1].axes[1].texts[0].get_text() == said


def test_words_do_not_cover_each_other():
    talker = make_talker(*((f"word{k}", 0.1 * k, 0.1 * k + 0.1) for k in range(30)))
    places = place_words(talker, 1.0)
    shown = [(p, w) for p, w in zip(places, talker.words) if p is not None]
    assert 3 < len(shown) < 30
    for line in range(3):
        starts = [place.start for place, _ in shown if place.line == line]
        assert all(b - a > 0.4 for a, b in zip(starts, starts[1:]))
    assert all(0.0 <= place.start - word.start <= 0.5 for place, word in shown)
    # With room for it, each stands where it begins.
    places = place_words(talker, 20.0)
    assert [place.start for place in places] == [w.start for w in talker.words]


def test_an_hour_can_be_drawn():
    transcript = make_transcript([("late", 3599.0, 3599.5)], seconds=3600.0)
    content = draw_transcript(transcript, [np.zeros(16000, np.float32)])
    assert content.startswith(b"\x89PNG") and len(content) < 1e6


def test_the_recording_must_be_the_same(tmp_path):
    soundfile.write(tmp_path / "other.wav", WAVE[:16000], 16000)
    with pytest.raises(UserError, match="other: has 1.000 s, but the trans.* 4.0"):
        make_transcript().plot(tmp_path / "x.png", tmp_path / "other.wav")
    with pytest.raises(UserError, match="--plot .*x.jpg: give a file that ends"):
        make_transcript().plot(tmp_path / "x.jpg")
    with pytest.raises(UserError, match="x: end its name in .png"):
        make_transcript().plot(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["other.wav"]


def test_files_and_folders(tmp_path):
    (tmp_path / "run.1").mkdir()
    assert not is_picture(tmp_path / "run.1") and not is_picture(Path("pictures"))
    assert is_picture(Path("x.PNG"))


def test_a_picture_per_recording(tmp_path):
    output = Output(["txt"], tmp_path / "out", ["a/x", "y"], tmp_path / "pictures")
    transcript = make_transcript([("a", 0.0, 1.0)], recording="a/x")
    output.add(transcript)
    # Both belong to a recording that is done.
    assert output.missing("a/x")
    output.draw(transcript, [WAVE])
    assert not output.missing("a/x") and output.missing("y")
    assert (tmp_path / "pictures/a/x.png").read_bytes().startswith(b"\x89PNG")


def test_what_output_refuses(tmp_path):
    with pytest.raises(
        UserError, match="x.png: can only show one recording, not 2; give"
    ):
        Output(["txt"], None, ["a", "b"], tmp_path / "x.png")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file: give a folder"):
        Output(["txt"], None, ["a"], tmp_path / "file")
    with pytest.raises(UserError, match="--plot .*file: can't be written to"):
        Output(["txt"], None, ["a"], tmp_path / "file" / "x.png")
