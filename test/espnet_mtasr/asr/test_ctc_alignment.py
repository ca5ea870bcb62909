"""The best path through a known sequence, against all paths of small cases."""

import itertools

import pytest
import torch

from espnet_mtasr.asr.ctc_alignment import align_tokens
from espnet_mtasr.asr.serialized_ctc import collapse


def best_path(log_probs, ids):
    """The most probable of all paths, and its probability."""
    frames, size = log_probs.shape
    paths = [
        path
        for path in itertools.product(range(size), repeat=frames)
        if collapse(path) == list(ids)
    ]
    scores = [sum(log_probs[t, c].item() for t, c in enumerate(p)) for p in paths]
    return paths[max(range(len(paths)), key=scores.__getitem__)]


@pytest.mark.parametrize("ids", [[1], [1, 1], [1, 2], [2, 1, 2], [2, 2, 1]])
def test_against_all_paths(ids):
    torch.manual_seed(len(ids))
    log_probs = (3 * torch.randn(6, 3)).log_softmax(-1)
    path = best_path(log_probs, ids)
    spans = align_tokens(log_probs, ids)
    assert len(spans) == len(ids)
    painted = [0] * 6
    for token, span in zip(ids, spans):
        heard = log_probs[span.start : span.end, token].mean().exp().item()
        assert span.probability == pytest.approx(heard, rel=1e-5)
        painted[span.start : span.end] = [token] * (span.end - span.start)
    assert tuple(painted) == path


def test_no_tokens_and_too_many():
    log_probs = torch.zeros(3, 2).log_softmax(-1)
    assert align_tokens(log_probs, []) == []
    with pytest.raises(ValueError, match="3 frames, 3 tokens need 5"):
        align_tokens(log_probs, [1, 1, 1])
