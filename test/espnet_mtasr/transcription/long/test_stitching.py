"""Words of windows that overlap: none is lost, none is doubled."""

from dataclasses import replace

import pytest

from espnet_mtasr.transcription.long.stitching import (
    Heard,
    Stitcher,
    join_at_seam,
    match_streams,
)
from espnet_mtasr.transcription.long.windows import Place
from espnet_mtasr.transcription.transcript import Voice, Word


def words(text, start=0.0, step=0.5):
    return tuple(
        Word(w, start + n * step, start + n * step + 0.4, 0.5)
        for n, w in enumerate(text.split())
    )


def text(some):
    return " ".join(word.text for word in some)


@pytest.mark.parametrize(
    "old, new, joined",
    [
        # Both know all; the times differ a little.
        (words("a b c d"), words("c d e f", 1.1), "a b c d e f"),
        # Each is wrong at its end.
        (words("a b c d x"), words("y c d e f", 0.6), "a b c d e f"),
        # They have nothing in common: the seam decides.
        (words("a b c d"), words("e f g h", 1.0), "a b c f g h"),
        (words("a b"), (), "a b"),
        ((), words("e f", 1.0), "f"),
        # The same word, said twice.
        (words("no no"), words("no no", 3.0), "no no no no"),
    ],
)
def test_one_talker(old, new, joined):
    before, after = join_at_seam(old, new, seam=1.6)
    assert f"{text(before)} {text(after)}".strip() == joined


def test_who_goes_on():
    before = [words("a b c d"), words("e f g h")]
    after = [words("g h i", 1.0), words("c d", 1.0), words("z", 2.0)]
    assert match_streams(before, after, 1.5) == [1, 0, 2]
    # Nothing says who is who.
    assert match_streams(before, [words("z", 2.0)], 1.5) == [0]
    assert match_streams([], [words("z"), words("y")], 1.5) == [0, 1]
    assert match_streams(before, [], 1.5) == []


def heard(start, end, *talkers, seam=None):
    return Heard(Place(start, seam), end, Place(end), talkers, {1: 1.0})


def parts_of(*windows):
    stitcher = Stitcher()
    return [p for w in windows for p in stitcher.add(w)] + stitcher.end()


def test_windows():
    first, second, third = parts_of(
        heard(0.0, 2.0, words("a b c d"), words("e f g h")),
        heard(1.0, 4.0, words("g h i", 1.0), words("c d", 1.0), seam=1.5),
        heard(6.0, 8.0, words("new", 6.0)),
    )
    assert [text(t.words) for t in first.talkers] == ["a b c d", "e f g h"]
    assert [text(t.words) for t in second.talkers] == ["", "i"]
    assert [text(t.words) for t in third.talkers] == ["new"]
    spans = [(part.start, part.end) for part in (first, second, third)]
    assert spans == [(0.0, 1.5), (1.5, 4.0), (6.0, 8.0)]
    continues = [part.continues for part in (first, second, third)]
    assert continues == [False, True, False]


def test_a_window_where_fewer_are_heard():
    first, second = parts_of(
        heard(0.0, 2.0, words("a b c d"), words("e f g h")),
        heard(1.0, 4.0, words("g h i j", 1.0), seam=1.5),
    )
    assert [text(t.words) for t in first.talkers] == ["a b c", "e f g h"]
    assert [text(t.words) for t in second.talkers] == ["", "i j"]


def test_nothing():
    assert parts_of() == []
    (part,) = parts_of(heard(0.0, 2.0))
    assert part.talkers == ()


def test_voices_follow_their_talkers():
    voices = [Voice((float(n),)) for n in range(5)]
    first = replace(
        heard(0.0, 3.0, words("a b c d"), words("e f g h")), voices=voices[:2]
    )
    later = heard(
        1.0, 4.0, words("g h i", 1.0), words("c d", 1.0), words("z", 2.0), seam=1.5
    )
    stitcher = Stitcher()
    assert stitcher.add(first) == []
    (before,) = stitcher.add(replace(later, voices=tuple(voices[2:])))
    (after,) = stitcher.end()
    assert list(before.voices) == voices[:2]
    # The third is new: no word links it.
    expected = [
        Voice((3.0,), linked=True),
        Voice((2.0,), linked=True),
        Voice((4.0,)),
    ]
    assert list(after.voices) == expected
    assert before.as_dict().keys() == after.as_dict().keys()
    assert "voices" not in before.as_dict()


def test_no_speech_beside_a_seam():
    """The neighbour of a window that a rule rejects keeps all its words."""
    first, second, third = parts_of(
        heard(0.0, 2.0, words("a b c d"), words("e f g h")),
        heard(1.0, 4.0, seam=1.5),
        heard(3.0, 6.0, words("early new", 3.0), seam=3.5),
    )
    assert [text(t.words) for t in first.talkers] == ["a b c d", "e f g h"]
    assert second.talkers == ()
    assert [text(t.words) for t in third.talkers] == ["early new"]
    spans = [(part.start, part.end) for part in (first, second, third)]
    assert spans == [(0.0, 2.0), (2.0, 3.0), (3.0, 6.0)]
    assert not any(part.continues for part in (first, second, third))


def test_no_speech_twice():
    first, second = parts_of(heard(0.0, 2.0), heard(1.0, 4.0, seam=1.5))
    assert [(part.start, part.end) for part in (first, second)] == [(0, 2), (2, 4)]
    assert first.talkers == second.talkers == ()
