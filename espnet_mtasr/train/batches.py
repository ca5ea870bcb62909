"""Batches by the amount of audio, each of mixtures with one talker count.

One count a batch: under DistributedDataParallel every rank then runs the same branch.
ESPnet's samplers that measure audio (`numel`, `length`) know no talker counts, and
its `folded`, which does, measures none.
"""

from typing import Dict, Iterator, List, Mapping, Sequence, Tuple

from espnet2.samplers.abs_sampler import AbsSampler

from espnet_mtasr.errors import UserError


class AudioBatchSampler(AbsSampler):
    """Sort the mixtures of a talker count by length and cut where a batch is full.

    A batch's size is that of its padded array: rows times its longest mixture. It is
    at most `max_samples`, except where that would leave fewer than `min_rows` rows.

    Args:
        samples: Length of each mixture.
        talker_counts: Talker count of each mixture.
        max_samples: Samples of a batch, padding included.
        min_rows: Fewest mixtures of a batch: the number of processes that share it.

    Raises:
        UserError: a talker count has fewer than `min_rows` mixtures.
    """

    def __init__(
        self,
        samples: Mapping[str, int],
        talker_counts: Mapping[str, int],
        max_samples: int,
        min_rows: int = 1,
    ):
        by_count: Dict[int, List[str]] = {}
        for utt in samples:
            by_count.setdefault(talker_counts[utt], []).append(utt)
        self.batches: List[Tuple[str, ...]] = []
        for count, utts in sorted(by_count.items()):
            if len(utts) < min_rows:
                raise UserError(
                    f"batch_seconds: {len(utts)} mixtures of {count} talkers are too "
                    f"few for batches of {min_rows} (processes, or min_batch_size); "
                    f"use fewer processes, or add mixtures of {count} talkers"
                )
            utts.sort(key=lambda utt: (-samples[utt], utt))
            end = 0
            for size in batch_sizes([samples[u] for u in utts], max_samples, min_rows):
                self.batches.append(tuple(utts[end : end + size]))
                end += size

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tuple[str, ...]]:
        return iter(self.batches)


def batch_sizes(samples: Sequence[int], max_samples: int, min_rows: int) -> List[int]:
    """Rows of each batch, for lengths that begin with the longest."""
    sizes: List[int] = []
    start = 0
    while start < len(samples):
        fitting = max_samples // max(1, samples[start])
        sizes.append(min(max(min_rows, fitting), len(samples) - start))
        start += sizes[-1]
    lacking = min_rows - sizes[-1]
    if lacking > 0 and sizes[-2] - lacking >= min_rows:
        sizes[-2] -= lacking
        sizes[-1] += lacking
    elif lacking > 0:
        last = sizes.pop()
        sizes[-1] += last
    return sizes
