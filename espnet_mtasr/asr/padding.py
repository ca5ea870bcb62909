"""Masks and row selection for padded batches `(B, T, ...)` with lengths `(B,)`."""

from typing import Optional

import torch


def valid_mask(lengths: torch.Tensor, max_length: int) -> torch.Tensor:
    """Return `(B, max_length)` booleans, True where a row has data."""
    frames = torch.arange(max_length, device=lengths.device)
    return frames[None, :] < lengths[:, None]


def padding_mask(lengths: torch.Tensor, frames: int) -> Optional[torch.Tensor]:
    """Return a mask `(B, frames)`, False where a frame is padding; None: none is.

    A row without frames keeps one, because attention over nothing would be NaN.
    """
    mask = valid_mask(lengths.clamp(min=1), frames)
    # A compiled graph is the same for all batches.
    if not torch.compiler.is_compiling() and bool(mask.all()):
        return None
    return mask


def select_rows(
    padded: torch.Tensor, lengths: torch.Tensor, rows: torch.Tensor
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Select rows of a padded batch and cut the padding that they don't need.

    Args:
        padded: `(B, T, ...)`.
        lengths: `(B,)`.
        rows: `(B',)` indices, at least one.

    Returns:
        `(B', T', ...)` with T' the longest selected length (at least 1), `(B',)`.
    """
    lengths = lengths[rows]
    longest = max(1, int(lengths.max()))
    return padded[rows, :longest], lengths
