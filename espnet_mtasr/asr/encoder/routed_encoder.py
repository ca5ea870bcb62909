"""An encoder with a shared trunk and one branch per talker count.

Source: Shi et al., Interspeech 2026 (arXiv 2603.10587): the lower half of WavLM is
shared, the upper half exists once for 2 and once for 3 talkers.
"""

from typing import Any, Callable, Dict, Mapping, Optional, Tuple

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder

from espnet_mtasr.asr.encoder.abs_routable import AbsBranch, AbsTrunk, TrunkOutput
from espnet_mtasr.asr.encoder.span_masking import build_masking
from espnet_mtasr.asr.frozen import is_frozen, keep_frozen_in_eval
from espnet_mtasr.asr.padding import select_rows


class RoutedEncoder(AbsEncoder):
    """Encode with the trunk once, then each row with the branch of its talker count.

    Args:
        trunk: The shared part. If it is frozen (no parameter takes a gradient), it runs
            without building a graph and stays in evaluation mode.
        branches: Talker count to branch. All branches have the same output size.
        branch_masking: Options of `SpanMasking` for the branches' input in training;
            the talker-count head's input isn't masked. None masks nothing.

    Raises:
        ValueError: there are no branches, or their output sizes differ.
        UserError: an option of `branch_masking` doesn't exist or is out of range.
    """

    def __init__(
        self,
        trunk: AbsTrunk,
        branches: Mapping[int, AbsBranch],
        branch_masking: Optional[Dict[str, Any]] = None,
    ):
        super().__init__()
        sizes = {count: branch.output_size() for count, branch in branches.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"branches must share one output size, got {sizes}")
        self.talker_counts = tuple(sorted(branches))
        self._output_size = sizes[self.talker_counts[0]]
        self.trunk = trunk
        self.branches = torch.nn.ModuleDict(
            {str(count): branches[count] for count in self.talker_counts}
        )
        self.branch_masking = build_masking(branch_masking)

    def output_size(self) -> int:
        """Width of the branches' output."""
        return self._output_size

    def conf_without_pretrained(self) -> Dict[str, Any]:
        """Return `encoder_conf` entries to rebuild this encoder without model files."""
        return {}

    @classmethod
    def frame_counter(
        cls, input_size: int, **conf: Any
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return a function from input lengths `(B,)` to output frames `(B,)`.

        It takes the constructor's arguments. The frames are the minimum over the
        branches.
        """
        encoder = cls(input_size=input_size, **conf)
        return encoder.output_lengths

    @classmethod
    def max_input(cls, **conf: Any) -> Optional[int]:
        """Return the longest input in samples for the constructor's arguments."""
        return None

    def output_lengths(self, ilens: torch.Tensor) -> torch.Tensor:
        """Return the minimum frames `(B,)` over the branches for `ilens` `(B,)`."""
        frames = self.trunk.output_lengths(ilens)
        per_branch = [b.output_lengths(frames) for b in self.branches.values()]
        return torch.stack(per_branch).min(dim=0).values

    def train(self, mode: bool = True) -> "RoutedEncoder":
        """Set the training mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        keep_frozen_in_eval(self)
        return self

    def encode_trunk(self, xs_pad: torch.Tensor, ilens: torch.Tensor) -> TrunkOutput:
        """Run the trunk on `(B, N)` samples or `(B, N, F)` features."""
        with torch.set_grad_enabled(
            torch.is_grad_enabled() and not is_frozen(self.trunk)
        ):
            return self.trunk(xs_pad, ilens)

    def restore_trunk(self, hidden: torch.Tensor, lengths: torch.Tensor) -> TrunkOutput:
        """Return the output of `encode_trunk` that had this `(B, T, D)` and `(B,)`."""
        # A row without frames keeps one, as in the trunks.
        frames = max(1, int(lengths.max()))
        missing = max(0, frames - hidden.size(1))
        hidden = torch.nn.functional.pad(hidden[:, :frames], (0, 0, 0, missing))
        with torch.no_grad():
            context = self.trunk.make_context(frames)
        return TrunkOutput(hidden, lengths, context)

    def encode_branch(
        self, trunk: TrunkOutput, count: int, rows: Optional[torch.Tensor] = None
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Run the branch of `count` talkers.

        Args:
            trunk: Output of `encode_trunk`.
            count: Talker count.
            rows: `(B',)` the rows to encode; None takes all.

        Returns:
            `(B', T', D)` and lengths `(B',)`.

        Raises:
            ValueError: there is no branch for `count`.
        """
        if count not in self.talker_counts:
            raise ValueError(
                f"no branch for {count} talkers, there are {self.talker_counts}"
            )
        if rows is not None:
            hidden, lengths = select_rows(trunk.hidden, trunk.lengths, rows)
            trunk = TrunkOutput(hidden, lengths, trunk.context)
        if self.branch_masking is not None:
            masked = self.branch_masking(trunk.hidden, trunk.lengths)
            trunk = trunk._replace(hidden=masked)
        return self.branches[str(count)](trunk)

    def forward(
        self,
        xs_pad: torch.Tensor,
        ilens: torch.Tensor,
        prev_states: Optional[torch.Tensor] = None,
        counts: Optional[torch.Tensor] = None,
    ) -> Tuple[torch.Tensor, torch.Tensor, Optional[torch.Tensor]]:
        """Encode a batch with mixed talker counts, for use like any ESPnet encoder.

        Args:
            xs_pad: `(B, N)` samples or `(B, N, F)` features.
            ilens: `(B,)`.
            prev_states: Unused, kept for ESPnet's interface.
            counts: `(B,)` talker count of each row; may be left out when there is
                one branch.

        Returns:
            `(B, T, D)` in the order of the input, lengths `(B,)`, None.

        Raises:
            ValueError: `counts` is missing or names a count without a branch.
        """
        trunk = self.encode_trunk(xs_pad, ilens)
        if counts is None:
            if len(self.talker_counts) > 1:
                raise ValueError(f"counts must choose among {self.talker_counts}")
            counts = torch.full_like(trunk.lengths, self.talker_counts[0])
        parts = {}
        for count in counts.unique().tolist():
            rows = (counts == count).nonzero(as_tuple=True)[0]
            parts[count] = (rows, *self.encode_branch(trunk, count, rows))
        longest = max(hidden.size(1) for _, hidden, _ in parts.values())
        padded, lengths, order = [], [], []
        for rows, hidden, row_lengths in parts.values():
            missing = longest - hidden.size(1)
            padded.append(torch.nn.functional.pad(hidden, (0, 0, 0, missing)))
            lengths.append(row_lengths)
            order.append(rows)
        back = torch.cat(order).argsort()
        return torch.cat(padded)[back], torch.cat(lengths)[back], None
