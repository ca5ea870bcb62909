"""A separator that several talker counts share.

It is an ablation of Shi et al., Interspeech 2026 (arXiv 2603.10587), where each talker
count has its own separator.
"""

from typing import List

import torch

from espnet_mtasr.asr.separator.abs_separator import AbsSeparator


class FirstStreams(AbsSeparator):
    """The first streams of a separator for more talkers.

    Args:
        separator: Shared with other objects of this class.
        num_talkers: Streams K to use.
    """

    def __init__(self, separator: AbsSeparator, num_talkers: int):
        super().__init__()
        self.separator = separator
        self.num_talkers = num_talkers

    def output_size(self) -> int:
        """Width E of a stream."""
        return self.separator.output_size()

    def forward(
        self, hidden: torch.Tensor, lengths: torch.Tensor
    ) -> List[torch.Tensor]:
        """See `AbsSeparator.forward`."""
        return self.separator(hidden, lengths)[: self.num_talkers]
