"""Any ESPnet encoders as trunk and branches: a Conformer below, Conformers above."""

import inspect
from typing import Any, Dict, Optional, Sequence, Tuple

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.legacy.nets.pytorch_backend.transformer.subsampling import (
    TooShortUttError,
)

from espnet_mtasr.asr.encoder.abs_routable import AbsBranch, AbsTrunk, TrunkOutput
from espnet_mtasr.asr.encoder.routed_encoder import RoutedEncoder
from espnet_mtasr.errors import UserError
from espnet_mtasr.open_choices import LazyChoices

# These are loaded without the rest of ESPnet's encoders.
encoder_choices = LazyChoices(
    "encoder",
    dict(
        branchformer="espnet2.asr.encoder.branchformer_encoder:BranchformerEncoder",
        conformer="espnet2.asr.encoder.conformer_encoder:ConformerEncoder",
        e_branchformer="espnet2.asr.encoder.e_branchformer_encoder:EBranchformerEncoder",
        transformer="espnet2.asr.encoder.transformer_encoder:TransformerEncoder",
    ),
    AbsEncoder,
    default="rnn",
    others="espnet2.tasks.asr",
)


def _encode(
    encoder: AbsEncoder, xs_pad: torch.Tensor, ilens: torch.Tensor
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Encode `(B, N, F)` with lengths `(B,)`, from 0, to `(B, T, D)` and `(B,)`.

    ESPnet's encoders can't take a row of length 0, and refuse a batch that is too short
    for subsampling; such a batch has no frames.
    """
    # A row without frames keeps one, as in WavLM's trunk.
    lengths = ilens.clamp(min=1)
    try:
        hidden, lengths, *_ = encoder(xs_pad[:, : int(lengths.max())], lengths)
    except TooShortUttError:
        hidden = xs_pad.new_zeros(len(xs_pad), 1, encoder.output_size())
        lengths = torch.zeros_like(ilens)
    return hidden, lengths.masked_fill(ilens == 0, 0)


@torch.no_grad()
def _output_lengths(encoder: AbsEncoder, width: int, ilens: torch.Tensor):
    """Return output frames `(B,)` of `encoder` for `ilens` `(B,)`.

    ESPnet's encoders have no closed form for it, so each length is tried once.
    """
    device = next(encoder.parameters()).device
    in_training = [module for module in encoder.modules() if module.training]
    encoder.eval()
    frames = {}
    for n in ilens.unique().tolist():
        zeros = torch.zeros(1, max(1, n), width, device=device)
        _, lengths = _encode(encoder, zeros, torch.tensor([n], device=device))
        frames[n] = int(lengths)
    for module in in_training:
        module.training = True
    return torch.tensor([frames[n] for n in ilens.tolist()], device=ilens.device)


class _EspnetHalf:
    """Common part of trunk and branch: an ESPnet encoder and its input's width."""

    def __init__(self, encoder: AbsEncoder, input_size: int):
        super().__init__()
        self.encoder = encoder
        self.input_size = input_size

    def output_size(self) -> int:
        """Width D of the output."""
        return self.encoder.output_size()

    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Frames `(B,)` for `ilens` `(B,)` frames of the input."""
        return _output_lengths(self.encoder, self.input_size, ilens)


class EspnetTrunk(_EspnetHalf, AbsTrunk):
    """An ESPnet encoder as the shared part; reads `(B, N, F)` features."""

    ends_in_cpu_float16 = False

    def forward(self, xs_pad: torch.Tensor, ilens: torch.Tensor) -> TrunkOutput:
        """Encode `(B, N, F)` features."""
        return TrunkOutput(*_encode(self.encoder, xs_pad, ilens))


class EspnetBranch(_EspnetHalf, AbsBranch):
    """An ESPnet encoder as the part of one talker count."""

    def forward(self, trunk: TrunkOutput) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return `(B, T', D)` and lengths `(B,)`."""
        return _encode(self.encoder, trunk.hidden, trunk.lengths)


class RoutedEspnetEncoder(RoutedEncoder):
    """`RoutedEncoder` over encoders of ESPnet, trained from scratch.

    Args:
        input_size: Width F of the features.
        talker_counts: One branch each.
        trunk: Name of an ESPnet encoder (`conformer`, `e_branchformer`, ...), or
            `MODULE:CLASS` for your own.
        trunk_conf: Its options.
        branch: Name of the branches' encoder.
        branch_conf: Its options; for a Conformer, `input_layer: null` or `linear`
            keeps the number of frames.
        branch_masking: See `RoutedEncoder`.

    `rel_pos_type` is `latest` if neither conf sets it, because ESPnet's `legacy`
    positions depend on the length of the padded batch.

    Raises:
        UserError: an encoder is unknown, or an option in `trunk_conf` or `branch_conf`.
    """

    def __init__(
        self,
        input_size: int,
        talker_counts: Sequence[int] = (2, 3),
        trunk: str = "conformer",
        trunk_conf: Optional[Dict[str, Any]] = None,
        branch: str = "conformer",
        branch_conf: Optional[Dict[str, Any]] = None,
        branch_masking: Optional[Dict[str, Any]] = None,
    ):
        lower = _build("trunk", trunk, input_size, trunk_conf or {})
        width = lower.output_size()
        super().__init__(
            EspnetTrunk(lower, input_size),
            {
                n: EspnetBranch(
                    _build("branch", branch, width, branch_conf or {}), width
                )
                for n in talker_counts
            },
            branch_masking,
        )


def _build(part: str, name: str, input_size: int, conf: Dict[str, Any]) -> AbsEncoder:
    try:
        encoder_class = encoder_choices.get_class(name)
    except UserError:
        raise
    except ValueError as e:
        raise UserError(
            f"encoder_conf {part}: there is no encoder {name}; "
            f"choose one of {', '.join(encoder_choices.classes)}"
        ) from e
    options = [
        k for k in inspect.signature(encoder_class).parameters if k != "input_size"
    ]
    unknown = sorted(set(conf) - set(options))
    if unknown:
        raise UserError(
            f"encoder_conf {part}_conf: {name} has no option {unknown[0]}; "
            f"it has {', '.join(options)}"
        )
    if "rel_pos_type" in options:
        conf = {"rel_pos_type": "latest", **conf}
    return encoder_class(input_size=input_size, **conf)
