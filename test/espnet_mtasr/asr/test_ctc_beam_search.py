"""A narrow beam keeps what it would keep if every token were tried."""

import numpy as np
import pytest

from espnet_mtasr.asr.ctc_beam_search import prefix_beam_search
from espnet_mtasr.text.ngram import NgramFusion
from espnet_mtasr.text.ngram_training import train_ngram


def try_every_token(log_probs, beam_size, fusion=None):
    """The same search, written plainly: probabilities, all tokens, no shortcuts."""
    beam = {(): (1.0, 0.0)}
    for frame in np.exp(log_probs):
        grown = {}
        for prefix, (blank, token) in beam.items():
            factors = np.ones(len(frame))
            if fusion is not None:
                known = fusion.log_probs(list(prefix))
                factors = np.exp([fusion.gain(known, c) for c in range(len(frame))])
            for c, p in enumerate(frame):
                stays, p = p, p * factors[c] if c else p
                if c == 0:
                    gains = [(prefix, p * (blank + token), 0.0)]
                elif prefix and c == prefix[-1]:
                    gains = [
                        (prefix, 0.0, stays * token),
                        (prefix + (c,), 0.0, p * blank),
                    ]
                else:
                    gains = [(prefix + (c,), 0.0, p * (blank + token))]
                for target, to_blank, to_token in gains:
                    old = grown.get(target, (0.0, 0.0))
                    grown[target] = (old[0] + to_blank, old[1] + to_token)
        best = sorted(grown, key=lambda prefix: -sum(grown[prefix]))
        beam = {prefix: grown[prefix] for prefix in best[:beam_size]}
    if fusion is not None:
        return list(max(beam, key=lambda p: sum(beam[p]) * np.exp(fusion.end(list(p)))))
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


@pytest.mark.parametrize("beam_size", [4, 300])
@pytest.mark.parametrize("weight,penalty", [(0.5, 0.8), (1.0, -0.5), (0.0, 0.0)])
def test_a_language_model(beam_size, weight, penalty):
    """It weighs in where a sequence grows, whichever alignment makes it grow."""
    rng = np.random.default_rng(0)
    texts = [rng.choice(4, 6, p=[0.1, 0.5, 0.3, 0.1]) + 1 for _ in range(40)]
    ngram = train_ngram(texts, "abcdef", (1, 1, 1))
    fusion = NgramFusion(ngram, weight, penalty)
    found = []
    for _ in range(50):
        scores = 1.5 * rng.standard_normal((5, 6))
        log_probs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        found.append(prefix_beam_search(log_probs, beam_size, fusion=fusion))
        assert found[-1] == try_every_token(log_probs, beam_size, fusion)
        if weight == 0:
            assert found[-1] == prefix_beam_search(log_probs, beam_size)
    assert len(set(map(len, found))) > 1


def test_it_prefers_what_it_knows():
    """Two words sound alike; the language model has read only one of them."""
    ngram = train_ngram([np.array([1, 2, 3])] * 5 + [np.array([4])], "-abcd", (1, 1))
    log_probs = np.log(
        [
            [0.02, 0.92, 0.02, 0.02, 0.02],
            [0.02, 0.02, 0.42, 0.02, 0.52],
            [0.02, 0.02, 0.02, 0.92, 0.02],
        ]
    )
    assert prefix_beam_search(log_probs, 8) == [1, 4, 3]
    fusion = NgramFusion(ngram, 0.5, 0.0)
    assert prefix_beam_search(log_probs, 8, fusion=fusion) == [1, 2, 3]
