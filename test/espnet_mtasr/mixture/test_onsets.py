"""Onset policies: ranges, and independence of order."""

import pytest

from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.metadata import MixtureRow
from espnet_mtasr.mixture.onsets import OnsetPolicy, add_onsets, parse_policy


def test_librimix_ranges():
    policy = OnsetPolicy("librimix")
    for i in range(200):
        first, second, third = policy.draw(3, 1, f"m{i}")
        assert first == 0
        assert 1.0 <= second <= 1.5
        assert 2.5 <= third <= 3.0


def test_successive_gaps_fill_their_range():
    policy = parse_policy(["successive", "0.5", "1.0"])
    gaps = []
    for i in range(300):
        onsets = policy.draw(3, 1, f"m{i}")
        gaps += [b - a for a, b in zip(onsets, onsets[1:])]
    assert 0.4999 <= min(gaps) < 0.51
    assert 0.99 < max(gaps) <= 1.0001


def test_none_and_single_talker():
    assert OnsetPolicy("none").draw(3, 1, "m") == (0.0, 0.0, 0.0)
    assert OnsetPolicy("librimix").draw(1, 1, "m") == (0.0,)


def test_a_mixture_does_not_depend_on_the_others():
    rows = [MixtureRow(f"m{i}", ("a", "b"), (1, 1), (0, 0)) for i in range(3)]
    policy = OnsetPolicy("librimix")
    onsets = {r.mixture_id: r.onsets for r in add_onsets(rows, policy, 7)}
    backwards = {r.mixture_id: r.onsets for r in add_onsets(rows[::-1], policy, 7)}
    assert onsets == backwards
    assert len(set(onsets.values())) == 3
    assert onsets != {r.mixture_id: r.onsets for r in add_onsets(rows, policy, 8)}


@pytest.mark.parametrize(
    "words, message",
    [
        (["later"], "choose one of"),
        (["successive", "1", "0.5"], "low <= high"),
        (["successive", "-1", "0.5"], "low <= high"),
        (["successive", "a", "b"], "two numbers"),
        (["successive", "1"], "two numbers"),
    ],
)
def test_bad_policy(words, message):
    with pytest.raises(UserError, match=message):
        parse_policy(words)
