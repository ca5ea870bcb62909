"""The attention gives what transformers' does, in blocks of queries too."""

import copy

import pytest
import torch
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from espnet_mtasr.asr.encoder import wavlm_attention
from espnet_mtasr.asr.encoder.wavlm_attention import GatedBiasAttention

ROWS, FRAMES, HEADS, WIDTH = 3, 37, 4, 24
LENGTHS = torch.tensor([37, 20, 1])


@pytest.fixture
def attention():
    torch.manual_seed(3)
    attention = WavLMAttention(
        embed_dim=WIDTH, num_heads=HEADS, dropout=0.5, num_buckets=16, max_distance=20
    ).eval()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return attention


def _hidden():
    torch.manual_seed(4)
    return torch.randn(ROWS, FRAMES, WIDTH)


def _mask():
    return torch.arange(FRAMES) < LENGTHS[:, None]


def _by_transformers(attention, hidden, mask=None):
    mask = torch.ones(hidden.shape[:2], dtype=torch.bool) if mask is None else mask
    return attention(hidden, attention_mask=mask)[0]


def _ours(attention, hidden, mask=None, frames=FRAMES):
    ours = GatedBiasAttention.taking_over(copy.deepcopy(attention))
    output, weights, bias = ours(hidden, mask, ours.distance_bias(frames))
    assert weights is None and bias.shape == (HEADS, 2 * frames - 1)
    return output


def test_distance_bias_is_that_of_transformers(attention):
    ours = GatedBiasAttention.taking_over(attention)
    expected = attention.compute_bias(FRAMES, FRAMES)
    by_distance = ours.distance_bias(FRAMES)
    for query in range(FRAMES):
        for key in range(FRAMES):
            got = by_distance[:, key - query + FRAMES - 1]
            assert torch.equal(got, expected[:, query, key])


# Portions: all heads; one head at a time; a few queries of a head.
PORTIONS = [(2**20, 1024), (0, 1024), (0, 10)]


@pytest.mark.parametrize("scores, fewest_queries", PORTIONS)
@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_equals_transformers(attention, scores, fewest_queries, padded, monkeypatch):
    monkeypatch.setattr(wavlm_attention, "SCORES_ON_CPU", scores)
    monkeypatch.setattr(wavlm_attention, "FEWEST_QUERIES", fewest_queries)
    mask = _mask() if padded else None
    expected = _by_transformers(attention, _hidden(), mask)
    got = _ours(attention, _hidden(), mask)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_portions_cover_each_query_once(monkeypatch):
    monkeypatch.setattr(wavlm_attention, "FEWEST_QUERIES", 10)
    for scores, expected in ((2**20, 3), (2 * ROWS * FRAMES**2, 2 * 3), (0, HEADS * 3)):
        monkeypatch.setattr(wavlm_attention, "SCORES_ON_CPU", scores)
        times = torch.zeros(ROWS, HEADS, FRAMES, WIDTH // HEADS)
        portions = list(GatedBiasAttention._portions(times))
        for heads, queries in portions:
            times[:, heads, queries] += 1
        assert len(portions) == expected
        assert torch.equal(times, torch.ones_like(times))


@torch.no_grad()
def test_a_bias_for_more_frames_serves_fewer(attention):
    expected = _by_transformers(attention, _hidden())
    got = _ours(attention, _hidden(), frames=FRAMES + 11)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_gradients_equal_transformers(attention):
    grads = []
    for attend in (_by_transformers, _ours):
        module = copy.deepcopy(attention)
        hidden = _hidden().requires_grad_()
        if attend is _ours:
            module = GatedBiasAttention.taking_over(module)
            output, _, _ = module(hidden, _mask(), module.distance_bias(FRAMES))
        else:
            output = attend(module, hidden, _mask())
        output[_mask()].square().sum().backward()
        parameters = dict(module.named_parameters())
        grads.append(
            {"hidden": hidden.grad, **{k: p.grad for k, p in parameters.items()}}
        )
    expected, got = grads
    assert expected.keys() == got.keys()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], atol=1e-3, rtol=1e-4)


def test_dropout_is_for_training_only(attention):
    ours = GatedBiasAttention.taking_over(attention)
    bias = ours.distance_bias(FRAMES)
    hidden = _hidden()
    once, twice = (ours(hidden, None, bias)[0] for _ in range(2))
    assert torch.equal(once, twice)
    ours.train()
    once, twice = (ours(hidden, None, bias)[0] for _ in range(2))
    assert not torch.equal(once, twice)


def test_the_weights_are_taken_over_not_copied(attention):
    ours = GatedBiasAttention.taking_over(attention)
    theirs = dict(attention.named_parameters())
    assert theirs.keys() == dict(ours.named_parameters()).keys()
    assert all(ours.get_parameter(name) is p for name, p in theirs.items())
