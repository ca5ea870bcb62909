"""cpWER by overlap and by talker count."""

import pytest

from espnet_mtasr.scoring.breakdown import (
    EDGES,
    by_condition,
    by_gender,
    by_overlap,
    by_talkers,
    by_value,
    cpwer_by_talkers,
)
from espnet_mtasr.scoring.conditions import Conditions
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
    with pytest.raises(ValueError, match=r"u has value .* not in \[0, 1\]"):
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


def test_open_ends_and_unknown_values():
    errors = {u: ErrorCounts(2**k, 1) for k, u in enumerate("uvwxy")}
    values = {"u": -40.0, "v": 0.0, "w": 4.99, "x": 5.0, "y": None}
    bins = by_value(errors, values, (None, 0.0, 5.0, None))
    assert bins == [
        {"lo": None, "hi": 0.0, "n_words": 1, "cpwer": 100.0},
        {"lo": 0.0, "hi": 5.0, "n_words": 6, "cpwer": pytest.approx(100 / 3)},
        {"lo": 5.0, "hi": None, "n_words": 8, "cpwer": 12.5},
    ]
    with pytest.raises(ValueError, match=r"u has value nan, not in \[-inf, inf\]"):
        by_value(errors, {**values, "u": float("nan")}, (None, 0.0, None))
    with pytest.raises(ValueError, match=r"u has value -40.0, not in \[0, inf\]"):
        by_value(errors, values, (0.0, None))


def test_each_condition_has_its_bins():
    errors = {"u": ErrorCounts(10, 1), "v": ErrorCounts(10)}
    conditions = {
        "u": Conditions(onset_gap=1.0, level_difference=0.0),
        "v": Conditions(onset_gap=0.9999, level_difference=30.0),
    }
    for name, places in (("onset_gap", [2, 3]), ("level_difference", [0, 5])):
        bins = by_condition(errors, conditions, name)
        assert [b["lo"] for b in bins] == list(EDGES[name][:-1])
        assert [b["hi"] for b in bins] == list(EDGES[name][1:])
        assert [k for k, b in enumerate(bins) if b["n_words"]] == places
    assert by_condition(errors, conditions, "snr") == []


def test_genders():
    errors = {u: ErrorCounts(10, k) for k, u in enumerate("uvw")}
    kinds = {"u": "same", "v": "same", "w": None}
    conditions = {u: Conditions(genders=kind) for u, kind in kinds.items()}
    assert by_gender(errors, conditions) == [
        {"genders": "same", "n_words": 20, "cpwer": 5.0},
        {"genders": "mixed", "n_words": 0, "cpwer": None},
    ]
    assert by_gender(errors, {u: Conditions() for u in errors}) == []
