"""Batches by the amount of audio, with similar shares for all ranks.

A share is one rank's part of a batch. Its size is that of its padded array: rows times
its longest mixture. While one rank processes the largest share of a batch, the others
wait for it. A step with only one talker count teaches the talker-count head to answer
with that count.

ESPnet's samplers that measure audio (`numel`, `length`) don't know talker counts, and
`folded`, which does, doesn't measure audio.
"""

from itertools import chain
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from espnet2.samplers.abs_sampler import AbsSampler

from espnet_mtasr.errors import UserError

Share = Tuple[str, ...]
# A share for each rank.
Batch = List[Share]
# An arrangement in which ranks wait for longer is rejected.
MAX_IDLE = 0.05


class AudioBatchSampler(AbsSampler):
    """Batches of a data set, in a different order for each epoch.

    A share has at most `max_samples / ranks`, or one mixture. The sampler uses the
    first of three arrangements in which every step has all talker counts and ranks
    hardly wait: one count per rank, different counts on different ranks; one count per
    batch, in turn; or all counts in each share, whose branches then run one after
    another.

    Args:
        samples: Length of each mixture.
        talker_counts: Talker count of each mixture.
        max_samples: Samples of a batch, including padding.
        ranks: Processes that share each batch.
        rank: Of this process.
        accum_grad: Batches of an optimizer step; None: there are no steps (validation),
            and the order is always the same.

    Attributes:
        batches: For all ranks.

    Raises:
        UserError: there are fewer mixtures than processes.
    """

    def __init__(
        self,
        samples: Mapping[str, int],
        talker_counts: Mapping[str, int],
        max_samples: int,
        ranks: int = 1,
        rank: int = 0,
        accum_grad: Optional[int] = None,
    ):
        self.samples = samples
        self.max_samples = max_samples
        self.ranks = ranks
        self.rank = rank
        self.accum_grad = accum_grad
        by_count: Dict[int, List[str]] = {}
        for utt in sorted(samples, key=lambda utt: (-samples[utt], utt)):
            by_count.setdefault(talker_counts[utt], []).append(utt)
        # The last one is cut so that the batches fill the last step.
        utts = [by_count[n] for n in sorted(by_count, key=lambda n: len(by_count[n]))]
        self.batches = (
            self._counts_beside_each_other(utts)
            or self._counts_in_turn(utts)
            or self._counts_in_each_share(utts)
        )
        self._counts = [
            sorted({talker_counts[utt] for share in batch for utt in share})
            for batch in self.batches
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Share]:
        return (batch[self.rank] for batch in self.batches)

    def generate(self, seed: int) -> List[Share]:
        """Return the shares of this rank in the order of an epoch."""
        if self.accum_grad is None:
            return list(self)
        return [self.batches[place][self.rank] for place in chain(*self._steps(seed))]

    def narrow_steps(self) -> int:
        """Count the steps of an epoch that lack a talker count."""
        known = len({count for counts in self._counts for count in counts})
        steps = [chain(*(self._counts[k] for k in step)) for step in self._steps(0)]
        return sum(len(set(counts)) < known for counts in steps)

    def _steps(self, seed: int) -> List[List[int]]:
        """Return each step's places in `batches`."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.batches)).tolist()
        # Sorted by talker counts and dealt like cards, so each step gets all of them.
        order.sort(key=self._counts.__getitem__)
        number = max(1, len(order) // (self.accum_grad or 1))
        return [order[k::number] for k in rng.permutation(number)]

    def _cut(self, utts: Sequence[Sequence[str]], unit: int) -> List[List[Share]]:
        """Return shares of each talker count, in units that together fill the steps."""
        limit = self.max_samples // self.ranks
        shares = [cut(group, self.samples, limit, unit) for group in utts[:-1]]
        whole = self.ranks * (self.accum_grad or 1)
        others = sum(map(len, shares))
        return [*shares, cut(utts[-1], self.samples, limit, whole, others)]

    def _counts_beside_each_other(self, utts: Sequence[Sequence[str]]) -> List[Batch]:
        shares = self._cut(utts, 1)
        number = sum(map(len, shares)) // self.ranks
        if len(utts) > self.ranks or not all(len(s) >= number > 0 for s in shares):
            return []
        queues = [by_size(group, self.samples)[::-1] for group in shares]
        batches = []
        for left in range(number, 0, -1):
            batch = [queue.pop() for queue in queues]
            while len(batch) < self.ranks:
                # Each of the remaining batches also needs one.
                free = [queue for queue in queues if len(queue) >= left]
                largest = max(free, key=lambda queue: size(queue[-1], self.samples))
                batch.append(largest.pop())
            batches.append(batch)
        return batches if idle(batches, self.samples) <= MAX_IDLE else []

    def _counts_in_turn(self, utts: Sequence[Sequence[str]]) -> List[Batch]:
        groups = [
            of_like_size(shares, self.samples, self.ranks)
            for shares in self._cut(utts, self.ranks)
        ]
        steps = 1
        if self.accum_grad is not None:
            steps = -(-sum(map(len, groups)) // self.accum_grad)
        fits = all(len(group) >= steps > 0 for group in groups)
        return list(chain(*groups)) if fits else []

    def _counts_in_each_share(self, utts: Sequence[Sequence[str]]) -> List[Batch]:
        places = {
            utt: (place + 0.5) / len(group)
            for group in utts
            for place, utt in enumerate(group)
        }
        mixed = sorted(places, key=lambda utt: (places[utt], utt))
        accum_grad = self.accum_grad or 1
        return cut_for_ranks(
            mixed, self.samples, self.max_samples, self.ranks, accum_grad
        )


def cut(
    utts: Sequence[str],
    samples: Mapping[str, int],
    max_samples: int,
    unit: int = 1,
    others: int = 0,
) -> List[Share]:
    """Cut mixtures into shares; none if there are too few mixtures.

    Args:
        utts: Sorted by similar length.
        samples: Length of each mixture.
        max_samples: Of a share, including padding; a longer mixture gets its own.
        unit: Together with `others`, the number of shares is a multiple of it; some
            shares are halved for this.
        others: Number of existing shares.
    """
    shares: List[Share] = []
    start = longest = 0
    for end, utt in enumerate(utts):
        longest = max(longest, samples[utt], 1)
        if end > start and (end + 1 - start) * longest > max_samples:
            shares.append(tuple(utts[start:end]))
            start, longest = end, max(samples[utt], 1)
    shares.append(tuple(utts[start:]))
    wanted = len(shares) + -(others + len(shares)) % unit
    if wanted > len(utts):
        return []
    while len(shares) < wanted:
        place = max(range(len(shares)), key=lambda k: len(shares[k]))
        half = (len(shares[place]) + 1) // 2
        shares[place : place + 1] = [shares[place][:half], shares[place][half:]]
    return shares


def cut_for_ranks(
    utts: Sequence[str],
    samples: Mapping[str, int],
    max_samples: int,
    ranks: int,
    accum_grad: int,
) -> List[Batch]:
    """Cut mixtures into batches that fill the steps, whatever their talker counts.

    Args:
        utts: Sorted by similar length.
        samples: Length of each mixture.
        max_samples: Of a batch, including padding. If there are too few mixtures for a
            multiple of `ranks`, some shares exceed theirs.
        ranks: Processes that share each batch.
        accum_grad: Batches of a step; few mixtures may not fill the last one.

    Raises:
        UserError: there are fewer mixtures than processes.
    """
    if len(utts) < ranks:
        raise UserError(
            f"batch_seconds: {len(utts)} mixtures are too few for {ranks} processes, "
            "which need one each; use fewer processes, or add mixtures"
        )
    limit = max_samples // ranks
    shares = cut(utts, samples, limit, ranks * accum_grad) or cut(
        utts, samples, limit, ranks
    )
    if not shares:
        shares = cut(utts, samples, limit)
        for _ in range(len(shares) % ranks):
            *shares, large, small = by_size(shares, samples)
            shares.append(large + small)
    return of_like_size(shares, samples, ranks)


def of_like_size(
    shares: Sequence[Share], samples: Mapping[str, int], ranks: int
) -> List[Batch]:
    """Return batches whose shares take the ranks about the same time."""
    if ranks > 1:
        shares = by_size(shares, samples)
    return [list(shares[k : k + ranks]) for k in range(0, len(shares), ranks)]


def by_size(shares: Sequence[Share], samples: Mapping[str, int]) -> List[Share]:
    """Sort by size, the largest first."""
    return sorted(shares, key=lambda share: size(share, samples), reverse=True)


def size(share: Share, samples: Mapping[str, int]) -> int:
    """Return the samples of a share, including padding."""
    return len(share) * max(samples[utt] for utt in share)


def idle(batches: Sequence[Batch], samples: Mapping[str, int]) -> float:
    """Return the share of the ranks' time, from 0 to 1, spent waiting."""
    sizes = [[size(share, samples) for share in batch] for batch in batches]
    whole = sum(len(row) * max(row) for row in sizes)
    return 1.0 - sum(map(sum, sizes)) / max(whole, 1)
