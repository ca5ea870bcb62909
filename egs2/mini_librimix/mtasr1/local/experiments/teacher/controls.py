"""Controls that replace the teacher, to show what the teacher contributes."""

from pathlib import Path
from typing import Tuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from espnet_mtasr.asr.teacher.abs_teacher import TeacherOutput
from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher


class OtherTranscript(LLMTeacher):
    """A frozen teacher that gets another mixture's transcript in training.

    Each row of a batch gets the transcript of the next row with the same talker count;
    with batches of similar lengths, it has about the same length. (A row that is the
    only one of its count keeps its own.) The loss of a wrong transcript is far larger,
    so each row's gradient is scaled to the norm that the right transcript would give.
    So CTC's share of a step, which is clipped, is the same as with the real teacher.
    """

    def forward(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
    ) -> TeacherOutput:
        """See `AbsTeacher.forward`; the loss is the right transcript's."""
        if not hidden.requires_grad:
            # Validation.
            return super().forward(hidden, lengths, text, text_lengths)
        right, wanted = self._with_gradient(hidden, lengths, text, text_lengths)
        _, other = self._with_gradient(
            hidden, lengths, text.roll(-1, 0), text_lengths.roll(-1, 0)
        )
        scale = _norms(wanted) / _norms(other).clamp(min=1e-12)
        # Its gradient is `other`, scaled; its value is 0.
        pull = (hidden * (scale * other)).sum((1, 2))
        return right._replace(loss=right.loss.detach() + pull - pull.detach())

    def _with_gradient(
        self, hidden: torch.Tensor, *batch: torch.Tensor
    ) -> Tuple[TeacherOutput, torch.Tensor]:
        """Return the output, and the gradient `(B, T, D)` of each row's loss."""
        read = hidden.detach().requires_grad_()
        output = super().forward(read, *batch)
        return output, torch.autograd.grad(output.loss.sum(), read)[0]


def _norms(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.norm(dim=(1, 2), keepdim=True)


def make_random_lm(source: Path, target: Path, seed: int = 0) -> None:
    """Write a language model with the same shape and tokenizer that knows nothing.

    Every matrix has the entries of `source`'s in random order. Freshly initialized
    weights would be far smaller, and an LM with them couldn't write any text, whatever
    its input.
    """
    generator = torch.Generator().manual_seed(seed)
    lm = AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        for weight in lm.parameters():
            if weight.dim() > 1:
                order = torch.randperm(weight.numel(), generator=generator)
                weight.copy_(weight.flatten()[order].view_as(weight))
    AutoTokenizer.from_pretrained(source).save_pretrained(target)
    lm.save_pretrained(target)
