"""CTC prefix beam search: the token sequence whose alignments together weigh most.

Source: Hannun et al., 2014 (arXiv 1408.2873), without a language model. ESPnet's
`BeamSearchTimeSync` needs more tokens than its beam is wide, and forgets a hypothesis
wherever the blank is not among a frame's best tokens.

Whatever a frame brings, the sequences of the beam stay possible. A new one that weighs
less than all of them isn't tried, and in most frames, which are nearly blank, that
leaves none. tools/bench/beam_search.py measures it.
"""

from math import exp, inf, log1p
from typing import Dict, List, Tuple

import numpy as np

# Logarithms of what a sequence's alignments weigh: all of them, those that end in a
# blank, and those that end in its last token; and the sequence's number.
Kept = Tuple[float, float, float, int]
# What a new sequence weighs, the number of the one that it goes on from, and its token.
New = Tuple[float, int, int]
# Number of the sequence without its last token, and that token; -1: has none.
Node = Tuple[int, int]


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
    """Weights of the beam's sequences after a blank or one more of the last token."""
    at_blank = float(frame[blank])
    lasts = [nodes[kept[3]][1] for kept in beam]
    # The empty sequence has no last token: what stands at -1 adds nothing to it.
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
    """Sequences with one more token, but those of the beam, that weigh `floor`."""
    # No other token can bring a new sequence among the best: one more than the beam,
    # since a repeated token gets less than its probability.
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
    """Weight of the alignments that a token can follow: itself only across a blank."""
    return kept[1] if token == last else kept[0]


def _likely(
    frame: np.ndarray, floor: float, number: int, blank: int
) -> List[Tuple[int, float]]:
    """The most likely tokens and their logarithms, best first; none below `floor`."""
    # Less by more than float32 rounds.
    places = np.flatnonzero(frame >= floor - 1e-3)
    if len(places) > number + 1:
        best = np.argpartition(frame[places], -number - 1)[-number - 1 :]
        places = places[best]
    found = zip(places.tolist(), frame[places].tolist())
    tokens = [(token, weight) for token, weight in found if token != blank]
    return sorted(tokens, key=lambda pair: -pair[1])[:number]


def _add(a: float, b: float) -> float:
    """Logarithm of the sum of two weights.

    >>> round(exp(_add(-1.0, -2.0)) - exp(-1.0) - exp(-2.0), 12)
    0.0
    """
    if a < b:
        a, b = b, a
    return a if b == -inf else a + log1p(exp(b - a))
