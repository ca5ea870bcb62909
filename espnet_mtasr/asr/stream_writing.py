"""Statistics of what the streams write, to detect early a stream that writes nothing.

Without a flat start, all frames of serialized CTC may stay blank for long. The loss
hardly shows it, because it falls anyway.
"""

from typing import List, NamedTuple, Sequence

import torch

from espnet_mtasr.asr.serialized_ctc import BLANK_ID

WORD_BEGIN = "▁"
SPACE = "<space>"


class Writing(NamedTuple):
    """What one stream writes, row by row.

    Attributes:
        blank_rate: `(B,)` share of the frames whose most probable token is the blank.
        words: `(B,)` words that greedy search writes.
    """

    blank_rate: torch.Tensor
    words: torch.Tensor


def stream_writing(
    log_probs: Sequence[torch.Tensor], lengths: torch.Tensor, token_list: Sequence[str]
) -> List[Writing]:
    """Return what each stream writes by greedy search.

    Args:
        log_probs: K tensors `(B, T, V)`.
        lengths: `(B,)` frames.
        token_list: V tokens, of sentencepiece, characters with <space>, or words.

    Returns:
        K times `Writing`.
    """
    with_space = SPACE in token_list
    pieces = not with_space and any(t.startswith(WORD_BEGIN) for t in token_list)
    begins = torch.tensor(
        [
            token == SPACE if with_space else not pieces or token.startswith(WORD_BEGIN)
            for token in token_list
        ],
        device=lengths.device,
    )
    frames = torch.arange(log_probs[0].size(1), device=lengths.device)
    within = frames < lengths[:, None]
    found = []
    for scores in log_probs:
        best = scores.argmax(-1).masked_fill(~within, BLANK_ID)
        spoken = best != BLANK_ID
        # A run is one token.
        new = spoken.clone()
        new[:, 1:] &= best[:, 1:] != best[:, :-1]
        blanks = (within & ~spoken).sum(1) / lengths.clamp(min=1)
        marks = (new & begins[best]).sum(1)
        written = spoken.any(1).long()
        words = marks + written if with_space else torch.maximum(marks, written)
        found.append(Writing(blanks.float(), words.float()))
    return found
