"""CTC prefix beam search: the token sequence whose alignments together weigh most.

Source: Hannun et al., 2014 (arXiv 1408.2873), without a language model. ESPnet's
`BeamSearchTimeSync` needs more tokens than its beam is wide, and forgets a hypothesis
wherever the blank is not among a frame's best tokens.
"""

from typing import Dict, List, Tuple

import numpy as np

Prefix = Tuple[int, ...]


def prefix_beam_search(
    log_probs: np.ndarray, beam_size: int, blank: int = 0
) -> List[int]:
    """Return the ids of the best token sequence.

    Args:
        log_probs: `(T, V)` natural logarithms.
        beam_size: Sequences that are kept after each frame. The result is exact for
            a beam that holds every possible sequence.
        blank: Id of the blank.

    >>> p = np.array([[0.6, 0.4], [0.6, 0.4]])  # blank blank: 0.36; token: 0.64
    >>> prefix_beam_search(np.log(p), beam_size=4)
    [1]
    """
    # Log probability of a sequence's alignments that end in a blank, and in a token.
    beam: Dict[Prefix, Tuple[float, float]] = {(): (0.0, -np.inf)}
    for frame in log_probs:
        # No other token can bring a new sequence among the best: one more than the
        # beam, since a repeated token gets less than its probability.
        order = np.argsort(-frame, kind="stable")
        tokens = [c for c in order[: beam_size + 2].tolist() if c != blank]
        # But a sequence that is kept can also be reached from a shorter one.
        tokens = list(dict.fromkeys(tokens + [p[-1] for p in beam if p]))
        grown: Dict[Prefix, Tuple[float, float]] = {}
        for prefix, (in_blank, in_token) in beam.items():
            total = np.logaddexp(in_blank, in_token)
            last = prefix[-1] if prefix else None
            repeated = -np.inf if last is None else frame[last] + in_token
            _add(grown, prefix, frame[blank] + total, repeated)
            for token in tokens:
                # A token follows itself only across a blank.
                before = in_blank if token == last else total
                _add(grown, (*prefix, token), -np.inf, frame[token] + before)
        best = sorted(grown.items(), key=lambda item: -np.logaddexp(*item[1]))
        beam = dict(best[:beam_size])
    return list(next(iter(beam)))


def _add(
    beam: Dict[Prefix, Tuple[float, float]],
    prefix: Prefix,
    in_blank: float,
    in_token: float,
) -> None:
    old_blank, old_token = beam.get(prefix, (-np.inf, -np.inf))
    beam[prefix] = (
        np.logaddexp(old_blank, in_blank),
        np.logaddexp(old_token, in_token),
    )
