"""Excerpts of conversations: what is cut out, whose words they are, and how often."""

from random import Random

import numpy as np
import pytest
import soundfile

from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.dynamic import DynamicMixer
from espnet_mtasr.mixture.excerpts import Conversations, Turn, _part, texts_of
from espnet_mtasr.mixture.spec import MixtureSpec, Source

RATE = 8000


def turn(onset=2.0, **changes):
    source = Source("/a.flac", 1.0, "t", 4.0, **changes)
    spans = [(0.0, 1.0), (1.0, 2.0), (3.0, 4.0)]
    spans = [(a / source.speed, b / source.speed) for a, b in spans]
    return Turn(source, onset, ["a", "b", "c"], spans)


def test_part_of_a_turn():
    whole = turn()
    assert _part(whole, 1.0, 6.0) == whole._replace(onset=1.0)
    # From the middle of b: it isn't a word of the part, but its second half is heard.
    half = _part(whole, 3.5, 10.0)
    assert (half.words, half.onset) == (["c"], 0.0)
    assert half.source.span == (1.5, 4.0) and half.source.seconds == 2.5
    assert half.spans == [(1.5, 2.5)]
    # Three quarters of a word are enough.
    most = _part(whole, 0.0, 3.75)
    assert (most.words, most.source.span) == (["a", "b"], (0.0, 1.75))
    assert _part(whole, 4.0, 5.0) is None
    assert _part(whole, 7.0, 9.0) is None


def test_part_of_a_part_at_another_speed():
    """4 s of a recording, from its second 10 on, take 2 s."""
    part = _part(turn(speed=2.0, span=(10.0, 14.0)), 2.5, 3.5)
    assert part.source.span == (11.0, 13.0) and part.source.seconds == 2.0
    assert (part.words, part.spans) == (["b"], [(0.0, 0.5)])


@pytest.fixture
def conversations():
    recordings = [
        (Source(f"/{t}{n}.flac", 1.0, f"t{t}", 2.0 + n), f"t{t} says {n}")
        for t in range(4)
        for n in range(3)
    ]
    words = {"/00.flac": [(0.0, 0.1), (0.1, 0.2), (1.8, 1.9)]}
    return Conversations(recordings, {2: [(0.0, 0.7)]}, words)


def test_draw(conversations):
    begins, counts = [], set()
    for seed in range(200):
        turns = conversations.draw(3, 5.0, [0.9, 1.1], Random(seed))
        again = conversations.draw(3, 5.0, [0.9, 1.1], Random(seed))
        assert turns == again
        onsets = [t.onset for t in turns]
        assert onsets == sorted(onsets) and onsets[0] >= 0.0
        assert all(t.end <= 5.0 + 1e-9 for t in turns)
        end_of, speed_of = {}, {}
        for t in turns:
            name = t.source.talker
            # Nobody talks over himself, or at two speeds.
            assert t.onset >= end_of.get(name, 0.0) - 1e-9
            assert speed_of.setdefault(name, t.source.speed) == t.source.speed
            end_of[name] = t.end
            # Most of each word is within the turn.
            length = t.end - t.onset
            assert len(t.words) == len(t.spans) > 0
            for start, end in t.spans:
                assert min(end, length) - max(start, 0.0) >= 0.59 * (end - start)
        counts.add(len(texts_of(turns)))
        begins.append(onsets[0] == 0.0 and turns[0].source.span is None)
    assert counts == {1, 2, 3}
    assert 0.1 < np.mean(begins) < 0.4


def test_words_are_where_they_are_known_to_be(conversations):
    place = conversations._place_words
    words, spans = place(Source("/00.flac", 1.0, "t0", 2.0, speed=2.0), "t0 says 0")
    assert words == ["t0", "says", "0"]
    assert np.allclose(spans, [(0.0, 0.05), (0.05, 0.1), (0.9, 0.95)])
    _, spans = place(Source("/01.flac", 1.0, "t0", 7.0), "t0 says 0")
    assert np.allclose(spans, [(0.0, 2.0), (2.0, 6.0), (6.0, 7.0)])


def test_texts_in_the_order_of_first_turns():
    a, b = Source("/a.flac", 1.0, "a", 1.0), Source("/b.flac", 1.0, "b", 1.0)
    turns = [
        Turn(b, 0.0, ["one", "two"], []),
        Turn(a, 0.5, ["x"], []),
        Turn(b, 2.0, ["three"], []),
    ]
    assert texts_of(turns) == ["one two three", "x"]


@pytest.fixture
def mixer(tmp_path):
    """Mixtures of 2 and 3 talkers, whose recordings are constants by talker."""
    specs, texts = {}, {}
    for u in range(12):
        sources = []
        for k in range(2 + u % 2):
            talker = (u + k) % 5
            path = tmp_path / f"{u}-{k}.wav"
            samples = np.full(2 * RATE, 0.02 * (talker + 1))
            soundfile.write(path, samples, RATE)
            sources.append(Source(str(path), 1.0, f"t{talker}", 2.0))
        onsets = tuple(0.5 * k for k in range(len(sources)))
        specs[f"u{u}"] = MixtureSpec(tuple(sources), onsets, None, RATE)
        texts[f"u{u}"] = [f"w{u} w{u} w{k} w{k}" for k in range(len(sources))]
    return lambda **options: DynamicMixer(specs, texts, **options)


def test_their_share_and_lengths(mixer):
    half, none = mixer(excerpts=0.5), mixer()
    found = []
    for epoch in range(1, 21):
        for utt, original in half.specs.items():
            spec, texts = half.draw(utt, epoch)
            talkers = spec.times_of_talkers()
            assert len(texts) == len(talkers) in (2, 3)
            assert len(talkers) <= len(original.sources)
            assert spec.seconds <= original.seconds + 1e-9 or len(texts) == len(
                spec.sources
            )
            found.append(any(source.span for source in spec.sources))
            # Not in a flat start, and not without the option.
            assert len(half.draw(utt, epoch, whole=True)[0].sources) == len(
                original.sources
            )
            spec, _ = none.draw(utt, epoch)
            assert not any(source.span for source in spec.sources)
    assert 0.35 < np.mean(found) < 0.65


def test_what_is_heard(mixer):
    """Each sample is the sum of the talkers that speak then."""
    mixer = mixer(excerpts=1.0)
    for epoch in range(1, 6):
        spec, _ = mixer.draw("u1", epoch)
        samples = mixer.render(spec)
        expected = np.zeros(len(samples))
        for onset, source in zip(spec.onsets, spec.sources):
            start, end = int(onset * RATE), int((onset + source.seconds) * RATE)
            expected[start:end] += 0.02 * (int(source.talker[1:]) + 1)
        # Rounding may move an edge by a sample.
        wrong = np.abs(samples - expected) > 1e-3
        assert wrong.sum() <= 2 * len(spec.sources)


def test_bad_share(mixer):
    with pytest.raises(UserError, match="excerpts: 2: give a share from 0 to 1"):
        mixer(excerpts=2)
