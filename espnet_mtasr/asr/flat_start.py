"""Flat start: CTC learns first from tokens that are placed evenly where talkers speak.

CTC lets a network write a token into any frame. If all talkers overlap, it first learns
how texts begin and end, and writes these tokens into the first and last frames, which
are the easiest to recognize. It stays there, and learns less from the audio. A flat
start, as for HMMs, tells it roughly where the words are: a talker's tokens share the
time of the talker's speech, by their lengths. (Zeyer, Schlueter and Ney, "Why does CTC
result in peaky behavior?", 2021, arXiv 2105.14849, say how CTC's alignments come
about.)
"""

from typing import Sequence

import numpy as np
import torch

from espnet_mtasr.asr.serialized_ctc import BLANK_ID

# The middle of a token's time is labeled with the token, the rest with blank.
TOKEN_SHARE = 0.5
ROUNDING = 1e-6


def place_evenly(tokens: Sequence[str], start: float, end: float) -> np.ndarray:
    """Return `(len(tokens), 2)` float32: start and end of each token.

    Args:
        tokens: Pieces of words, or characters; longer ones take more time.
        start: Of the talker's speech, as a fraction of the mixture.
        end: Of it.

    >>> place_evenly(["▁go", "▁home"], 0.25, 1.0).tolist()
    [[0.25, 0.5], [0.5, 1.0]]
    """
    lengths = np.array([_letters(token) for token in tokens])
    bounds = start + (end - start) * np.cumsum([0, *lengths]) / max(1, lengths.sum())
    return np.stack([bounds[:-1], bounds[1:]], axis=1).astype(np.float32)


def _letters(token: str) -> int:
    # <space> and the like are one character.
    return 1 if token.startswith("<") else max(1, len(token.lstrip("▁")))


def flat_start_loss(
    log_probs: Sequence[torch.Tensor],
    lengths: torch.Tensor,
    targets: Sequence[torch.Tensor],
    target_lengths: torch.Tensor,
    times: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Cross entropy with placed tokens, summed over frames, per token as CTC's loss.

    Args:
        log_probs: K tensors `(B, T, V)`.
        lengths: `(B,)` frames.
        targets: K tensors `(B, L_k)`.
        target_lengths: `(B, K)`.
        times: K tensors `(B, L_k, 2)` from `place_evenly`.

    Returns:
        `(B,)` nats per token.
    """
    total = torch.zeros(len(lengths), device=lengths.device)
    for k, frames in enumerate(log_probs):
        labels = frame_labels(
            lengths, targets[k], target_lengths[:, k], times[k], frames.size(1)
        )
        scores = frames.gather(-1, labels[..., None]).squeeze(-1)
        valid = torch.arange(frames.size(1), device=frames.device) < lengths[:, None]
        total = total - (scores * valid).sum(1)
    return total / target_lengths.sum(1).clamp(min=1)


def frame_labels(
    lengths: torch.Tensor,
    targets: torch.Tensor,
    target_lengths: torch.Tensor,
    times: torch.Tensor,
    num_frames: int,
) -> torch.Tensor:
    """Return token ids `(B, num_frames)`, blanks between; see `flat_start_loss`."""
    frames = torch.arange(num_frames, device=lengths.device)
    middles = (frames[None] + 0.5) / lengths.clamp(min=1)[:, None]
    centres = times.mean(-1)
    # At least half a frame, or a token between two frames' middles would be lost.
    reach = ((times[..., 1] - times[..., 0]) * TOKEN_SHARE / 2).clamp(
        min=0.5 / lengths.clamp(min=1)[:, None]
    )
    reach = reach + ROUNDING
    there = (
        torch.arange(targets.size(1), device=targets.device) < target_lengths[:, None]
    )
    # (B, T, L)
    within = (middles[..., None] - centres[:, None]).abs() <= reach[:, None]
    within = within & there[:, None]
    ids = torch.where(there, targets, torch.full_like(targets, BLANK_ID))
    return (within * ids[:, None]).amax(-1)
