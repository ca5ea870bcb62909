"""Decode SOT transcripts with a causal LM after a prefix of embeddings.

The baseline "LLM SOT decoder" of Shi et al., Interspeech 2026 (arXiv 2603.10587). The
search itself is Hugging Face's `generate`, with its key-value cache.
"""

from typing import Any, List, Sequence, Set, Tuple

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)

from espnet_mtasr.asr.padding import valid_mask
from espnet_mtasr.asr.teacher.abs_teacher import Transcript
from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer

# An LM that repeats itself may write `<sc>` forever; scoring allows this many talkers.
MAX_TALKERS = 20
# Tokens from which on a passage may be said only twice in a row.
LONG = 4


def pad_left(rows: Sequence[torch.Tensor]) -> Tuple[torch.Tensor, torch.Tensor]:
    """Pad rows `(n, E)` on the left: `(B, N, E)`, and a mask `(B, N)` of 0 and 1."""
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    padded = torch.nn.utils.rnn.pad_sequence(
        list(rows), batch_first=True, padding_side="left"
    )
    return padded, valid_mask(lengths, padded.size(1)).flip(1).long()


class SOTRules(LogitsProcessor):
    """Forbids tokens that can't come next in a transcript.

    These are unused rows of the LM's table, `<sc>` after `MAX_TALKERS` talkers, and at
    a row's limit everything except the end of sentence. Allowed tokens keep their
    scores.

    Args:
        limits: `(B,)` the maximum tokens of each row.
        tokenizer: Of the LM.
        beam_size: Each row of a batch is this many rows here.
        begin: Tokens before the transcript.
    """

    def __init__(
        self,
        limits: torch.Tensor,
        tokenizer: LLMTokenizer,
        beam_size: int,
        begin: int = 0,
    ):
        self.limits = limits.repeat_interleave(beam_size)
        self.tokenizer = tokenizer
        self.begin = begin

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Set forbidden ones of `scores` `(R, V)` to -inf; `input_ids`: `(R, n)`."""
        sc_id, eos_id = self.tokenizer.sc_id, self.tokenizer.eos_id
        input_ids = input_ids[:, self.begin :]
        forbidden = torch.zeros_like(scores, dtype=torch.bool)
        forbidden[:, len(self.tokenizer) :] = True
        forbidden[:, sc_id] = (input_ids == sc_id).sum(1) >= MAX_TALKERS - 1
        forbidden |= (self.limits <= input_ids.size(1))[:, None]
        forbidden[:, eos_id] = False
        return scores.masked_fill(forbidden, -torch.inf)


class LoopGuard(LogitsProcessor):
    """Forbids a token that would repeat a passage again and again.

    A passage of `LONG` tokens or more may occur twice in a row; a shorter one, such as
    a digit of a number, four times.

    Args:
        begin: Tokens before the transcript.
        eos_id: Of the end of sentence, which is never forbidden: it also pads rows that
            have ended.
    """

    def __init__(self, begin: int = 0, eos_id: int = -1):
        self.begin = begin
        self.eos_id = eos_id

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Set forbidden ones of `scores` `(R, V)` to -inf; `input_ids`: `(R, n)`."""
        scores = scores.clone()
        for row, ids in enumerate(input_ids[:, self.begin :].tolist()):
            scores[row, list(looping_tokens(ids) - {self.eos_id})] = -torch.inf
        return scores


def looping_tokens(ids: Sequence[int]) -> Set[int]:
    """Return the tokens that would complete one repetition too many of a passage.

    >>> looping_tokens([7, 5, 5, 5, 5])
    {5}
    >>> looping_tokens([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3])
    {4}
    """
    found = set()
    for size in range(1, (len(ids) + 1) // 3 + 1):
        times = 2 if size >= LONG else 4
        needed = (times + 1) * size - 1
        tail = ids[-needed:]
        if len(tail) == needed and all(a == b for a, b in zip(tail, tail[size:])):
            found.add(tail[-size])
    return found


def search_config(
    tokenizer: LLMTokenizer,
    limit: int,
    beam_size: int,
    length_penalty: float,
    **more: Any,
) -> GenerationConfig:
    """Return transformers' search configuration for at most `limit` tokens."""
    beam_options = {} if beam_size == 1 else {"length_penalty": length_penalty}
    return GenerationConfig(
        do_sample=False,
        num_beams=beam_size,
        max_new_tokens=limit + 1,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.eos_id,
        **beam_options,
        **more,
    )


def to_transcript(ids: List[int], limit: int, tokenizer: LLMTokenizer) -> Transcript:
    """Cut the result at its end of sentence."""
    ids = ids[: ids.index(tokenizer.eos_id)]
    return Transcript(ids, ended=len(ids) < limit or limit == 0)


@torch.no_grad()
def generate(
    llm: PreTrainedModel,
    prefixes: Sequence[torch.Tensor],
    limits: Sequence[int],
    tokenizer: LLMTokenizer,
    beam_size: int = 1,
    length_penalty: float = 1.0,
    guard_loops: bool = False,
) -> List[Transcript]:
    """Continue each prefix of embeddings `(n, E)`; see `AbsTeacher.generate`."""
    guards = [LoopGuard(eos_id=tokenizer.eos_id)] if guard_loops else []
    embeddings, mask = pad_left(prefixes)
    row_limits = torch.tensor(limits, device=mask.device)
    begin = torch.tensor([tokenizer.bos_id], device=mask.device)
    # An LM's own generation settings (sampling, penalties for repeated words) are for
    # chat, and would apply to anything that the configuration below leaves open.
    llm.generation_config = GenerationConfig()
    sequences = llm.generate(
        inputs_embeds=embeddings.to(llm.get_input_embeddings()(begin).dtype),
        attention_mask=mask,
        logits_processor=LogitsProcessorList(
            [*guards, SOTRules(row_limits, tokenizer, beam_size)]
        ),
        generation_config=search_config(
            tokenizer, max(limits), beam_size, length_penalty
        ),
    )
    return [
        to_transcript(row, limit, tokenizer)
        for row, limit in zip(sequences.tolist(), limits)
    ]
