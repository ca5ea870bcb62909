"""Batches by the amount of audio: what they hold, whatever the lengths are."""

import random

import pytest

from espnet_mtasr.errors import UserError
from espnet_mtasr.train.batches import AudioBatchSampler


def make(lengths, max_samples, min_rows=1):
    """Batches of mixtures `COUNT-k` with these lengths, by talker count."""
    samples = {f"{n}-{k}": s for n, row in lengths.items() for k, s in enumerate(row)}
    counts = {utt: int(utt[0]) for utt in samples}
    sampler = AudioBatchSampler(samples, counts, max_samples, min_rows)
    assert len(sampler) == len(list(sampler))
    return [[samples[utt] for utt in batch] for batch in sampler]


def test_by_hand():
    """9 * 2 <= 20; 5 * 4 <= 20; 3 * 6 <= 20, but there are two left."""
    lengths = {2: [3, 9, 5, 2, 4, 8, 5, 4], 3: [30, 7, 6]}
    assert make(lengths, 20) == [[9, 8], [5, 5, 4, 4], [3, 2], [30], [7, 6]]


def test_the_last_batch_takes_from_the_one_before():
    """Two processes: [9, 8], [5, 5, 4, 4] and [3] would leave one with nothing."""
    assert make({2: [9, 8, 5, 5, 4, 4, 3]}, 20, 2) == [[9, 8], [5, 5, 4], [4, 3]]


def test_or_joins_the_one_before():
    """[5, 5, 4] can't give one of its three where a batch has to have three."""
    assert make({2: [5, 5, 4, 3]}, 16, 3) == [[5, 5, 4, 3]]


def test_a_mixture_that_is_longer_than_a_batch_has_the_fewest_rows():
    assert make({2: [50, 40, 3, 2]}, 10) == [[50], [40], [3, 2]]
    assert make({2: [50, 40, 3, 2]}, 10, 2) == [[50, 40], [3, 2]]


@pytest.mark.parametrize("seed", range(20))
def test_any_lengths(seed):
    rng = random.Random(seed)
    min_rows = rng.randint(1, 4)
    limit = rng.randint(1, 300)
    lengths = {
        n: [rng.randint(0, 60) for _ in range(rng.randint(min_rows, 40))]
        for n in (1, 2, 3)
    }
    samples = {f"{n}-{k}": s for n, row in lengths.items() for k, s in enumerate(row)}
    counts = {utt: int(utt[0]) for utt in samples}
    batches = list(AudioBatchSampler(samples, counts, limit, min_rows))
    # Each mixture once; one talker count a batch; the longest first.
    assert sorted(u for batch in batches for u in batch) == sorted(samples)
    for batch in batches:
        assert len({counts[utt] for utt in batch}) == 1
        assert len(batch) >= min_rows
        sizes = [samples[utt] for utt in batch]
        assert sizes == sorted(sizes, reverse=True)
        # The last of a count may have been joined: fewer than twice the fewest rows,
        # or as many as fit and fewer than the fewest more.
        if len(batch) * sizes[0] > limit:
            assert len(batch) < 2 * min_rows or (
                (len(batch) - min_rows + 1) * sizes[0] <= limit
            )
    backwards = dict(reversed(samples.items()))
    assert list(AudioBatchSampler(backwards, counts, limit, min_rows)) == batches


def test_fewer_mixtures_of_a_count_than_processes():
    with pytest.raises(UserError, match="1 mixtures of 3 talkers .* batches of 2 "):
        make({2: [5, 5], 3: [5]}, 100, 2)
