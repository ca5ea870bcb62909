"""A separator turns a branch's output into one stream per talker."""

from abc import ABC, abstractmethod
from typing import List

import torch


class AbsSeparator(torch.nn.Module, ABC):
    """Base of separators: `(B, T, D)` in, K times `(B, T, E)` out, in onset order."""

    @abstractmethod
    def output_size(self) -> int:
        """Width E of a stream."""

    @abstractmethod
    def forward(
        self, hidden: torch.Tensor, lengths: torch.Tensor
    ) -> List[torch.Tensor]:
        """Return one `(B, T, E)` stream per talker, first to begin first."""
