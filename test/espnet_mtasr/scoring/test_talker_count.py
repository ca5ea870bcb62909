"""Confusion and accuracy of talker counts."""

import pytest

from espnet_mtasr.scoring.talker_count import count_accuracy, count_confusion


def test_every_known_count_has_a_row_and_a_column():
    assert count_confusion({"u": 2}, {"u": 2}, [2, 3]) == {
        "2": {"2": 1, "3": 0},
        "3": {"2": 0, "3": 0},
    }


def test_wrong_both_ways_missing_and_unknown_predictions():
    true = {"a": 2, "b": 2, "c": 3, "d": 3, "e": 3}
    confusion = count_confusion(true, {"a": 2, "b": 3, "c": 2, "d": 0}, [2, 3])
    assert confusion == {
        "2": {"0": 0, "2": 1, "3": 1},
        "3": {"0": 1, "2": 1, "3": 0, "missing": 1},
    }
    assert count_accuracy(confusion) == 20.0


def test_no_utterances():
    with pytest.raises(ValueError, match="no utterances"):
        count_accuracy({"2": {"2": 0}})
