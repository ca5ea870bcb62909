"""cpWER by overlap and by talker count."""

import pytest

from espnet_mtasr.scoring.breakdown import by_overlap, by_talkers, cpwer_by_talkers
from espnet_mtasr.scoring.error_counts import ErrorCounts


def test_overlap_edges_and_empty_bins():
    errors = {
        "u": ErrorCounts(4, 1, 0, 0),
        "v": ErrorCounts(2, 0, 0, 1),
        "w": ErrorCounts(8, 0, 2, 0),
        "x": ErrorCounts(8, 0, 0, 0),
    }
    bins = by_overlap(errors, {"u": 0.0, "v": 0.2, "w": 0.8, "x": 1.0})
    assert bins == [
        {"lo": 0.0, "hi": 0.2, "n_words": 4, "cpwer": 25.0},
        {"lo": 0.2, "hi": 0.4, "n_words": 2, "cpwer": 50.0},
        {"lo": 0.4, "hi": 0.6, "n_words": 0, "cpwer": None},
        {"lo": 0.6, "hi": 0.8, "n_words": 0, "cpwer": None},
        {"lo": 0.8, "hi": 1.0, "n_words": 16, "cpwer": 12.5},
    ]


@pytest.mark.parametrize("overlap", [-0.1, 1.1, float("nan")])
def test_overlap_outside_its_range(overlap):
    with pytest.raises(ValueError, match=r"u has overlap .* not in \[0, 1\]"):
        by_overlap({"u": ErrorCounts(1)}, {"u": overlap})


def test_counts_are_pooled_not_rates():
    errors = {"u": ErrorCounts(2, 1), "v": ErrorCounts(8), "w": ErrorCounts(5)}
    pooled = by_talkers(errors, {"u": 2, "v": 2, "w": 3})
    assert pooled == {2: ErrorCounts(10, 1), 3: ErrorCounts(5)}


def test_only_test_sets_count_where_there_are_any():
    test = {2: ErrorCounts(10, 1)}
    more = {2: ErrorCounts(30, 3), 3: ErrorCounts(4, 2)}
    dev = {2: ErrorCounts(10, 10)}
    sets = {"test_a": test, "test_b": more, "dev_a": dev}
    assert cpwer_by_talkers(sets, [2, 3]) == {"2": 10.0, "3": 50.0}
    assert cpwer_by_talkers({"dev_a": dev}, [2, 3]) == {"2": 100.0, "3": None}
