"""The losses of each row of a batch, and the loss and statistics from them.

A batch's loss is the mean over the rows that can be aligned, and its weight is their
number, so two processes give the same result as one.
"""

from typing import Dict, Sequence, Tuple

import torch

from espnet_mtasr.asr.stream_writing import Writing

# Weight of a batch without any row that can be aligned. ESPnet divides by the sum of
# the weights over processes: 0 on all of them would be 0 / 0, and the gradients of the
# step's other micro-batches would be lost. Next to a row it is negligible, even in
# float32.
NO_ROWS = 1e-12


class RowLosses:
    """Losses of each row, before they are averaged.

    Args:
        counts: `(B,)` talker counts.
        num_streams: Of the largest count, if `put_writing` is used.

    Attributes:
        kept: `(B,)` whether the row can be aligned.
        ctc: `(B,)` serialized CTC's loss.
        ctc_for_training: The same, but including the flat start's share.
        sot: `(B,)` the teacher's loss.
        sot_correct: `(B,)` share of its tokens that are right.
        count: `(B,)` the talker-count head's loss.
        count_correct: `(B,)` 1 if its count is right.
        activity: `(B,)` its talker-activity loss.
        writing: `(B,)` each, by name: what stream k writes.
    """

    def __init__(self, counts: torch.Tensor, num_streams: int = 0):
        zeros = torch.zeros(len(counts), device=counts.device)
        self.counts = counts
        self.ctc = zeros
        self.ctc_for_training = zeros
        self.sot = zeros
        self.count = zeros
        self.activity = zeros
        self.sot_correct = zeros.clone()
        self.count_correct = zeros
        self.kept = torch.zeros_like(counts, dtype=torch.bool)
        self.writing = {
            f"{name}_stream{k}": zeros.clone()
            for k in range(1, num_streams + 1)
            for name in Writing._fields
        }

    def put_writing(self, at: torch.Tensor, streams: Sequence[Writing]) -> None:
        """Store what the streams of the rows at `at` write."""
        for k, writing in enumerate(streams, 1):
            for name, values in writing._asdict().items():
                self.writing[f"{name}_stream{k}"][at] = values

    def reduce(
        self,
        talker_counts: Sequence[int],
        ctc_weight: float,
        sot_weight: float,
        count_weight: float,
        activity_weight: float = 0.0,
    ) -> Tuple[torch.Tensor, Dict[str, torch.Tensor], float]:
        """Weight the losses and average over the kept rows.

        Returns:
            Loss, statistics and the number of kept rows; see `MTASRModel.forward`.
        """
        weight = float(self.kept.sum())

        def mean(values: torch.Tensor) -> torch.Tensor:
            # `where`, not a product, because a dropped row may have inf or NaN.
            total = torch.where(self.kept, values, torch.zeros_like(values)).sum()
            return total / max(weight, 1)

        loss = (
            ctc_weight * mean(self.ctc_for_training)
            + sot_weight * mean(self.sot)
            + count_weight * mean(self.count)
            + activity_weight * mean(self.activity)
        )
        # The same keys on every rank, or DDP hangs. A copy of the loss, because the
        # trainer divides the original in place by `accum_grad`.
        stats = dict(
            loss=loss.detach().clone() if weight else torch.zeros_like(loss),
            unalignable=1.0 - self.kept.float().mean(),
        )
        # Parts of the means, which add up over ranks; train/trainer.py turns them into
        # means over the rows of each talker count.
        kept_of = {count: self.kept & (self.counts == count) for count in talker_counts}
        for count, mask in kept_of.items():
            stats[f"share_{count}spk"] = mask.sum() / max(weight, 1)
        for name, used, values in (
            ("loss_ctc", ctc_weight > 0.0, self.ctc),
            ("loss_sot", sot_weight > 0.0, self.sot),
            ("acc_sot", sot_weight > 0.0, self.sot_correct),
            ("loss_count", count_weight > 0.0, self.count),
            ("acc_count", count_weight > 0.0, self.count_correct),
            ("loss_activity", activity_weight > 0.0, self.activity),
        ):
            if not used:
                continue
            stats[name] = mean(values).detach()
            for count, mask in kept_of.items():
                of_count = torch.where(mask, values, torch.zeros_like(values))
                stats[f"{name}_{count}spk_part"] = mean(of_count).detach()
        for name, values in self.writing.items():
            stream = int(name.rpartition("_stream")[2])
            for count, mask in kept_of.items():
                if stream <= count:
                    of_count = torch.where(mask, values, torch.zeros_like(values))
                    stats[f"{name}_{count}spk_part"] = mean(of_count).detach()
        return loss, stats, weight
