"""Batches by the amount of audio: what they hold, whatever the lengths are."""

import random
from itertools import chain

import pytest

from espnet_mtasr.errors import UserError
from espnet_mtasr.train.batches import AudioBatchSampler, cut, cut_for_ranks, idle, size

RATE = 16000


def librimix_like(number=6000, seed=0):
    """Samples and talker counts as LibriMix's of LibriSpeech: 3 of 5 have two talkers.

    Three of four utterances of LibriSpeech take 12 to 17 s, and a mixture as long as
    its last talker does.
    """
    rng = random.Random(seed)
    samples, counts = {}, {}
    for k in range(number):
        count = 2 if k % 5 < 3 else 3
        ends = []
        for onset in [0.0, rng.uniform(1.0, 1.5), rng.uniform(2.5, 3.0)][:count]:
            usual = rng.random() < 0.75
            seconds = rng.gauss(14.2, 1.4) if usual else rng.uniform(1.5, 11.5)
            ends.append(onset + min(max(seconds, 1.5), 24.5))
        samples[f"{count}-{k}"] = int(max(ends) * RATE)
        counts[f"{count}-{k}"] = count
    return samples, counts


SAMPLES, COUNTS = librimix_like()


def sampler_of(ranks, accum_grad, seconds=60, samples=SAMPLES, counts=COUNTS):
    """A sampler with `seconds` of audio a process, as rank 0 has it."""
    limit = ranks * seconds * RATE
    return AudioBatchSampler(samples, counts, limit, ranks, 0, accum_grad)


def epoch_of(sampler, seed=1):
    """Batches of an epoch, put together from what each rank gets."""
    shares = []
    for rank in range(sampler.ranks):
        sampler.rank = rank
        shares.append(sampler.generate(seed))
    return list(zip(*shares, strict=True))


def steps_of(sampler, seed=1):
    """Mixtures of each optimizer step."""
    batches = epoch_of(sampler, seed)
    assert len(batches) == len(sampler) and len(batches) % sampler.accum_grad == 0
    return [
        list(chain(*chain(*batches[k : k + sampler.accum_grad])))
        for k in range(0, len(batches), sampler.accum_grad)
    ]


@pytest.mark.parametrize("accum_grad", [1, 2, 3, 8])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 8, 16])
def test_ranks_are_busy_and_every_step_has_all_counts(ranks, accum_grad):
    sampler = sampler_of(ranks, accum_grad)
    steps = steps_of(sampler)
    assert sorted(chain(*steps)) == sorted(SAMPLES)
    narrow = sum(len({COUNTS[utt] for utt in step}) < 2 for step in steps)
    # One or two processes may have steps of three mixtures: hardly ever of one count.
    assert narrow <= (0.01 * len(steps) if ranks * accum_grad < 3 else 0)
    assert idle(sampler.batches, SAMPLES) < 0.03
    shares = list(chain(*sampler.batches))
    sizes = [size(share, SAMPLES) for share in shares]
    assert max(sizes) <= 60 * RATE
    # Padding is no work either: 5 % with it where a rank's rows have one talker count.
    several = any(len({COUNTS[utt] for utt in share}) > 1 for share in shares)
    assert several == (ranks * accum_grad < 3 or (ranks, accum_grad) == (2, 2))
    whole = ranks * sum(max(size(s, SAMPLES) for s in b) for b in sampler.batches)
    assert 1.0 - sum(SAMPLES.values()) / whole < (0.07 if several else 0.05)


@pytest.mark.parametrize("ranks", [4, 8])
def test_shares_of_one_or_two_mixtures(ranks):
    """30 s a process: two rows of 14 s, or one of 16 s, never beside each other."""
    sampler = sampler_of(ranks, 2, seconds=30)
    assert idle(sampler.batches, SAMPLES) < 0.01
    assert sampler.narrow_steps() == 0


def test_17_rows_on_8_ranks():
    """17 s do for 17 rows of 1 s, but one of 8 ranks would have three."""
    samples = {f"{k:03d}": RATE for k in range(160)}
    sampler = AudioBatchSampler(samples, dict.fromkeys(samples, 2), 17 * RATE, 8)
    assert {len(share) for share in chain(*sampler.batches)} == {2}


def test_counts_of_other_lengths_are_not_beside_each_other():
    """30 s hold six mixtures of 5 s, but one of 16 s: half as much audio."""
    samples = {f"2-{k:03d}": 5 * RATE for k in range(960)}
    samples.update({f"3-{k:03d}": 16 * RATE for k in range(160)})
    counts = {utt: int(utt[0]) for utt in samples}
    sampler = sampler_of(4, 4, 30, samples, counts)
    assert all(len({utt[0] for utt in chain(*b)}) == 1 for b in sampler.batches)
    assert idle(sampler.batches, samples) == 0.0 and sampler.narrow_steps() == 0


def test_a_single_process_reads_one_count_at_a_time():
    sampler = sampler_of(1, 8)
    for seed in range(3):
        steps = epoch_of(sampler, seed)
        counts = ["".join({str(COUNTS[utt]) for utt in share}) for [share] in steps]
        assert set(counts) == {"2", "3"}
        # Three of five mixtures have two talkers.
        shares = [counts[k : k + 8].count("3") for k in range(0, len(counts), 8)]
        assert {3, 4} >= set(shares)


def test_an_epoch_depends_on_its_number_alone():
    backwards = dict(reversed(SAMPLES.items()))
    one, other = sampler_of(2, 4), sampler_of(2, 4, samples=backwards)
    assert one.generate(1) != one.generate(2)
    assert one.generate(3) == other.generate(3)
    # The same batches, but in other steps.
    assert sorted(epoch_of(one, 1)) == sorted(epoch_of(one, 2))
    steps = [{tuple(sorted(step)) for step in steps_of(one, seed)} for seed in (1, 2)]
    assert not steps[0] & steps[1]


def test_validation_has_no_steps_and_one_order():
    sampler = sampler_of(2, None)
    assert sampler.generate(1) == sampler.generate(2) == list(sampler)
    assert sorted(chain(*chain(*sampler.batches))) == sorted(SAMPLES)


def lengths_cut(lengths, limit, unit=1, others=0):
    samples = {f"{k:03d}": n for k, n in enumerate(lengths)}
    shares = cut(list(samples), samples, limit, unit, others)
    return [[samples[utt] for utt in share] for share in shares]


def test_cut_by_hand():
    """9 * 2 <= 20; 5 * 4 <= 20; 3 * 6 <= 20, but there are two left."""
    lengths = [9, 8, 5, 5, 4, 4, 3, 2]
    assert lengths_cut(lengths, 20) == [[9, 8], [5, 5, 4, 4], [3, 2]]
    assert lengths_cut([50, 40, 3, 2], 10) == [[50], [40], [3, 2]]
    # What comes may be longer than what was.
    assert lengths_cut([3, 4, 7, 6], 14) == [[3, 4], [7, 6]]
    assert lengths_cut([0, 0, 0], 2) == [[0, 0], [0]]


def test_shares_are_halved_for_their_number():
    lengths = [9, 8, 5, 5, 4, 4, 3, 2]
    assert lengths_cut(lengths, 20, 4) == [[9, 8], [5, 5], [4, 4], [3, 2]]
    # With one that there is, six.
    assert lengths_cut(lengths, 20, 3, 1) == [[9], [8], [5, 5], [4, 4], [3, 2]]
    assert lengths_cut(lengths, 20, 9) == []


def test_the_smallest_are_joined_where_mixtures_are_few():
    samples = dict(a=20, b=19, c=9, d=8, e=7)
    batches = cut_for_ranks(list(samples), samples, 40, 2, 3)
    assert batches == [[("a",), ("b",)], [("c", "d"), ("e",)]] or batches == [
        [("a",), ("b",)],
        [("c",), ("d", "e")],
    ]


@pytest.mark.parametrize("seed", range(40))
def test_any_lengths(seed):
    rng = random.Random(seed)
    ranks, accum_grad = rng.randint(1, 4), rng.choice([1, 2, 3, None])
    limit = rng.randint(1, 300)
    samples = {
        f"{n}-{k}": rng.randint(0, 60)
        for n in rng.sample((1, 2, 3), rng.randint(1, 3))
        for k in range(rng.randint(1, 40))
    }
    counts = {utt: int(utt[0]) for utt in samples}
    if len(samples) < ranks:
        with pytest.raises(UserError, match="too few"):
            AudioBatchSampler(samples, counts, limit, ranks, 0, accum_grad)
        return
    sampler = AudioBatchSampler(samples, counts, limit, ranks, 0, accum_grad)
    batches = epoch_of(sampler)
    assert all(share for batch in batches for share in batch)
    assert sorted(chain(*chain(*batches))) == sorted(samples)
    over = [s for s in chain(*batches) if size(s, samples) > max(limit // ranks, 1)]
    assert sum(len(share) > 1 for share in over) < ranks


def test_fewer_mixtures_than_processes():
    with pytest.raises(UserError, match="1 mixtures are too few for 2 processes"):
        AudioBatchSampler({"a": 5}, {"a": 2}, 100, 2)
