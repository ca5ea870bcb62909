"""CTC prefix beam search: the token sequence with the highest total alignment weight.

Source: Hannun et al., 2014 (arXiv 1408.2873), with a language model over the same
tokens, or none. ESPnet's `BeamSearchTimeSync` needs more tokens than its beam is wide,
and loses a hypothesis when the blank isn't among a frame's best tokens.

The sequences in the beam stay possible in every frame. A new one isn't tried if it has
a lower weight than all of them. In most frames, which are nearly blank, this leaves
none to try. tools/bench/beam_search.py measures it.
"""

from math import exp, inf, log1p
from typing import Callable, Dict, List, Optional, Tuple

import numpy as np

from espnet_mtasr.text.ngram import NgramFusion

# Log weights of a sequence's alignments: of all, of those that end in a blank, and of
# those that end in its last token; and the sequence's number.
Kept = Tuple[float, float, float, int]
# A new sequence's weight, the number of the one that it extends, and its token.
New = Tuple[float, int, int]
# Number of the sequence without its last token, and that token; -1: there is none.
Node = Tuple[int, int]
# With a language model, so many times the beam of a frame's likeliest tokens are tried:
# it prefers some that are less likely.
MORE_TOKENS = 4


class _Gains:
    """What a language model adds for the next token of a sequence."""

    def __init__(self, fusion: NgramFusion, nodes: List[Node]):
        self.fusion = fusion
        self.nodes = nodes

    def after(self, number: int) -> Callable[[int], float]:
        """Return what each token adds after a sequence."""
        last = _tokens(number, self.nodes, self.fusion.context)
        log_probs = self.fusion.log_probs(last)
        return lambda token: self.fusion.gain(log_probs, token)

    def at_end(self, number: int) -> float:
        """Return what the end of the text adds."""
        return self.fusion.end(_tokens(number, self.nodes, self.fusion.context))


def prefix_beam_search(
    log_probs: np.ndarray,
    beam_size: int,
    blank: int = 0,
    fusion: Optional[NgramFusion] = None,
) -> List[int]:
    """Return the ids of the best token sequence.

    Args:
        log_probs: `(T, V)` natural logarithms.
        beam_size: Sequences to keep after each frame. The result is exact if the beam
            can hold every possible sequence.
        blank: Id of the blank.
        fusion: Adds to a sequence's log weight for each of its tokens, and for its end.

    >>> p = np.array([[0.6, 0.4], [0.6, 0.4]])  # blank blank: 0.36; token: 0.64
    >>> prefix_beam_search(np.log(p), beam_size=4)
    [1]
    """
    nodes: List[Node] = [(-1, -1)]
    numbers: Dict[Node, int] = {}
    beam: List[Kept] = [(0.0, 0.0, -inf, 0)]
    gains = None if fusion is None else _Gains(fusion, nodes)
    for frame in log_probs:
        stayed = _stay(frame, beam, nodes, blank, gains)
        floor = min(stayed)[0] if len(stayed) == beam_size else -inf
        for weight, parent, token in _grow(
            frame, beam, nodes, blank, beam_size, floor, gains
        ):
            number = numbers.setdefault((parent, token), len(nodes))
            if number == len(nodes):
                nodes.append((parent, token))
            stayed.append((weight, -inf, weight, number))
        beam = sorted(stayed, key=lambda kept: -kept[0])[:beam_size]
    best = beam[0]
    if gains is not None:
        best = max(beam, key=lambda kept: kept[0] + gains.at_end(kept[3]))
    return _tokens(best[3], nodes)


def _tokens(number: int, nodes: List[Node], most: float = inf) -> List[int]:
    """Return a sequence's last tokens, at most so many."""
    ids: List[int] = []
    parent, token = nodes[number]
    while parent >= 0 and len(ids) < most:
        ids.append(token)
        parent, token = nodes[parent]
    return ids[::-1]


def _stay(
    frame: np.ndarray,
    beam: List[Kept],
    nodes: List[Node],
    blank: int,
    gains: Optional[_Gains],
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
            if gains is not None:
                gained += gains.after(parent[3])(last)
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
    gains: Optional[_Gains],
) -> List[New]:
    """Return sequences with one more token, not in the beam, with at least `floor`."""
    # No other token can make a new sequence among the best. One more than the beam,
    # because a repeated token gets less than its probability.
    most_tokens, most = beam_size + 1, 0.0
    if gains is not None:
        most_tokens, most = beam_size * MORE_TOKENS, gains.fusion.most
    tokens = _likely(frame, floor - beam[0][0] - most, most_tokens, blank)
    there = {nodes[kept[3]] for kept in beam}
    grown = []
    for kept in beam:
        number = kept[3]
        last = nodes[number][1]
        gained = None if gains is None else gains.after(number)
        for token, weight in tokens:
            if kept[0] + weight + most < floor:
                break
            weight += _before(kept, last, token)
            if gained is not None:
                weight += gained(token)
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
