"""Spans of frames and of channels set to 0 in training, as augmentation.

Source: Park et al., "SpecAugment", Interspeech 2019; with the spans of wav2vec 2.0's
fine-tuning (Baevski et al., NeurIPS 2020), whose number grows with an utterance's
length. ESPnet's `specaug` masks features before the trunk and counts padding.
"""

from typing import Any, Mapping, Optional

import torch

from espnet_mtasr.asr.padding import valid_mask
from espnet_mtasr.errors import UserError

NAME = "encoder_conf branch_masking"


class SpanMasking(torch.nn.Module):
    """Mask spans of frames and of channels; an identity outside training.

    A row of n valid frames gets `time_prob * n / time_length` spans of `time_length`
    frames on average, anywhere within its valid frames. Spans may overlap, so slightly
    less than the share `time_prob` is masked. Channels are masked in the same way,
    different ones in each row. No frames are masked in a row that isn't longer than a
    span.

    Args:
        time_prob: Share of the frames, from 0 to below 1; 0 masks none.
        time_length: Frames of a span.
        feature_prob: Share of the channels, from 0 to below 1; 0 masks none.
        feature_length: Channels of a span.

    Raises:
        UserError: an option is out of range.
    """

    def __init__(
        self,
        time_prob: float = 0.0,
        time_length: int = 10,
        feature_prob: float = 0.0,
        feature_length: int = 64,
    ):
        super().__init__()
        for option, prob in (("time_prob", time_prob), ("feature_prob", feature_prob)):
            if not isinstance(prob, (int, float)) or not 0.0 <= prob < 1.0:
                raise UserError(f"{NAME} {option}: {prob}; give 0 to below 1")
        for option, length in (
            ("time_length", time_length),
            ("feature_length", feature_length),
        ):
            if not isinstance(length, int) or length < 1:
                raise UserError(f"{NAME} {option}: {length}; give a number from 1")
        self.time_prob = time_prob
        self.time_length = time_length
        self.feature_prob = feature_prob
        self.feature_length = feature_length

    def forward(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Mask `(B, T, D)` with lengths `(B,)`."""
        if not self.training:
            return hidden
        rows, frames, channels = hidden.shape
        if self.time_prob > 0.0:
            spans = draw_spans(lengths, frames, self.time_prob, self.time_length)
            hidden = hidden.masked_fill(spans[:, :, None], 0.0)
        if self.feature_prob > 0.0:
            sizes = torch.full_like(lengths, channels)
            spans = draw_spans(sizes, channels, self.feature_prob, self.feature_length)
            hidden = hidden.masked_fill(spans[:, None, :], 0.0)
        return hidden


def draw_spans(
    sizes: torch.Tensor, size: int, prob: float, length: int
) -> torch.Tensor:
    """Draw spans `(B, size)`, True inside a span, with torch's random numbers.

    Args:
        sizes: `(B,)` valid places of each row.
        size: Places of the padded row.
        prob: Share of places that spans without overlap would cover.
        length: Places of a span; a row that isn't longer has none.
    """
    rows = len(sizes)
    device = sizes.device
    # Rounded up or down at random, so the share is right on average.
    wanted = (prob * sizes / length + torch.rand(rows, device=device)).floor().long()
    wanted = wanted.masked_fill(sizes <= length, 0)
    most = int(wanted.max())
    room = (sizes - length + 1).clamp(min=1)[:, None]
    starts = (torch.rand(rows, most, device=device) * room).long()
    drawn = valid_mask(wanted, most)
    places = torch.arange(size, device=device)
    inside = (places >= starts[..., None]) & (places < starts[..., None] + length)
    return (inside & drawn[..., None]).any(1)


def build_masking(conf: Optional[Mapping[str, Any]]) -> Optional[SpanMasking]:
    """Build the masking from `branch_masking`; None without options.

    Raises:
        UserError: an option doesn't exist or is out of range.
    """
    if not conf:
        return None
    known = ("time_prob", "time_length", "feature_prob", "feature_length")
    unknown = [key for key in conf if key not in known]
    if unknown:
        raise UserError(
            f"{NAME}: has no option {unknown[0]}; it has {', '.join(known)}"
        )
    return SpanMasking(**conf)
