"""What each talker of a batch's mixtures says, and how many there are."""

from typing import Dict, List, NamedTuple, Sequence

import torch


class TalkerTargets(NamedTuple):
    """CTC targets of a batch.

    Attributes:
        tokens: A tensor `(B, L_k)` per talker.
        lengths: `(B, K)` tokens of each talker; 0 for one who isn't there.
        counts: `(B,)` talkers.
    """

    tokens: List[torch.Tensor]
    lengths: torch.Tensor
    counts: torch.Tensor

    def of(self, count: int, rows: torch.Tensor) -> "TalkerTargets":
        """Return the targets of `rows`, which have `count` talkers."""
        return TalkerTargets(
            [tokens[rows] for tokens in self.tokens[:count]],
            self.lengths[rows, :count],
            self.counts[rows],
        )


def talker_targets(
    streams: Dict[str, torch.Tensor], talker_counts: Sequence[int]
) -> TalkerTargets:
    """Return the targets in a batch from MTASRPreprocessor.

    Args:
        streams: `text_spk1` ... `text_spkK` `(B, L_k)` and `text_spk1_lengths` ...
            `(B,)`, for K up to the largest talker count.
        talker_counts: Those that the model knows.

    Raises:
        ValueError: a stream is missing, a talker before the last has no words, or a
            mixture has another talker count.
    """
    names = [f"text_spk{k}" for k in range(1, max(talker_counts) + 1)]
    missing = [name for name in names if name not in streams]
    if missing:
        raise ValueError(f"{missing[0]} is missing; MTASRPreprocessor makes it")
    lengths = torch.stack([streams[f"{name}_lengths"] for name in names], dim=1)
    there = lengths > 0
    counts = there.sum(1)
    # A gap would give a talker another one's stream, and drop the last text.
    first = torch.arange(there.size(1), device=there.device) < counts[:, None]
    if not torch.equal(there, first):
        k = int((there != first).any(0).nonzero()[0]) + 1
        raise ValueError(
            f"text_spk{k} is empty, but a later talker has words; "
            f"every talker of an utterance needs words"
        )
    unknown = set(counts.tolist()) - set(talker_counts)
    if unknown:
        raise ValueError(
            f"talker counts {sorted(unknown)} in the batch, "
            f"the model knows {tuple(talker_counts)}"
        )
    return TalkerTargets([streams[name] for name in names], lengths, counts)
