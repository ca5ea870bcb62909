"""Serialized CTC: one CTC head per stream, stream k for the k-th talker to begin.

Source: Shi et al., Interspeech 2026 (arXiv 2603.10587). The heads are ESPnet2's `CTC`.
"""

from itertools import groupby
from typing import List, Sequence

import torch
from espnet2.asr.ctc import CTC

BLANK_ID = 0


def required_frames(targets: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the minimum frames for CTC: one per token, and one more per repeat.

    Args:
        targets: `(B, L)` token ids, padding of any value.
        lengths: `(B,)`.

    Returns:
        `(B,)` frames.

    >>> required_frames(torch.tensor([[5, 5, 7], [5, 7, -1]]), torch.tensor([3, 2]))
    tensor([4, 2])
    """
    repeated = targets[:, 1:] == targets[:, :-1]
    last = torch.arange(1, max(1, targets.size(1)), device=targets.device)
    within = last[None, :] < lengths[:, None]
    return lengths + (repeated & within).sum(1)


def collapse(ids: Sequence[int]) -> List[int]:
    """Merge runs, then drop blanks: a token repeated across a blank stays twice.

    >>> collapse([0, 4, 4, 0, 4, 5, 5, 0])
    [4, 4, 5]
    """
    return [token for token, _ in groupby(ids) if token != BLANK_ID]


def collapse_rows(
    best: Sequence[torch.Tensor], lengths: torch.Tensor
) -> List[List[List[int]]]:
    """Collapse K tensors `(B, T)` of ids, lengths `(B,)`, to K lists for each row."""
    return [
        [collapse(ids[row, :n].tolist()) for ids in best]
        for row, n in enumerate(lengths.tolist())
    ]


class SerializedCTC(torch.nn.Module):
    """CTC heads of one talker count.

    Args:
        vocab_size: Tokens including the blank, which has id 0.
        input_size: Width E of a stream.
        num_talkers: Number of streams K.
    """

    def __init__(self, vocab_size: int, input_size: int, num_talkers: int):
        super().__init__()
        # ESPnet's CTC applies its dropout in evaluation too, hence 0.
        self.heads = torch.nn.ModuleList(
            CTC(
                odim=vocab_size,
                encoder_output_size=input_size,
                dropout_rate=0.0,
                reduce=False,
            )
            for _ in range(num_talkers)
        )

    @staticmethod
    def alignable(
        lengths: torch.Tensor,
        targets: Sequence[torch.Tensor],
        target_lengths: torch.Tensor,
    ) -> torch.Tensor:
        """Return which rows have enough frames for all their streams.

        Args:
            lengths: `(B,)` frames.
            targets: K tensors `(B, L_k)`.
            target_lengths: `(B, K)`.

        Returns:
            `(B,)` booleans.
        """
        needed = [
            required_frames(target, target_lengths[:, k])
            for k, target in enumerate(targets)
        ]
        return lengths >= torch.stack(needed).max(dim=0).values

    def forward(
        self,
        streams: Sequence[torch.Tensor],
        lengths: torch.Tensor,
        targets: Sequence[torch.Tensor],
        target_lengths: torch.Tensor,
    ) -> torch.Tensor:
        """Return each row's loss: negative log likelihood of streams / target lengths.

        Args:
            streams: K tensors `(B, T, E)`.
            lengths: `(B,)` frames.
            targets: K tensors `(B, L_k)`, padding of any value.
            target_lengths: `(B, K)`.

        Returns:
            `(B,)` nats per token; 0 for a row that can't be aligned.

        Raises:
            ValueError: the number of streams or targets is not K.
        """
        if not len(streams) == len(targets) == len(self.heads):
            raise ValueError(
                f"{len(self.heads)} heads, but {len(streams)} streams "
                f"and {len(targets)} targets"
            )
        total = torch.zeros(len(lengths), device=lengths.device)
        with torch.autocast(lengths.device.type, enabled=False):
            for k, (head, stream) in enumerate(zip(self.heads, streams)):
                per_row = head(
                    stream.float(), lengths, targets[k], target_lengths[:, k]
                )
                # CTC(reduce=False) has divided by the batch size.
                total = total + per_row * len(lengths)
        # CTC returns 0 only for the stream that can't be aligned, not for the others.
        alignable = self.alignable(lengths, targets, target_lengths)
        per_token = total / target_lengths.sum(1).clamp(min=1)
        return per_token.masked_fill(~alignable, 0.0)

    def log_probs(self, streams: Sequence[torch.Tensor]) -> List[torch.Tensor]:
        """Return log probabilities `(B, T, V)` of each stream."""
        return [h.log_softmax(s.float()) for h, s in zip(self.heads, streams)]

    def greedy_search(
        self, streams: Sequence[torch.Tensor], lengths: torch.Tensor
    ) -> List[List[List[int]]]:
        """Return the most probable token of each frame, collapsed.

        Returns:
            For each row, K lists of token ids.
        """
        best = [h.argmax(s.float()) for h, s in zip(self.heads, streams)]
        return collapse_rows(best, lengths)
