"""The recordings that the benchmark makes, and how it counts errors."""

import numpy as np
import pytest

from espnet_mtasr.transcription.transcript import Talker, Transcript, Word
from tools.bench.long_recordings import (
    FADE,
    PAUSES,
    RATE,
    Piece,
    cross_faded,
    errors,
    one_by_one,
    with_pauses,
)


@pytest.fixture
def pieces():
    """Of constant samples: which piece is heard where can be seen."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(1, 31):
        samples = np.full(int(rng.uniform(2, 5) * RATE), float(number), np.float32)
        talkers = set(rng.permutation(list("abcde"))[: rng.integers(2, 4)].tolist())
        found.append(Piece(samples, [f"w{number} x", f"y{number}"], talkers))
    return found


def test_pauses(pieces):
    wave, places = with_pauses(pieces, seed=1)
    assert sorted(number for _, _, number in places) == list(range(30))
    for (start, end, number), (following, _, _) in zip(places, places[1:]):
        assert (wave[start:end] == number + 1).all()
        assert (wave[end:following] == 0).all()
        assert PAUSES[0] - 0.001 <= (following - end) / RATE <= PAUSES[1]


def test_no_window_has_more_than_three_talkers(pieces):
    wave, places = cross_faded(pieces, seed=1)
    assert sorted(number for _, _, number in places) == list(range(30))
    fade = int(FADE * RATE)
    group = set()
    for (start, end, number), (following, _, _) in zip(places, places[1:]):
        group |= pieces[number].talkers
        assert len(group) <= 3
        assert (wave[start + fade : end - fade] == number + 1).all()
        if following == end + RATE:
            group = set()
        else:
            assert following == end - fade


def test_errors(pieces):
    _, places = with_pauses(pieces, seed=1)
    found = [
        Transcript(
            str(number),
            2.0,
            (
                Talker((Word(f"w{number}", 0.1, 0.2, 1.0),)),
                Talker((Word(f"y{number}", 0.5, 0.6, 1.0),)),
            ),
        )
        for number in range(1, 31)
    ]
    # Each lacks its x.
    error = errors(pieces, places, one_by_one(found, places))
    assert (error.length, error.errors, error.deletions) == (90, 30, 30)
    # Who is talker 1 doesn't matter, what stands where does.
    swapped = [
        Transcript(t.recording, 2.0, t.talkers[:: (-1) ** n])
        for n, t in enumerate(found)
    ]
    assert errors(pieces, places, one_by_one(swapped, places)).errors == 30
    late = [
        [Word(w.text, w.start + 60, w.end + 60, 1.0) for w in s]
        for s in one_by_one(found, places)
    ]
    assert errors(pieces, places, late).errors > 60
