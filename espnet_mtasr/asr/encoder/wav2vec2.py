"""wav2vec 2.0, XLS-R and HuBERT (Hugging Face format), cut in two like WavLM.

Models: Baevski et al., "wav2vec 2.0", NeurIPS 2020 (arXiv 2006.11477); Babu et al.,
"XLS-R", 2021 (arXiv 2111.09296); Hsu et al., "HuBERT", 2021 (arXiv 2106.07447), from
`transformers`. They are like WavLM without its position biases.
"""

from typing import Any, Callable, Dict, Optional, Sequence

import torch
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
)

from espnet_mtasr.asr.encoder.pretrained_parts import (
    load_weights,
    read_config,
    run_layers,
    trunk_layers,
    use_sdpa,
)
from espnet_mtasr.asr.encoder.routed_encoder import RoutedEncoder
from espnet_mtasr.asr.encoder.wavlm import (
    WavLMBranch,
    WavLMTrunk,
    read_do_normalize,
    wavlm_output_lengths,
)
from espnet_mtasr.errors import UserError

KINDS = {Wav2Vec2Config: Wav2Vec2Model, HubertConfig: HubertModel}
OPTION = "wav2vec2_conf"


class Wav2Vec2Layers:
    """How trunk and branches run transformer layers without position biases."""

    @staticmethod
    def take_layers(layers: torch.nn.ModuleList) -> torch.nn.ModuleList:
        """Return the layers unchanged."""
        return layers

    @staticmethod
    def run_layers(
        call: Callable[..., Any],
        layers: torch.nn.ModuleList,
        hidden: torch.Tensor,
        mask: Optional[torch.Tensor],
        context: None,
    ) -> torch.Tensor:
        """See `WavLMLayers.run_layers`."""
        return run_layers(call, layers, hidden, mask)


class Wav2Vec2Trunk(Wav2Vec2Layers, WavLMTrunk):
    """Convolutions, projection and first layers; see `WavLMTrunk`."""

    def make_context(self, frames: int) -> None:
        """Return None: the branches need no context."""


class Wav2Vec2Branch(Wav2Vec2Layers, WavLMBranch):
    """An independent copy of the layers above the trunk; see `WavLMBranch`."""


class RoutedWav2Vec2Encoder(RoutedEncoder):
    """`RoutedEncoder` over wav2vec 2.0, XLS-R or HuBERT.

    Args:
        input_size: Unused, kept for ESPnet's interface (waveforms: 1).
        talker_counts: One branch each.
        model: Folder in Hugging Face format, or a hub id.
        num_trunk_layers: Transformer layers of the trunk; None: half of them.
        wav2vec2_conf: With `load_pretrained`, changes to the model's configuration;
            without, the whole configuration.
        do_normalize: Normalize waveforms; None follows preprocessor_config.json.
        load_pretrained: Load the weights; False draws them at random.
        pretrained_branches: False draws the branches' weights at random (an ablation).
        gradient_checkpointing: Compute the transformer layers again in the backward
            pass, to keep less in memory; loss and gradients stay the same.
        branch_masking: See `RoutedEncoder`. The models' own masking isn't used.

    Raises:
        UserError: the model can't be read or lacks weights, `wav2vec2_conf` has an
            unknown key, or `num_trunk_layers` leaves the trunk or the branches without
            a layer.
    """

    def __init__(
        self,
        input_size: int = 1,
        talker_counts: Sequence[int] = (2, 3),
        model: Optional[str] = None,
        num_trunk_layers: Optional[int] = None,
        wav2vec2_conf: Optional[Dict[str, Any]] = None,
        do_normalize: Optional[bool] = None,
        load_pretrained: bool = True,
        pretrained_branches: bool = True,
        gradient_checkpointing: bool = False,
        branch_masking: Optional[Dict[str, Any]] = None,
    ):
        config = read_config(list(KINDS), model, wav2vec2_conf, OPTION, load_pretrained)
        kind = KINDS[type(config)]
        use_sdpa(config, wav2vec2_conf)
        if getattr(config, "conv_pos_batch_norm", False):
            raise UserError(
                f"encoder_conf model: {model} normalizes positions over the batch, "
                f"which depends on padding; name another"
            )
        num_trunk_layers = trunk_layers(num_trunk_layers, config.num_hidden_layers)
        if do_normalize is None:
            do_normalize = read_do_normalize(model, config)
        # Only masked pretraining uses this one.
        unused = ["masked_spec_embed"]
        whole = (
            load_weights(kind, model, config, OPTION, optional=unused)
            if load_pretrained
            else kind(config)
        )
        super().__init__(
            Wav2Vec2Trunk(
                whole, num_trunk_layers, do_normalize, gradient_checkpointing
            ),
            {
                n: Wav2Vec2Branch(
                    whole if pretrained_branches else kind(config),
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
            wav2vec2_conf=self.trunk.config.to_dict(),
            do_normalize=self.trunk.do_normalize,
        )

    @classmethod
    def frame_counter(
        cls,
        input_size: int,
        model: Optional[str] = None,
        wav2vec2_conf: Optional[Dict[str, Any]] = None,
        load_pretrained: bool = True,
        **conf: Any,
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """See `RoutedEncoder.frame_counter`; reads the configuration only."""
        config = read_config(list(KINDS), model, wav2vec2_conf, OPTION, load_pretrained)
        return lambda samples: wavlm_output_lengths(config, samples)
