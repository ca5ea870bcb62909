"""The bootstrap interval."""

import pytest

from espnet_mtasr.scoring.bootstrap import bootstrap_interval
from espnet_mtasr.scoring.error_counts import ErrorCounts

MIXED = [ErrorCounts(5, i % 3, 0, i % 2) for i in range(50)]


def test_same_seed_same_interval():
    assert bootstrap_interval(MIXED) == bootstrap_interval(MIXED)
    assert bootstrap_interval(MIXED) != bootstrap_interval(MIXED, seed=1)


def test_interval_holds_the_rate():
    low, high = bootstrap_interval(MIXED)
    rate = sum(MIXED, ErrorCounts()).percent
    # An utterance's errors have a standard deviation of 0.96, so the mean of 50 has
    # one of 0.136 errors or 2.7 % of 5 words; the half interval is 1.96 times that.
    assert low == pytest.approx(rate - 5.3, abs=0.8)
    assert high == pytest.approx(rate + 5.3, abs=0.8)


def test_equal_utterances_leave_no_doubt():
    assert bootstrap_interval([ErrorCounts(4, 1)] * 3) == (25.0, 25.0)


def test_two_utterances_give_three_possible_rates():
    # None, one or both draws are the wrong one: a quarter of the draws each end.
    assert bootstrap_interval([ErrorCounts(1), ErrorCounts(1, 1)]) == (0.0, 100.0)


def test_utterances_without_words():
    low, high = bootstrap_interval([ErrorCounts(), ErrorCounts(2, 1)])
    assert (low, high) == (50.0, 50.0)
    with pytest.raises(ValueError, match="no reference words"):
        bootstrap_interval([ErrorCounts(insertions=1)])
