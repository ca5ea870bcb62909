"""Reduce the number of speech frames before a language model reads them.

Shi et al., Interspeech 2026 (arXiv 2603.10587) down-sample with strided convolutions
between encoder and language model; the exact form is ours.
"""

from typing import Tuple

import torch

from espnet_mtasr.asr.padding import valid_mask
from espnet_mtasr.errors import UserError


class LengthAdaptor(torch.nn.Module):
    """Convolutions of stride 2, each followed by GELU, and layer norm at the end.

    Args:
        size: Width D of input and output.
        downsample: 1, 2, 4 or 8 times fewer frames.

    Raises:
        UserError: any other `downsample`.
    """

    def __init__(self, size: int, downsample: int = 8):
        super().__init__()
        if downsample not in (1, 2, 4, 8):
            raise UserError(
                f"teacher_conf downsample: {downsample}; choose 1, 2, 4 or 8"
            )
        self.convolutions = torch.nn.ModuleList(
            torch.nn.Conv1d(size, size, kernel_size=3, stride=2, padding=1)
            for _ in range(downsample.bit_length() - 1)
        )
        self.layer_norm = torch.nn.LayerNorm(size)

    def forward(
        self, hidden: torch.Tensor, lengths: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Shorten `(B, T, D)` with lengths `(B,)` to `(B, T', D)` and `(B,)`."""
        for convolution in self.convolutions:
            mask = valid_mask(lengths, hidden.size(1))[..., None]
            hidden = hidden.masked_fill(~mask, 0.0).transpose(1, 2)
            hidden = torch.nn.functional.gelu(convolution(hidden)).transpose(1, 2)
            lengths = torch.div(lengths + 1, 2, rounding_mode="floor")
        return self.layer_norm(hidden), lengths
