"""The two halves of a routed encoder: a shared trunk and a branch per talker count."""

from abc import ABC, abstractmethod
from typing import NamedTuple, Optional, Tuple

import torch

from espnet_mtasr.errors import UserError


class TrunkOutput(NamedTuple):
    """Output of a trunk, for the branches and the talker-count head.

    Attributes:
        hidden: `(B, T, D)`.
        lengths: `(B,)` valid frames per row; 0 for audio shorter than one frame.
        context: Anything else that the branches need and that doesn't depend on the row
            (WavLM: the position bias by distance `(H, 2 T - 1)`), or None.
        features: `(B, T, F)` input of the trunk's first layer (WavLM: the output of its
            convolutions), or None.
    """

    hidden: torch.Tensor
    lengths: torch.Tensor
    context: Optional[torch.Tensor] = None
    features: Optional[torch.Tensor] = None


def check_length(samples: int, most: Optional[int]) -> None:
    """Raise `UserError` if 16 kHz waveforms are longer than a trunk can read.

    Args:
        samples: Of the longest row.
        most: `AbsTrunk.max_samples`.
    """
    if most is not None and samples > most:
        seconds = most / 16000
        raise UserError(
            f"{samples / 16000:.1f} s of audio: the encoder reads at most {seconds:g} "
            "s; cut the recording, or train with more (encoder_conf max_seconds)"
        )


class AbsTrunk(torch.nn.Module, ABC):
    """Lower part of an encoder, shared by all talker counts.

    Attributes:
        input_dtype: Type of its input if it isn't the model's, or None.
        right_in_cpu_bfloat16: Whether autocast to bfloat16 is correct on a CPU; some of
            oneDNN's convolutions aren't.
        ends_in_cpu_float16: Whether it can be computed in float16 on a CPU; some of
            oneDNN's convolutions never finish.
    """

    input_dtype: Optional[torch.dtype] = None
    right_in_cpu_bfloat16: bool = False
    ends_in_cpu_float16: bool = True

    @abstractmethod
    def output_size(self) -> int:
        """Width D of the output."""

    @abstractmethod
    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Return output frames `(B,)` for `ilens` `(B,)` samples or frames."""

    @abstractmethod
    def forward(self, xs_pad: torch.Tensor, ilens: torch.Tensor) -> TrunkOutput:
        """Encode `(B, N)` samples or `(B, N, F)` features."""

    def features_size(self) -> Optional[int]:
        """Width F of `TrunkOutput.features`; None: the trunk has none."""
        return None

    def max_samples(self) -> Optional[int]:
        """Longest input; None: any length."""
        return None

    def make_context(self, frames: int) -> Optional[torch.Tensor]:
        """Return `TrunkOutput.context` for outputs of `frames` frames, without input.

        Cached outputs need it. None: the branches need no context from this trunk.
        """
        return None


class AbsBranch(torch.nn.Module, ABC):
    """Upper part of an encoder, one copy per talker count."""

    @abstractmethod
    def output_size(self) -> int:
        """Width D of the output."""

    @abstractmethod
    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Return output frames `(B,)` for `ilens` `(B,)` frames of the trunk."""

    @abstractmethod
    def forward(self, trunk: TrunkOutput) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return `(B, T', D)` and lengths `(B,)`."""
