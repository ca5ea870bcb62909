"""A teacher reads a branch's output and learns to write the SOT transcript."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Type

import torch

from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer
from espnet_mtasr.errors import UserError


class TeacherOutput(NamedTuple):
    """Per-row result of a teacher.

    Attributes:
        loss: `(B,)` cross entropy summed over text tokens / their number, in nats.
        num_tokens: `(B,)` text tokens including the end of sentence.
        num_correct: `(B,)` tokens whose most probable prediction was right.
        word_loss: `(B,)` cross entropy summed over the tokens of words: without `<sc>`
            and the end of sentence, which a teacher may predict well without the audio.
            Stage 9 needs it; training doesn't.
        num_word_tokens: `(B,)` their number.
    """

    loss: torch.Tensor
    num_tokens: torch.Tensor
    num_correct: torch.Tensor
    word_loss: Optional[torch.Tensor] = None
    num_word_tokens: Optional[torch.Tensor] = None


class Transcript(NamedTuple):
    """What a teacher wrote for one row.

    Attributes:
        ids: Tokens, without the end of sentence.
        ended: Whether it ended by itself, not at its limit.
    """

    ids: List[int]
    ended: bool


class AbsTeacher(torch.nn.Module, ABC):
    """Base of teachers. They exist in training, and if they decode themselves.

    Attributes:
        tokenizer: Of the transcripts.
        tokenizer_class: Its class, which takes `teacher_conf: llm`.
        guards_loops: Whether `generate` keeps it from repeating itself.
    """

    tokenizer: LLMTokenizer
    tokenizer_class: Type[LLMTokenizer] = LLMTokenizer
    guards_loops: bool = False

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

    @abstractmethod
    def generate(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        limits: Sequence[int],
        beam_size: int = 1,
        length_penalty: float = 1.0,
    ) -> List[Transcript]:
        """Write SOT transcripts; a row's doesn't depend on the others of the batch.

        Args:
            hidden: `(B, T, D)` a branch's output.
            lengths: `(B,)` its frames.
            limits: B numbers from 0, the maximum tokens of each row.
            beam_size: 1: greedy search; more: beam search.
            length_penalty: Beam search compares log probabilities / tokens (end of
                sentence included) to this power: 0 sums, 1 averages.
        """

    def pack(self, tokenizer_file: Path) -> Dict[str, Any]:
        """Prepare to be packed: from now on, `state_dict` has all weights.

        Args:
            tokenizer_file: To be written.

        Returns:
            Entries of `teacher_conf`, besides `llm`, that rebuild it without a
            pretrained model.

        Raises:
            UserError: it can't be packed.
        """
        raise UserError(
            f"teacher: {type(self).__name__} can't be packed; omit --pack_teacher"
        )
