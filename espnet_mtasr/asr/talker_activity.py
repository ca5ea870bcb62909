"""Talker activity: which talkers speak in a frame; a second task of the count head.

A talker count is only one label per mixture. If it is known when each talker speaks
(mixtures whose parts are known), every frame has labels too, and predicting them helps
to predict the count. Talkers are numbered by onset, so there is one right order of the
outputs, as in serialized CTC. The outputs are those of end-to-end diarization (Fujita
et al., "End-to-end neural speaker diarization with permutation-free objectives",
Interspeech 2019). They aren't used at inference.
"""

import torch

from espnet_mtasr.asr.padding import valid_mask


def active_frames(
    times: torch.Tensor, lengths: torch.Tensor, num_frames: int
) -> torch.Tensor:
    """Return in which frames talkers speak.

    Args:
        times: `(B, M, N, 2)` start and end of each talker's up to M turns, as fractions
            of the mixture; 0 and 0 for a turn that isn't there.
        lengths: `(B,)` frames.
        num_frames: T.

    Returns:
        `(B, T, N)`, 1.0 where the middle of a frame is within one of them.
    """
    frames = torch.arange(num_frames, device=lengths.device)
    middles = (frames + 0.5) / lengths.clamp(min=1)[:, None]
    middles = middles[..., None, None]
    start, end = times[:, None, ..., 0], times[:, None, ..., 1]
    return ((middles >= start) & (middles < end)).any(2).float()


def activity_loss(
    logits: torch.Tensor, lengths: torch.Tensor, times: torch.Tensor
) -> torch.Tensor:
    """Return binary cross entropy `(B,)`, the mean over frames and talkers.

    Args:
        logits: `(B, T, N)`.
        lengths: `(B,)` frames.
        times: `(B, M, N, 2)`, see `active_frames`.
    """
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, active_frames(times, lengths, logits.size(1)), reduction="none"
    ).mean(-1)
    mask = valid_mask(lengths, logits.size(1))
    return (losses * mask).sum(1) / lengths.clamp(min=1)
