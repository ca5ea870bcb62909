"""Bidirectional LSTM over padded batches, without packed sequences.

PyTorch runs a packed sequence frame by frame on a CPU, but a padded one in oneDNN's
fused kernel (tools/bench/separator_and_ctc.py measures both). The backward direction
gets each row reversed within its own length, so padding comes last for both.
"""

import torch


class PaddedBLSTM(torch.nn.Module):
    """Layers of two LSTMs each, one per direction.

    Args:
        input_size: Width D of the input.
        hidden_size: Units H per direction.
        num_layers: Layers.
        dropout: Between the layers.
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int, dropout: float = 0.0
    ):
        super().__init__()
        widths = [input_size] + [2 * hidden_size] * (num_layers - 1)
        self.from_start, self.from_end = (
            torch.nn.ModuleList(
                torch.nn.LSTM(width, hidden_size, batch_first=True) for width in widths
            )
            for _ in range(2)
        )
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, xs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Map `(B, T, D)` with lengths `(B,)` to `(B, T, 2 H)`.

        Frames beyond a row's length are meaningless.
        """
        if xs.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # In bfloat16, oneDNN's LSTM is up to three times as slow.
            with torch.autocast("cpu", enabled=False):
                return self._read_both_ways(xs.float(), lengths)
        return self._read_both_ways(xs, lengths)

    def _read_both_ways(self, xs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        turned = turning_indices(lengths, xs.size(1))
        for k, (from_start, from_end) in enumerate(zip(self.from_start, self.from_end)):
            if k > 0:
                xs = self.dropout(xs)
            ahead, _ = from_start(xs)
            back, _ = from_end(take_frames(xs, turned))
            xs = torch.cat([ahead, take_frames(back, turned)], dim=-1)
        return xs


def turning_indices(lengths: torch.Tensor, max_length: int) -> torch.Tensor:
    """Return indices `(B, max_length)` that reverse each row and keep padding in place.

    >>> turning_indices(torch.tensor([3, 1]), 4).tolist()
    [[2, 1, 0, 3], [0, 1, 2, 3]]
    """
    frames = torch.arange(max_length, device=lengths.device)[None]
    lengths = lengths[:, None]
    return torch.where(frames < lengths, lengths - 1 - frames, frames)


def take_frames(xs: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Take the frames `indices` `(B, T)` of `xs` `(B, T, D)`."""
    return xs.gather(1, indices[..., None].expand(-1, -1, xs.size(-1)))
