"""Word errors of one mixture, worked out by hand."""

import dataclasses

import pytest

from espnet_mtasr.scoring.error_counts import ErrorCounts, cp_errors, fifo_errors

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
