"""Where in the audio CTC finds each token: the best path through a known sequence.

Source: torchaudio's forced alignment with CTC; Kuerzinger et al., 2020 (arXiv
2007.09127) describe the principle.
"""

from typing import List, NamedTuple, Sequence

import torch

from espnet_mtasr.asr.serialized_ctc import BLANK_ID


class TokenSpan(NamedTuple):
    """Frames of one token.

    Attributes:
        start: First frame.
        end: Frame after the last.
        probability: Geometric mean of the token's probability over the frames.
    """

    start: int
    end: int
    probability: float


def align_tokens(log_probs: torch.Tensor, ids: Sequence[int]) -> List[TokenSpan]:
    """Return a span for each token, on the most probable path with all tokens.

    Args:
        log_probs: `(T, V)` natural logarithms.
        ids: Tokens, no blanks.

    Raises:
        ValueError: there are fewer frames than the tokens and their repeats need.

    >>> p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.3, 0.7]])
    >>> [(s.start, s.end) for s in align_tokens(p.log(), [1])]
    [(1, 4)]
    >>> [(s.start, s.end) for s in align_tokens(p.log(), [1, 1])]
    [(1, 2), (3, 4)]
    """
    from torchaudio.functional import forced_align, merge_tokens

    if len(ids) == 0:
        return []
    targets = torch.tensor([list(ids)], device=log_probs.device)
    needed = len(ids) + int((targets[0, 1:] == targets[0, :-1]).sum())
    if len(log_probs) < needed:
        raise ValueError(f"{len(log_probs)} frames, {len(ids)} tokens need {needed}")
    path, scores = forced_align(log_probs[None].float(), targets, blank=BLANK_ID)
    return [
        TokenSpan(span.start, span.end, min(1.0, torch.tensor(span.score).exp().item()))
        for span in merge_tokens(path[0], scores[0], blank=BLANK_ID)
    ]
