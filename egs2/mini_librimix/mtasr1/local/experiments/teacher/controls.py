"""What stands in the teacher's place to show what the teacher does.

A training names `OtherTranscript` as `teacher`; its checkpoint holds what an
`LLMTeacher`'s does.
"""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from espnet_mtasr.asr.teacher.abs_teacher import TeacherOutput
from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher


class OtherTranscript(LLMTeacher):
    """A teacher that is shown another mixture's transcript while it trains.

    Each row of a batch gets the next row's transcript: that of as many talkers, and,
    where batches hold mixtures of like lengths, of about the same length. The gradient
    is as large as a teacher's, and says nothing about the speech.
    """

    def forward(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
    ) -> TeacherOutput:
        """See `AbsTeacher.forward`."""
        # Validation, which builds no graph, is as always.
        if hidden.requires_grad:
            text, text_lengths = text.roll(-1, 0), text_lengths.roll(-1, 0)
        return super().forward(hidden, lengths, text, text_lengths)


def make_random_lm(source: Path, target: Path, seed: int = 0) -> None:
    """Write a language model of the same form and tokenizer, with random weights."""
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(
        AutoConfig.from_pretrained(source)
    ).save_pretrained(target)
    AutoTokenizer.from_pretrained(source).save_pretrained(target)
