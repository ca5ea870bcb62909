"""How well a teacher predicts transcripts, token by token."""

import torch

from espnet_mtasr.asr.teacher.abs_teacher import TeacherOutput
from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer

IGNORE = -100


def score(
    logits: torch.Tensor,
    targets: torch.Tensor,
    num_tokens: torch.Tensor,
    tokenizer: LLMTokenizer,
) -> TeacherOutput:
    """Score a teacher's predictions.

    Args:
        logits: `(B, L, V)`.
        targets: `(B, L)`, ``text <eos>`` of each row, `IGNORE` elsewhere.
        num_tokens: `(B,)` tokens of each row.
        tokenizer: Knows which of them aren't words.
    """
    # Flat: with the vocabulary as the second of three dimensions it is far slower.
    loss = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORE,
        reduction="none",
    ).view_as(targets)
    special = (tokenizer.sc_id, tokenizer.eos_id, IGNORE)
    is_word = ~torch.isin(targets, targets.new_tensor(special))
    return TeacherOutput(
        loss=loss.sum(1) / num_tokens,
        num_tokens=num_tokens,
        num_correct=(logits.argmax(-1) == targets).sum(1),
        word_loss=(loss.detach() * is_word).sum(1),
        num_word_tokens=is_word.sum(1),
    )
