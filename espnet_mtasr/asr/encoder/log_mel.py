"""Whisper's log-mel spectrogram of padded batches; rows don't depend on each other.

Features: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision",
2022 (arXiv 2212.04356), as `transformers.WhisperFeatureExtractor` computes them.
"""

from typing import Tuple

import torch
from transformers.audio_utils import mel_filter_bank

from espnet_mtasr.asr.padding import valid_mask

RATE = 16000
WINDOW = 400
HOP = 160
MARGIN = WINDOW // 2


def reflected(xs_pad: torch.Tensor, ilens: torch.Tensor) -> torch.Tensor:
    """Add `MARGIN` samples before and after each row, mirrored at its own two ends.

    Args:
        xs_pad: `(B, N)` with N above `MARGIN`; samples beyond a row's length are
            ignored.
        ilens: `(B,)`.

    Returns:
        `(B, N + 2 MARGIN)`, zero after the mirrored end.
    """
    xs_pad = xs_pad.masked_fill(~valid_mask(ilens, xs_pad.size(1)), 0.0)
    steps = torch.arange(MARGIN, device=xs_pad.device)
    before = xs_pad[:, 1 : MARGIN + 1].flip(1)
    source = ilens[:, None] - 2 - steps
    behind = xs_pad.gather(1, source.clamp(min=0)).masked_fill(source < 0, 0.0)
    padded = torch.nn.functional.pad(torch.cat([before, xs_pad], 1), (0, MARGIN))
    return padded.scatter(1, ilens[:, None] + MARGIN + steps, behind)


class WhisperLogMel(torch.nn.Module):
    """Log-mel spectrogram, 100 frames per second of 16 kHz audio.

    Args:
        num_mel_bins: 80, or 128 for large-v3 and turbo.
    """

    def __init__(self, num_mel_bins: int):
        super().__init__()
        filters = mel_filter_bank(
            num_frequency_bins=1 + WINDOW // 2,
            num_mel_filters=num_mel_bins,
            min_frequency=0.0,
            max_frequency=RATE / 2,
            sampling_rate=RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        # Not buffers, so a model in half precision doesn't convert them.
        self.filters = torch.from_numpy(filters).float()
        self.window = torch.hann_window(WINDOW)

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Compute the features, in float32.

        Args:
            xs_pad: `(B, N)` samples.
            ilens: `(B,)`.

        Returns:
            `(B, T, M)`, zero after each row, and frames `(B,)`, 0 below `HOP` samples.
        """
        with torch.autocast(xs_pad.device.type, enabled=False):
            return self._compute(xs_pad, ilens)

    def power(self, samples: torch.Tensor) -> torch.Tensor:
        """Map `(B, N)` to the power spectra `(B, F, T)` of all windows."""
        window = self.window.to(samples.device)
        spectrum = torch.stft(
            samples, WINDOW, HOP, window=window, center=False, return_complex=True
        )
        return torch.view_as_real(spectrum).square().sum(-1)

    def _compute(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        missing = max(0, MARGIN + 1 - xs_pad.size(1))
        xs_pad = torch.nn.functional.pad(xs_pad.float(), (0, missing))
        # Whisper drops the last window.
        power = self.power(reflected(xs_pad, ilens))[..., :-1]
        filters = self.filters.to(xs_pad.device)
        features = (power.transpose(1, 2) @ filters).clamp(min=1e-10).log10()
        frames = torch.div(ilens, HOP, rounding_mode="floor")
        padding = ~valid_mask(frames, features.size(1))[..., None]
        loudest = features.masked_fill(padding, -10.0).amax((1, 2), keepdim=True)
        features = (torch.maximum(features, loudest - 8.0) + 4.0) / 4.0
        return features.masked_fill(padding, 0.0), frames
