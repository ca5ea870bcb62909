"""A narrow beam keeps what it would keep if every token were tried."""

import numpy as np
import pytest

from espnet_mtasr.asr.ctc_beam_search import prefix_beam_search


def try_every_token(log_probs, beam_size):
    """The same search, written plainly: probabilities, all tokens, no shortcuts."""
    beam = {(): (1.0, 0.0)}
    for frame in np.exp(log_probs):
        grown = {}
        for prefix, (blank, token) in beam.items():
            for c, p in enumerate(frame):
                if c == 0:
                    gains = [(prefix, p * (blank + token), 0.0)]
                elif prefix and c == prefix[-1]:
                    gains = [(prefix, 0.0, p * token), (prefix + (c,), 0.0, p * blank)]
                else:
                    gains = [(prefix + (c,), 0.0, p * (blank + token))]
                for target, to_blank, to_token in gains:
                    old = grown.get(target, (0.0, 0.0))
                    grown[target] = (old[0] + to_blank, old[1] + to_token)
        best = sorted(grown, key=lambda prefix: -sum(grown[prefix]))
        beam = {prefix: grown[prefix] for prefix in best[:beam_size]}
    return list(next(iter(beam)))


@pytest.mark.parametrize("beam_size", [1, 2, 3, 8])
@pytest.mark.parametrize("blank", [0.0, 4.0])
def test_shortcuts_lose_nothing(beam_size, blank):
    """Also where nearly all frames are blank, and where units are many."""
    rng = np.random.default_rng(beam_size)
    for k in range(100):
        scores = 1.5 * rng.standard_normal((8, 7 if k % 5 else 30))
        scores[:, 0] += blank * (rng.random(8) < 0.8)
        log_probs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        expected = try_every_token(log_probs, beam_size)
        assert prefix_beam_search(log_probs, beam_size) == expected


def test_no_frames():
    assert prefix_beam_search(np.zeros((0, 5)), 4) == []


def test_impossible_tokens():
    with np.errstate(divide="ignore"):
        log_probs = np.log([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert prefix_beam_search(log_probs, 3) == [1, 1]
