"""CTC prefix beam search: the token sequence with the highest total alignment weight.

Source: Hannun et al., 2014 (arXiv 1408.2873), without a language model. ESPnet's
`BeamSearchTimeSync` needs more tokens than its beam is wide, and loses a hypothesis
when the blank isn't among a frame's best tokens.

The sequences in the beam stay possible in every frame. A new one isn't tried if it has
a lower weight than all of them. In most frames, which are nearly blank, this leaves
none to try. tools/bench/beam_search.py measures it.
"""

from math import exp, inf, log1p
from typing import Dict, List, Tuple

import numpy as np

# Log weights of a sequence's alignments: of all, of those that end in a blank, and of
# those that end in its last token; and the sequence's number.
Kept = Tuple[float, float, float, int]
# A new sequence's weight, the number of the one that it extends, and its token.
New = Tuple[float, int, int]
# Number of the sequence without its last token, and that token; -1: there is none.
Node = Tuple[int, int]


def prefix_beam_search(
    log_probs: np.ndarray, beam_size: int, blank: int = 0
) -> List[int]:
    """Return the ids of the best token sequence.

    Args:
        log_probs: `(T, V)` natural logarithms.
        beam_size: Sequences to keep after each frame. The result is exact if the beam
            can hold every possible sequence.
        blank: Id of the blank.

    >>> p = np.array([[0.6, 0.4], [0.6, 0.4]])  # blank blank: 0.36; token: 0.64
    >>> prefix_beam_search(np.log(p), beam_size=4)
    [1]
    """
    nodes: List[Node] = [(-1, -1)]
    numbers: Dict[Node, int] = {}
    beam: List[Kept] = [(0.0, 0.0, -inf, 0)]
    for frame in log_probs:
        stayed = _stay(frame, beam, nodes, blank)
        floor = min(stayed)[0] if len(stayed) == beam_size else -inf
        for weight, parent, token in _grow(frame, beam, nodes, blank, beam_size, floor):
            number = numbers.setdefault((parent, token), len(nodes))
            if number == len(nodes):
                nodes.append((parent, token))
            stayed.append((weight, -inf, weight, number))
        beam = sorted(stayed, key=lambda kept: -kept[0])[:beam_size]
    ids = []
    parent, token = nodes[beam[0][3]]
    while parent >= 0:
        ids.append(token)
        parent, token = nodes[parent]
    return ids[::-1]


def _stay(
    frame: np.ndarray, beam: List[Kept], nodes: List[Node], blank: int
) -> List[Kept]:
    """Return the beam's weights after a blank or a repeat of the last token."""
    at_blank = float(frame[blank])
    lasts = [nodes[kept[3]][1] for kept in beam]
    # The empty sequence has no last token; the value at -1 adds nothing to it.
    at_last = frame[lasts].tolist()
    known = {kept[3]: kept for kept in beam}
    stayed = []
    for (total, _, in_token, number), last, weight in zip(beam, lasts, at_last):
        in_token += weight
        parent = known.get(nodes[number][0])
        if parent is not None:
            gained = _before(parent, nodes[parent[3]][1], last) + weight
            in_token = _add(in_token, gained)
        in_blank = total + at_blank
        stayed.append((_add(in_blank, in_token), in_blank, in_token, number))
    return stayed


def _grow(
    frame: np.ndarray,
    beam: List[Kept],
    nodes: List[Node],
    blank: int,
    beam_size: int,
    floor: float,
) -> List[New]:
    """Return sequences with one more token, not in the beam, with at least `floor`."""
    # No other token can make a new sequence among the best. One more than the beam,
    # because a repeated token gets less than its probability.
    tokens = _likely(frame, floor - beam[0][0], beam_size + 1, blank)
    there = {nodes[kept[3]] for kept in beam}
    grown = []
    for kept in beam:
        number = kept[3]
        last = nodes[number][1]
        for token, weight in tokens:
            if kept[0] + weight < floor:
                break
            weight += _before(kept, last, token)
            if weight >= floor and (number, token) not in there:
                grown.append((weight, number, token))
    return grown


def _before(kept: Kept, last: int, token: int) -> float:
    """Return the weight of alignments that a token can follow; itself only by blank."""
    return kept[1] if token == last else kept[0]


def _likely(
    frame: np.ndarray, floor: float, number: int, blank: int
) -> List[Tuple[int, float]]:
    """Return the most likely tokens and log probabilities, best first, from `floor`."""
    # Lower by more than float32's rounding.
    places = np.flatnonzero(frame >= floor - 1e-3)
    if len(places) > number + 1:
        best = np.argpartition(frame[places], -number - 1)[-number - 1 :]
        places = places[best]
    found = zip(places.tolist(), frame[places].tolist())
    tokens = [(token, weight) for token, weight in found if token != blank]
    return sorted(tokens, key=lambda pair: -pair[1])[:number]


def _add(a: float, b: float) -> float:
    """Return the logarithm of the sum of two weights.

    >>> round(exp(_add(-1.0, -2.0)) - exp(-1.0) - exp(-2.0), 12)
    0.0
    """
    if a < b:
        a, b = b, a
    return a if b == -inf else a + log1p(exp(b - a))
