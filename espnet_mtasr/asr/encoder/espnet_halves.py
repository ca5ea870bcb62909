"""Any ESPnet encoder as trunk, any as branch: a Conformer below, Conformers above."""

import inspect
from typing import Any, Dict, Optional, Sequence, Tuple

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.tasks.asr import encoder_choices

from espnet_mtasr.asr.encoder.abs_routable import AbsBranch, AbsTrunk, TrunkOutput
from espnet_mtasr.asr.encoder.routed_encoder import RoutedEncoder
from espnet_mtasr.errors import UserError


def _output_lengths(encoder: AbsEncoder, width: int, ilens: torch.Tensor):
    """Frames `(B,)` that `encoder` gives for `ilens` `(B,)`, by asking it.

    ESPnet's encoders have no closed form for it, and refuse an input that is too
    short: that counts as no frame.
    """
    frames = {}
    device = next(encoder.parameters()).device
    training = encoder.training
    encoder.eval()
    for n in ilens.unique().tolist():
        try:
            with torch.no_grad():
                zeros = torch.zeros(1, n, width, device=device)
                frames[n] = int(encoder(zeros, torch.tensor([n], device=device))[1])
        except Exception as e:
            if type(e).__name__ != "TooShortUttError" and n > 0:
                raise
            frames[n] = 0
    encoder.train(training)
    return torch.tensor([frames[n] for n in ilens.tolist()], device=ilens.device)


class EspnetTrunk(AbsTrunk):
    """An ESPnet encoder as the shared part; reads `(B, N, F)` features."""

    def __init__(self, encoder: AbsEncoder, input_size: int):
        super().__init__()
        self.encoder = encoder
        self.input_size = input_size

    def output_size(self) -> int:
        """Width D of the output."""
        return self.encoder.output_size()

    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Frames `(B,)` for `ilens` `(B,)` feature frames."""
        return _output_lengths(self.encoder, self.input_size, ilens)

    def forward(self, xs_pad: torch.Tensor, ilens: torch.Tensor) -> TrunkOutput:
        """Encode `(B, N, F)` features."""
        hidden, lengths, *_ = self.encoder(xs_pad, ilens)
        return TrunkOutput(hidden, lengths)


class EspnetBranch(AbsBranch):
    """An ESPnet encoder as the part of one talker count."""

    def __init__(self, encoder: AbsEncoder, input_size: int):
        super().__init__()
        self.encoder = encoder
        self.input_size = input_size

    def output_size(self) -> int:
        """Width D of the output."""
        return self.encoder.output_size()

    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Frames `(B,)` for `ilens` `(B,)` frames of the trunk."""
        return _output_lengths(self.encoder, self.input_size, ilens)

    def forward(self, trunk: TrunkOutput) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return `(B, T', D)` and lengths `(B,)`."""
        hidden, lengths, *_ = self.encoder(trunk.hidden, trunk.lengths)
        return hidden, lengths


class RoutedEspnetEncoder(RoutedEncoder):
    """`RoutedEncoder` over encoders of ESPnet, trained from scratch.

    Args:
        input_size: Width F of the features.
        talker_counts: One branch each.
        trunk: Name of an ESPnet encoder (`conformer`, `e_branchformer`, ...).
        trunk_conf: Its options.
        branch: Name of the branches' encoder.
        branch_conf: Its options; for a Conformer, `input_layer: null` or `linear`
            keeps the number of frames.

    Raises:
        UserError: an unknown option in `trunk_conf` or `branch_conf`.
    """

    def __init__(
        self,
        input_size: int,
        talker_counts: Sequence[int] = (2, 3),
        trunk: str = "conformer",
        trunk_conf: Optional[Dict[str, Any]] = None,
        branch: str = "conformer",
        branch_conf: Optional[Dict[str, Any]] = None,
    ):
        lower = _build(trunk, input_size, trunk_conf or {}, "trunk_conf")
        width = lower.output_size()
        super().__init__(
            EspnetTrunk(lower, input_size),
            {
                n: EspnetBranch(
                    _build(branch, width, branch_conf or {}, "branch_conf"), width
                )
                for n in talker_counts
            },
        )


def _build(name: str, input_size: int, conf: Dict[str, Any], option: str) -> AbsEncoder:
    encoder_class = encoder_choices.get_class(name)
    known = inspect.signature(encoder_class).parameters
    unknown = sorted(set(conf) - set(known))
    if unknown:
        raise UserError(
            f"encoder_conf {option}: {name} has no option {unknown[0]}; "
            f"it has {', '.join(k for k in known if k != 'input_size')}"
        )
    return encoder_class(input_size=input_size, **conf)
