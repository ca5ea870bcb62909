"""WavLM (Hugging Face format) cut in two: a trunk and a branch per talker count.

Model: Chen et al., "WavLM", IEEE JSTSP 2022, from `transformers.WavLMModel`.
The cut: Shi et al., Interspeech 2026 (arXiv 2603.10587), 12 + 12 layers of WavLM-Large.
"""

import copy
import json
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import torch
from transformers import WavLMConfig, WavLMModel

from espnet_mtasr.asr.checkpointing import layer_caller
from espnet_mtasr.asr.encoder.abs_routable import AbsBranch, AbsTrunk, TrunkOutput
from espnet_mtasr.asr.encoder.pretrained_parts import (
    load_weights,
    read_config,
    trunk_layers,
)
from espnet_mtasr.asr.encoder.routed_encoder import RoutedEncoder
from espnet_mtasr.asr.encoder.wavlm_attention import take_over_attention
from espnet_mtasr.asr.encoder.wavlm_convolutions import extract_features, field_of
from espnet_mtasr.asr.padding import padding_mask, valid_mask


def wavlm_output_lengths(config: WavLMConfig, samples: torch.Tensor) -> torch.Tensor:
    """Return frames `(B,)` of WavLM's convolutions for `samples` `(B,)`, from 0."""
    lengths = samples
    for kernel, stride in zip(config.conv_kernel, config.conv_stride):
        lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
    return lengths.clamp(min=0)


def receptive_field(config: WavLMConfig) -> int:
    """Return the number of samples that the first output frame reads."""
    return field_of(config.conv_kernel, config.conv_stride)


def normalize_samples(xs_pad: torch.Tensor, ilens: torch.Tensor) -> torch.Tensor:
    """Normalize each row's valid samples `(B, N)` to zero mean and unit variance."""
    padding = ~valid_mask(ilens, xs_pad.size(1))
    # In float16 a count above 65,504 is infinite.
    samples = xs_pad.float()
    count = ilens.clamp(min=1)[:, None]
    mean = samples.masked_fill(padding, 0.0).sum(1, keepdim=True) / count
    centred = (samples - mean).masked_fill_(padding, 0.0)
    norm = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return (centred * (norm.square() / count + 1e-7).rsqrt()).to(xs_pad.dtype)


class WavLMLayers:
    """How trunk and branches run WavLM's transformer layers."""

    take_layers = staticmethod(take_over_attention)

    @staticmethod
    def run_layers(
        call: Callable[..., Any],
        layers: torch.nn.ModuleList,
        hidden: torch.Tensor,
        mask: Optional[torch.Tensor],
        context: Optional[torch.Tensor],
    ) -> torch.Tensor:
        """Map `(B, T, D)` to the same shape; mask `(B, T)` is False for padding."""
        for layer in layers:
            hidden, _ = call(layer, hidden, attention_mask=mask, position_bias=context)
        return hidden


class WavLMTrunk(WavLMLayers, AbsTrunk):
    """WavLM's convolutions, projection and first `num_layers` transformer layers.

    Args:
        wavlm: The whole model; its parts are reused.
        num_layers: Transformer layers of the trunk, from 1.
        do_normalize: Normalize each waveform, as preprocessor_config.json says.
        gradient_checkpointing: See `RoutedWavLMEncoder`.
    """

    def __init__(
        self,
        wavlm: WavLMModel,
        num_layers: int,
        do_normalize: bool,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        # Cached outputs don't depend on this setting, hence the underscore.
        self._call = layer_caller(gradient_checkpointing)
        self.config = wavlm.config
        self.do_normalize = do_normalize
        self.feature_extractor = wavlm.feature_extractor
        self.feature_projection = wavlm.feature_projection
        self.pos_conv_embed = wavlm.encoder.pos_conv_embed
        self.dropout = wavlm.encoder.dropout
        self.layers = self.take_layers(wavlm.encoder.layers[:num_layers])
        # Models with "stable layer norm" have it after the last layer: in the branch.
        self.layer_norm = (
            torch.nn.Identity()
            if wavlm.config.do_stable_layer_norm
            else wavlm.encoder.layer_norm
        )

    def output_size(self) -> int:
        """Width D of the output."""
        return self.config.hidden_size

    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Frames `(B,)` for `ilens` `(B,)` samples."""
        return wavlm_output_lengths(self.config, ilens)

    def forward(self, xs_pad: torch.Tensor, ilens: torch.Tensor) -> TrunkOutput:
        """Encode waveforms.

        Args:
            xs_pad: `(B, N)` samples at the rate of WavLM's training (16 kHz).
            ilens: `(B,)` samples.

        Raises:
            ValueError: `xs_pad` isn't `(B, N)`.
        """
        if xs_pad.dim() != 2:
            raise ValueError(f"expected waveforms (B, N), got {tuple(xs_pad.shape)}")
        if self.do_normalize:
            xs_pad = normalize_samples(xs_pad, ilens)
        lengths = self.output_lengths(ilens)
        features = self._convolve(xs_pad, ilens)
        hidden = self.feature_projection(features)
        # HuBERT's returns only the projection.
        if not torch.is_tensor(hidden):
            hidden = hidden[0]
        mask = padding_mask(lengths, hidden.size(1))
        if mask is not None:
            hidden = hidden.masked_fill(~mask[..., None], 0.0)
        hidden = hidden + self.pos_conv_embed(hidden)
        hidden = self.dropout(self.layer_norm(hidden))
        context = self.make_context(hidden.size(1))
        hidden = self.run_layers(self._call, self.layers, hidden, mask, context)
        return TrunkOutput(hidden, lengths, context, features)

    def features_size(self) -> int:
        """Width of the convolutions' output."""
        return self.config.conv_dim[-1]

    def make_context(self, frames: int) -> torch.Tensor:
        """Return relative position bias `(H, 2 T - 1)` by distance; T = `frames`."""
        return self.layers[0].attention.distance_bias(frames)

    def _convolve(self, xs_pad: torch.Tensor, ilens: torch.Tensor) -> torch.Tensor:
        """Return convolutional features `(B, T, C)`; at least one frame."""
        shortest = receptive_field(self.config)
        missing = max(0, shortest - xs_pad.size(1))
        xs_pad = torch.nn.functional.pad(xs_pad, (0, missing))
        return extract_features(self.feature_extractor, xs_pad, ilens)


class WavLMBranch(WavLMLayers, AbsBranch):
    """An independent copy of WavLM's layers above the trunk, and its final norm."""

    def __init__(
        self,
        wavlm: WavLMModel,
        num_trunk_layers: int,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        self._call = layer_caller(gradient_checkpointing)
        self.config = wavlm.config
        self.layers = self.take_layers(
            copy.deepcopy(wavlm.encoder.layers[num_trunk_layers:])
        )
        self.layer_norm = (
            copy.deepcopy(wavlm.encoder.layer_norm)
            if wavlm.config.do_stable_layer_norm
            else torch.nn.Identity()
        )

    def output_size(self) -> int:
        """Width D of the output."""
        return self.config.hidden_size

    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Return `ilens`: the number of frames stays the same."""
        return ilens

    def forward(self, trunk: TrunkOutput) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return `(B, T, D)` and lengths `(B,)`."""
        hidden, lengths = trunk.hidden, trunk.lengths
        mask = padding_mask(lengths, hidden.size(1))
        hidden = self.run_layers(self._call, self.layers, hidden, mask, trunk.context)
        return self.layer_norm(hidden), lengths


class RoutedWavLMEncoder(RoutedEncoder):
    """`RoutedEncoder` over WavLM; every branch starts from WavLM's own upper layers.

    Args:
        input_size: Unused, kept for ESPnet's interface (waveforms: 1).
        talker_counts: One branch each.
        model: Folder in Hugging Face format, or a hub id.
        num_trunk_layers: Transformer layers of the trunk; the rest are the branches'.
        wavlm_conf: With `load_pretrained`, changes to the model's configuration (for
            example `hidden_dropout`, but not `layerdrop`: a rank's branch might get no
            gradient); without, the whole configuration.
        do_normalize: Normalize waveforms; None follows preprocessor_config.json.
        load_pretrained: Load the weights; False draws them at random.
        pretrained_branches: False draws the weights of each branch at random, like a
            new WavLM; the trunk keeps the loaded ones (an ablation).
        gradient_checkpointing: Compute the transformer layers again in the backward
            pass, to keep less in memory; loss and gradients stay the same.
        branch_masking: See `RoutedEncoder`. WavLM's own masking, from its pretraining,
            isn't used.

    Raises:
        UserError: the model can't be read or lacks weights, `wavlm_conf` has an unknown
            key, or `num_trunk_layers` leaves the trunk or the branches without a layer.
    """

    def __init__(
        self,
        input_size: int = 1,
        talker_counts: Sequence[int] = (2, 3),
        model: Optional[str] = None,
        num_trunk_layers: int = 12,
        wavlm_conf: Optional[Dict[str, Any]] = None,
        do_normalize: Optional[bool] = None,
        load_pretrained: bool = True,
        pretrained_branches: bool = True,
        gradient_checkpointing: bool = False,
        branch_masking: Optional[Dict[str, Any]] = None,
    ):
        config = read_config(
            [WavLMConfig], model, wavlm_conf, "wavlm_conf", load_pretrained
        )
        num_trunk_layers = trunk_layers(num_trunk_layers, config.num_hidden_layers)
        if do_normalize is None:
            do_normalize = read_do_normalize(model, config)
        if load_pretrained:
            # Only masked pretraining uses this one, and some published models lack it.
            unused = ["masked_spec_embed"]
            wavlm = load_weights(
                WavLMModel, model, config, "wavlm_conf", optional=unused
            )
        else:
            wavlm = WavLMModel(config)
        super().__init__(
            WavLMTrunk(wavlm, num_trunk_layers, do_normalize, gradient_checkpointing),
            {
                n: WavLMBranch(
                    wavlm if pretrained_branches else WavLMModel(config),
                    num_trunk_layers,
                    gradient_checkpointing,
                )
                for n in talker_counts
            },
            branch_masking,
        )

    def conf_without_pretrained(self) -> Dict[str, Any]:
        """Return `encoder_conf` entries to rebuild this encoder without model files."""
        return dict(
            load_pretrained=False,
            wavlm_conf=self.trunk.config.to_dict(),
            do_normalize=self.trunk.do_normalize,
        )

    @classmethod
    def frame_counter(
        cls,
        input_size: int,
        model: Optional[str] = None,
        wavlm_conf: Optional[Dict[str, Any]] = None,
        load_pretrained: bool = True,
        **conf: Any,
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """See `RoutedEncoder.frame_counter`; reads the configuration only."""
        config = read_config(
            [WavLMConfig], model, wavlm_conf, "wavlm_conf", load_pretrained
        )
        return lambda samples: wavlm_output_lengths(config, samples)


def read_do_normalize(model: Optional[str], config: WavLMConfig) -> bool:
    """Read preprocessor_config.json; without it, return published models' setting."""
    by_default = config.feat_extract_norm == "layer"
    if model is None:
        return by_default
    if Path(model).is_dir():
        path = Path(model) / "preprocessor_config.json"
    else:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(model, "preprocessor_config.json")
        path = Path(cached) if isinstance(cached, str) else None
    if path is None or not path.is_file():
        return by_default
    return bool(json.loads(path.read_text(encoding="utf-8")).get("do_normalize", True))
