"""Word errors of one mixture, worked out by hand."""

import dataclasses
import random

import pytest
from meeteval.wer.wer.siso import siso_character_error_rate

from espnet_mtasr.scoring.error_counts import (
    ErrorCounts,
    TalkerErrors,
    character_errors,
    cp_errors,
    fifo_errors,
    match_talkers,
    talker_errors,
)

# reference, hypothesis, FIFO (sub, del, ins), cp (sub, del, ins)
CASES = {
    "right": (["a b", "c"], ["a b", "c"], (0, 0, 0), (0, 0, 0)),
    "repeated word lost": (["a had had b"], ["a had b"], (0, 1, 0), (0, 1, 0)),
    "repeated word gained": (["a had b"], ["a had had b"], (0, 0, 1), (0, 0, 1)),
    "swapped": (["a b", "c d"], ["c d", "a b"], (4, 0, 0), (0, 0, 0)),
    "stream too many": (["a b", "c"], ["a b", "c", "x y"], (0, 0, 2), (0, 0, 2)),
    "first stream surplus": (["a b"], ["z", "a b"], (1, 1, 2), (0, 0, 1)),
    "stream too few": (["a b", "c", "d e"], ["a b", "d e"], (1, 2, 1), (0, 1, 0)),
    "missing": (["a b", "c"], [], (0, 3, 0), (0, 3, 0)),
    "empty": (["a b", "c"], [""], (0, 3, 0), (0, 3, 0)),
    "second stream empty": (["a b", "c"], ["a b", ""], (0, 1, 0), (0, 1, 0)),
    "word moved": (["a b", "c"], ["a", "b c"], (0, 1, 1), (0, 1, 1)),
    "silent talker": (["a", ""], ["a", "b"], (0, 0, 1), (0, 0, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_counts(case):
    reference, hypothesis, fifo, cp = CASES[case]
    words = len(" ".join(reference).split())
    assert fifo_errors(reference, hypothesis) == ErrorCounts(words, *fifo)
    assert cp_errors(reference, hypothesis) == ErrorCounts(words, *cp)


def test_counts_add_up_and_are_frozen():
    total = sum([ErrorCounts(4, 1, 0, 0), ErrorCounts(6, 0, 2, 3)], ErrorCounts())
    assert total == ErrorCounts(10, 1, 2, 3)
    assert total.errors == 6
    assert total.percent == 60.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        total.words = 1


def test_no_words_have_no_rate():
    assert ErrorCounts(insertions=2).percent is None


def test_no_warning_for_each_utterance(caplog, capfd):
    cp_errors(["a", "b"], ["b"])
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


# reference, hypothesis, characters, (sub, del, ins) of characters
CHARACTERS = {
    "right": (["a bc", "d"], ["d", "a bc"], 5, (0, 0, 0)),
    "a lost blank": (["ab c"], ["abc"], 4, (0, 1, 0)),
    "blanks at the ends and double ones": (["a  b "], [" a b"], 3, (0, 0, 0)),
    "a stream too many": (["ab"], ["ab", "c d"], 2, (0, 0, 3)),
    "a stream too few": (["ab", "c d"], ["ab"], 5, (0, 3, 0)),
    "missing": (["ab", "c d"], [], 5, (0, 5, 0)),
    "empty": (["ab", "c d"], [""], 5, (0, 5, 0)),
    # Words decide who is who: the second stream has one right word of the first talker.
    "words match": (["cat dog", "xyz"], ["cat xyz", "dog"], 10, (6, 0, 0)),
}


@pytest.mark.parametrize("case", CHARACTERS)
def test_characters(case):
    reference, hypothesis, length, expected = CHARACTERS[case]
    assert character_errors(reference, hypothesis) == ErrorCounts(length, *expected)


def _draw(rng):
    words = ["a", "ab", "bab", "ä"]
    return [
        " ".join(rng.choices(words, k=rng.randint(0, 3)))
        for _ in range(rng.randint(1, 4))
    ]


def test_characters_are_meetevals():
    rng = random.Random(0)
    for _ in range(100):
        reference, hypothesis = _draw(rng), _draw(rng)
        errors = 0
        for talker, stream in match_talkers(reference, hypothesis).assignment:
            said = "" if talker is None else reference[talker]
            written = "" if stream is None else hypothesis[stream]
            if said and written:
                errors += siso_character_error_rate(said, written).errors
            else:
                errors += len(said + written)
        assert character_errors(reference, hypothesis).errors == errors


# reference, hypothesis, talkers, missed, false alarms
TALKERS = {
    "right": (["a", "b"], ["b", "a"], 2, 0, 0),
    "all words wrong": (["a", "b"], ["x", "y z"], 2, 0, 0),
    "missing": (["a", "b"], [], 2, 2, 0),
    "empty": (["a", "b"], [""], 2, 2, 0),
    "an empty stream": (["a", "b"], ["a", ""], 2, 1, 0),
    "a surplus stream": (["a"], ["b", "a"], 1, 0, 1),
    "an empty surplus stream": (["a"], ["a", ""], 1, 0, 0),
    "words for a silent talker": (["a", ""], ["a", "b"], 1, 0, 1),
}


@pytest.mark.parametrize("case", TALKERS)
def test_talkers(case):
    reference, hypothesis, *expected = TALKERS[case]
    assert talker_errors(reference, hypothesis) == TalkerErrors(*expected)


def test_talkers_are_those_of_the_matching():
    rng = random.Random(0)
    for _ in range(200):
        reference, hypothesis = _draw(rng), _draw(rng)
        missed = alarms = 0
        for talker, stream in match_talkers(reference, hypothesis).assignment:
            said = talker is not None and bool(reference[talker])
            written = stream is not None and bool(hypothesis[stream])
            missed += said and not written
            alarms += written and not said
        got = talker_errors(reference, hypothesis)
        assert (got.missed, got.false_alarms) == (missed, alarms)


def test_talker_errors_add_up():
    total = sum([TalkerErrors(2, 1, 0), TalkerErrors(3, 0, 1)], TalkerErrors())
    assert total == TalkerErrors(5, 1, 1)
    assert total.percent(total.missed) == 20.0
    assert TalkerErrors(0, 0, 2).percent(2) is None
