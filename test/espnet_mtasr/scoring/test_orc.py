"""ORC-WER by hand, against meeteval's exact search and against trying everything."""

import itertools
import random

import pytest
from meeteval.wer.wer.orc import orc_word_error_rate
from meeteval.wer.wer.siso import siso_word_error_rate

from espnet_mtasr.scoring import orc
from espnet_mtasr.scoring.error_counts import ErrorCounts, cp_errors
from espnet_mtasr.scoring.orc import orc_errors

# reference, hypothesis, (sub, del, ins)
CASES = {
    "right": (["a b", "c"], ["a b", "c"], (0, 0, 0)),
    "swapped": (["a b", "c d"], ["c d", "a b"], (0, 0, 0)),
    "two talkers in one stream": (["a b", "c", "d"], ["a b d", "c"], (0, 0, 0)),
    "in one stream, in the wrong order": (["a b", "c d"], ["c d a b"], (0, 2, 2)),
    "all in one stream, the other surplus": (["a", "b"], ["a b", "x"], (0, 0, 1)),
    "a text split over streams": (["a b c d"], ["a b", "c d"], (0, 2, 2)),
    "missing": (["a b", "c"], [], (0, 3, 0)),
    "empty": (["a b", "c"], [""], (0, 3, 0)),
    "silent talker": (["a", ""], ["", "a b"], (0, 0, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_counts(case):
    reference, hypothesis, expected = CASES[case]
    words = len(" ".join(reference).split())
    assert orc_errors(reference, hypothesis) == ErrorCounts(words, *expected)


def draw(rng, most, longest):
    """Draw texts of few different words, some of them empty."""
    return [
        " ".join(rng.choices("abc", k=rng.randint(0, longest)))
        for _ in range(rng.randint(1, most))
    ]


def try_everything(reference, hypothesis):
    """Errors of the best of all placings, by meeteval's WER."""
    best = None
    for placing in itertools.product(range(len(hypothesis)), repeat=len(reference)):
        errors = 0
        for stream, text in enumerate(hypothesis):
            said = [t for t, place in zip(reference, placing) if place == stream]
            errors += siso_word_error_rate(" ".join(said), text).errors
        best = errors if best is None else min(best, errors)
    return best


def test_equals_trying_everything_and_meeteval():
    rng = random.Random(0)
    for _ in range(150):
        reference, hypothesis = draw(rng, 3, 4), draw(rng, 3, 4)
        got = orc_errors(reference, hypothesis)
        rate = orc_word_error_rate(
            reference, hypothesis, reference_sort=False, hypothesis_sort=False
        )
        assert got.errors == try_everything(reference, hypothesis) == rate.errors
        assert got.words == rate.length
        assert got.deletions - got.insertions == rate.deletions - rate.insertions
        assert got.errors <= cp_errors(reference, hypothesis).errors


def test_many_talkers_are_placed_step_by_step(monkeypatch):
    """It stays between the best placing and cpWER, and often finds the best."""
    rng = random.Random(1)
    best = 0
    for _ in range(100):
        reference, hypothesis = draw(rng, 4, 4), draw(rng, 4, 4)
        exact = orc_errors(reference, hypothesis)
        with monkeypatch.context() as patch:
            patch.setattr(orc, "MAX_EXACT_TALKERS", 0)
            got = orc_errors(reference, hypothesis)
        assert got.words == exact.words
        upper = cp_errors(reference, hypothesis).errors
        assert exact.errors <= got.errors <= upper
        best += got.errors == exact.errors
    assert best > 80


def test_long_texts_and_many_streams_are_quick():
    """meeteval's search would need 300 ** 3 cells for the first."""
    rng = random.Random(2)
    texts = [" ".join(rng.choices("abcdefgh", k=300)) for _ in range(3)]
    assert orc_errors(texts, [*reversed(texts)]).errors == 0
    many = [str(n) for n in range(20)]
    assert orc_errors(many, [*reversed(many)]).errors == 0
