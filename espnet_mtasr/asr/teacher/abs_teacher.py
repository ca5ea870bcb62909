"""A teacher reads a branch's output and learns to write the SOT transcript."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch


class TeacherOutput(NamedTuple):
    """Per-row result of a teacher.

    Attributes:
        loss: `(B,)` cross entropy summed over text tokens / their number, in nats.
        num_tokens: `(B,)` text tokens including the end of sentence.
        num_correct: `(B,)` tokens whose most probable prediction was right.
    """

    loss: torch.Tensor
    num_tokens: torch.Tensor
    num_correct: torch.Tensor


class AbsTeacher(torch.nn.Module, ABC):
    """Base of teachers. They exist in training only."""

    @abstractmethod
    def forward(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
    ) -> TeacherOutput:
        """Score SOT transcripts.

        Args:
            hidden: `(B, T, D)` a branch's output.
            lengths: `(B,)` its frames.
            text: `(B, L)` SOT token ids of the teacher's vocabulary.
            text_lengths: `(B,)`.
        """
