"""Whisper's encoder (Hugging Face format) cut in two: a trunk and a branch per count.

Model: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision",
2022 (arXiv 2212.04356), the encoder of `transformers.WhisperModel`. Whisper pads all
audio to 30 seconds. Here positions are cut to the length of the input, and rows are
masked, so a row's output depends neither on padding nor on its batch.
"""

import copy
import math
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import torch
from transformers import WhisperConfig, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder, sinusoids

from espnet_mtasr.asr.checkpointing import layer_caller
from espnet_mtasr.asr.encoder.abs_routable import (
    AbsBranch,
    AbsTrunk,
    TrunkOutput,
    check_length,
)
from espnet_mtasr.asr.encoder.log_mel import HOP, RATE, WhisperLogMel
from espnet_mtasr.asr.encoder.pretrained_parts import (
    load_weights,
    read_config,
    run_layers,
    trunk_layers,
    use_sdpa,
)
from espnet_mtasr.asr.encoder.routed_encoder import RoutedEncoder
from espnet_mtasr.asr.padding import padding_mask, valid_mask
from espnet_mtasr.errors import UserError

# Frames of the spectrogram per frame of the encoder.
STRIDE = 2


def whisper_output_lengths(samples: torch.Tensor) -> torch.Tensor:
    """Return frames `(B,)` of Whisper's encoder, 50 per second, for samples `(B,)`."""
    frames = torch.div(samples, HOP, rounding_mode="floor")
    return torch.div(frames + STRIDE - 1, STRIDE, rounding_mode="floor")


def pooled_lengths(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Return frames `(B,)` after `pool`."""
    return torch.div(lengths + size - 1, size, rounding_mode="floor")


def pool(
    hidden: torch.Tensor, lengths: torch.Tensor, size: int
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Average every `size` frames; a row's last average is over the remaining frames.

    Args:
        hidden: `(B, T, D)`.
        lengths: `(B,)`.
        size: Frames per average.

    Returns:
        `(B, T', D)` and lengths `(B,)`.
    """
    if size == 1:
        return hidden, lengths
    mask = valid_mask(lengths, hidden.size(1))[..., None].to(hidden.dtype)
    sums = _sum_each(hidden * mask, size)
    counts = _sum_each(mask, size).clamp(min=1.0)
    return sums / counts, pooled_lengths(lengths, size)


def _sum_each(frames: torch.Tensor, size: int) -> torch.Tensor:
    groups = (frames.size(1) + size - 1) // size
    padded = torch.nn.functional.pad(frames, (0, 0, 0, size - 1))
    return sum(padded[:, k::size][:, :groups] for k in range(size))


class WhisperTrunk(AbsTrunk):
    """Whisper's spectrogram, convolutions, positions and first `num_layers` layers.

    Args:
        encoder: The whole encoder; its parts are reused.
        num_layers: Transformer layers of the trunk, from 1.
        gradient_checkpointing: See `RoutedWhisperEncoder`.
    """

    # Half-precision samples have rounding noise that shows in log-mel features.
    input_dtype = torch.float32
    right_in_cpu_bfloat16 = True

    def __init__(
        self,
        encoder: WhisperEncoder,
        num_layers: int,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        # Cached outputs don't depend on this setting, hence the underscore.
        self._call = layer_caller(gradient_checkpointing)
        self.config = encoder.config
        self.log_mel = WhisperLogMel(encoder.config.num_mel_bins)
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        self.embed_positions = encoder.embed_positions
        self.layers = encoder.layers[:num_layers]

    def output_size(self) -> int:
        """Width D of the output."""
        return self.config.d_model

    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Frames `(B,)` for `ilens` `(B,)` samples."""
        return whisper_output_lengths(ilens)

    def features_size(self) -> int:
        """Width of the convolutions' output."""
        return self.config.d_model

    def max_samples(self) -> int:
        """Longest input by the number of positions: 30 seconds."""
        return self.config.max_source_positions * STRIDE * HOP

    def forward(self, xs_pad: torch.Tensor, ilens: torch.Tensor) -> TrunkOutput:
        """Encode waveforms.

        Args:
            xs_pad: `(B, N)` samples at 16 kHz.
            ilens: `(B,)` samples.

        Raises:
            UserError: a waveform is longer than Whisper's positions.
            ValueError: `xs_pad` isn't `(B, N)`.
        """
        if xs_pad.dim() != 2:
            raise ValueError(f"expected waveforms (B, N), got {tuple(xs_pad.shape)}")
        if not torch.compiler.is_exporting():
            check_length(xs_pad.size(1), self.max_samples())
        mel, frames = self.log_mel(xs_pad, ilens)
        features = self._convolve(mel.to(self.conv1.weight.dtype), frames)
        lengths = self.output_lengths(ilens)
        positions = self.embed_positions.weight[: features.size(1)]
        hidden = torch.nn.functional.dropout(
            features + positions, self.config.dropout, self.training
        )
        mask = padding_mask(lengths, hidden.size(1))
        hidden = run_layers(self._call, self.layers, hidden, mask)
        return TrunkOutput(hidden, lengths, None, features)

    def _convolve(self, mel: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """Map `(B, T, M)` with frames `(B,)` to `(B, T / 2, D)`."""
        hidden = torch.nn.functional.gelu(self.conv1(mel.transpose(1, 2)))
        # The convolution's own padding gives the same to a row alone.
        hidden = hidden * valid_mask(frames, hidden.size(2))[:, None]
        return torch.nn.functional.gelu(self.conv2(hidden)).transpose(1, 2)


class WhisperBranch(AbsBranch):
    """An independent copy of Whisper's layers above the trunk, and its final norm.

    Args:
        encoder: The whole encoder.
        num_trunk_layers: Number of the trunk's layers.
        gradient_checkpointing: See `RoutedWhisperEncoder`.
        pool_before: Average this many frames below the layers.
        pool_behind: Average this many frames above the layers.
    """

    def __init__(
        self,
        encoder: WhisperEncoder,
        num_trunk_layers: int,
        gradient_checkpointing: bool = False,
        pool_before: int = 1,
        pool_behind: int = 1,
    ):
        super().__init__()
        self._call = layer_caller(gradient_checkpointing)
        self.pool_before, self.pool_behind = pool_before, pool_behind
        self.layers = copy.deepcopy(encoder.layers[num_trunk_layers:])
        self.layer_norm = copy.deepcopy(encoder.layer_norm)

    def output_size(self) -> int:
        """Width D of the output."""
        return self.layer_norm.normalized_shape[0]

    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Frames `(B,)` after both averages."""
        return pooled_lengths(pooled_lengths(ilens, self.pool_before), self.pool_behind)

    def forward(self, trunk: TrunkOutput) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return `(B, T', D)` and lengths `(B,)`."""
        hidden, lengths = pool(trunk.hidden, trunk.lengths, self.pool_before)
        mask = padding_mask(lengths, hidden.size(1))
        hidden = run_layers(self._call, self.layers, hidden, mask)
        return pool(self.layer_norm(hidden), lengths, self.pool_behind)


class RoutedWhisperEncoder(RoutedEncoder):
    """`RoutedEncoder` over Whisper; every branch starts from its own upper layers.

    Args:
        input_size: Unused, kept for ESPnet's interface (waveforms: 1).
        talker_counts: One branch each.
        model: Folder in Hugging Face format, or a hub id: any size, English or
            multilingual. Its decoder isn't used.
        num_trunk_layers: Transformer layers of the trunk; None: half of them.
        whisper_conf: With `load_pretrained`, changes to the model's configuration (for
            example `dropout`); without, the whole configuration.
        load_pretrained: Load the weights; False draws them at random.
        pretrained_branches: False draws the branches' weights at random (an ablation).
        gradient_checkpointing: Compute the transformer layers again in the backward
            pass, to keep less in memory; loss and gradients stay the same.
        max_seconds: Longest input. Beyond 30 s, positions continue Whisper's sinusoids;
            its pretraining hasn't used them.
        pool_before: The branches read averages of this many frames of 20 ms, which
            lowers their cost accordingly.
        pool_behind: The separators read averages of this many of the branches' frames.
        branch_masking: See `RoutedEncoder`.

    Raises:
        UserError: the model can't be read or lacks weights, `whisper_conf` has an
            unknown key, a number is out of range, or `num_trunk_layers` leaves the
            trunk or the branches without a layer.
    """

    def __init__(
        self,
        input_size: int = 1,
        talker_counts: Sequence[int] = (2, 3),
        model: Optional[str] = None,
        num_trunk_layers: Optional[int] = None,
        whisper_conf: Optional[Dict[str, Any]] = None,
        load_pretrained: bool = True,
        pretrained_branches: bool = True,
        gradient_checkpointing: bool = False,
        max_seconds: float = 30.0,
        pool_before: int = 1,
        pool_behind: int = 1,
        branch_masking: Optional[Dict[str, Any]] = None,
    ):
        config = read_config(
            [WhisperConfig], model, whisper_conf, "whisper_conf", load_pretrained
        )
        use_sdpa(config, whisper_conf)
        _check_pools(pool_before, pool_behind)
        num_trunk_layers = trunk_layers(num_trunk_layers, config.encoder_layers)
        if load_pretrained:
            encoder = load_weights(
                WhisperModel, model, config, "whisper_conf", needed="encoder."
            ).get_encoder()
        else:
            encoder = WhisperEncoder(config)
        _extend_positions(encoder, max_seconds)
        # As in the published model, positions aren't trained.
        encoder.embed_positions.requires_grad_(False)
        super().__init__(
            WhisperTrunk(encoder, num_trunk_layers, gradient_checkpointing),
            {
                n: WhisperBranch(
                    encoder if pretrained_branches else WhisperEncoder(config),
                    num_trunk_layers,
                    gradient_checkpointing,
                    pool_before,
                    pool_behind,
                )
                for n in talker_counts
            },
            branch_masking,
        )

    def conf_without_pretrained(self) -> Dict[str, Any]:
        """Return `encoder_conf` entries to rebuild this encoder without model files."""
        return dict(load_pretrained=False, whisper_conf=self.trunk.config.to_dict())

    @classmethod
    def max_input(cls, max_seconds: float = 30.0, **conf: Any) -> int:
        """See `RoutedEncoder.max_input`; reads no file, as all Whispers take 30 s."""
        return _positions(max(30.0, max_seconds)) * STRIDE * HOP

    @classmethod
    def frame_counter(
        cls,
        input_size: int,
        pool_before: int = 1,
        pool_behind: int = 1,
        **conf: Any,
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """See `RoutedEncoder.frame_counter`; reads no file."""
        _check_pools(pool_before, pool_behind)
        return lambda samples: pooled_lengths(
            pooled_lengths(whisper_output_lengths(samples), pool_before), pool_behind
        )


def _positions(seconds: float) -> int:
    return math.ceil(seconds * RATE / (STRIDE * HOP))


def _extend_positions(encoder: WhisperEncoder, max_seconds: float) -> None:
    number = _positions(max_seconds)
    known = encoder.embed_positions.weight.detach()
    if number <= len(known):
        return
    extended = sinusoids(number, known.size(1)).to(known)
    same = known.is_meta or torch.allclose(extended[: len(known)], known, atol=1e-3)
    if not same:
        raise UserError(
            f"encoder_conf max_seconds: {max_seconds:g}: this model's positions aren't "
            f"sinusoids, so they can't be extended; give at most "
            f"{len(known) * STRIDE * HOP / RATE:g}"
        )
    encoder.embed_positions = torch.nn.Embedding.from_pretrained(extended)
    encoder.config.max_source_positions = number


def _check_pools(pool_before: int, pool_behind: int) -> None:
    for name, size in (("pool_before", pool_before), ("pool_behind", pool_behind)):
        if size < 1:
            raise UserError(f"encoder_conf {name}: {size}: give a number from 1")
