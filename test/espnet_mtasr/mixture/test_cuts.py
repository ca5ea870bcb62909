"""Recordings cut at their pauses: parts, their words, and mixtures of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from espnet_mtasr.mixture.cuts import cut_at_pauses, words_within
from espnet_mtasr.mixture.dynamic import DynamicMixer
from espnet_mtasr.mixture.render import mix_spec
from espnet_mtasr.mixture.spec import MixtureSpec, Source, num_samples, parse_spec

WORDS = "a b c d e f".split()
# Pauses of 0.1, 0.5, 0.5, 0.35 and 0.5 s.
SPANS = [(0.5, 1.0), (1.1, 2.3), (2.8, 3.0), (3.5, 7.6), (7.95, 8.4), (8.9, 9.1)]


def source(**changes):
    return replace(Source("x.wav", 1.0, "t", 10.0), **changes)


def test_parts():
    parts = cut_at_pauses(source(), WORDS, SPANS)
    # 2.6 s and a long pause; then 0.5 s are too little; 5.2 s and a short pause; what
    # is left behind 8.7 s would do, but 0.9 s are no part.
    assert [text for _, text in parts] == ["a b", "c d", "e f"]
    spans = [part.span for part, _ in parts]
    assert np.allclose(spans, [(0.0, 2.6), (2.6, 7.81), (7.81, 10.0)])
    for part, _ in parts:
        assert part.seconds == pytest.approx(part.span[1] - part.span[0])
        assert (part.path, part.talker, part.gain) == ("x.wav", "t", 1.0)


def test_no_pause_no_parts():
    evenly = [(k * 0.5, k * 0.5 + 0.4) for k in range(6)]
    assert cut_at_pauses(source(seconds=3.0), WORDS, evenly) == []


def test_words_of_a_part():
    assert words_within(SPANS, source()) == SPANS
    found = [words_within(SPANS, p) for p, _ in cut_at_pauses(source(), WORDS, SPANS)]
    assert [len(spans) for spans in found] == [2, 2, 2]
    assert np.allclose(found[1], [(0.2, 0.4), (0.9, 5.0)])


@pytest.fixture
def recordings(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        samples = (0.1 * rng.standard_normal(32000)).astype(np.float32)
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000, subtype="FLOAT")
    return tmp_path


@pytest.mark.parametrize("speed", [1.0, 1.25])
def test_only_the_part_is_heard(recordings, speed):
    path = str(recordings / "one.wav")
    part = Source(path, 1.0, "t", 0.75, speed, (0.5, 1.25))
    spec = MixtureSpec((part,), (0.0,))
    heard = mix_spec(spec)
    whole = mix_spec(MixtureSpec((replace(part, span=None, seconds=2.0),), (0.0,)))
    first, last = round(8000 / speed), round(20000 / speed)
    assert np.array_equal(heard, whole[first:last])
    assert abs(len(heard) / 16000 - spec.seconds) < 1e-4
    if speed == 1.0:
        assert num_samples(spec, {path: (32000, 16000)}) == len(heard)
    assert parse_spec(spec.to_line(), "u") == spec
    assert json.loads(spec.to_line())["sources"][0]["span"] == [0.5, 1.25]


def test_mixtures_of_parts(recordings):
    """Short mixtures are made of parts of long recordings too, with their words."""
    specs, texts, words = {}, {}, {}
    for k in range(8):
        path = f"{recordings}/long{k}.wav"
        specs[f"long{k}"] = MixtureSpec((Source(path, 1.0, f"l{k}", 10.0),), (0.0,))
        texts[f"long{k}"] = [" ".join(f"{w}{k}" for w in WORDS)]
        words[path] = SPANS
        path = f"{recordings}/short{k}.wav"
        specs[f"short{k}"] = MixtureSpec((Source(path, 1.0, f"s{k}", 2.4),), (0.0,))
        texts[f"short{k}"] = [f"short {k}"]
    without = DynamicMixer(specs, texts)
    mixer = DynamicMixer(specs, texts, words=words, cut_at_pauses=True)
    assert len(without._sources) == 16 and len(mixer._sources) == 16 + 3 * 8
    drawn = [mixer.draw("short0", epoch) for epoch in range(200)]
    parts = [(s.sources[0], t[0]) for s, t in drawn if s.sources[0].span is not None]
    assert 40 < len(parts) < 200
    for part, text in parts:
        k = part.talker[1:]
        expected = {0.0: ["a", "b"], 2.6: ["c", "d"], 7.81: ["e", "f"]}
        assert text.split() == [f"{w}{k}" for w in expected[round(part.span[0], 2)]]
