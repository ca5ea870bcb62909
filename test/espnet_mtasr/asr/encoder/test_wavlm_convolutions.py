"""The convolutions give what transformers' do, a stretch at a time too."""

import copy

import pytest
import torch
from helpers.tiny_wavlm import FORMS, LARGE_FORM, SHORTEST, tiny_config
from transformers.models.wavlm.modeling_wavlm import WavLMFeatureEncoder

from espnet_mtasr.asr.encoder import wavlm_convolutions
from espnet_mtasr.asr.encoder.wavlm_convolutions import extract_features, field_of

SAMPLES = 1234


def _extractor(**form):
    torch.manual_seed(5)
    return WavLMFeatureEncoder(tiny_config(**form)).eval().requires_grad_(False)


def _audio(samples=SAMPLES):
    torch.manual_seed(6)
    return torch.randn(2, samples)


def _ours(extractor, audio):
    return extract_features(extractor, audio, torch.full((2,), audio.size(1)))


def test_field_of():
    # 2 frames of 3 inputs, 2 apart: 5 of them, each of 4 samples, 5 apart.
    assert field_of([4, 3], [5, 2]) == 2 * 5 + 4
    assert field_of([10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2]) == 400


# 1: a frame of the output at a time.
@pytest.mark.parametrize("values", [1, 1000, 2**21])
@pytest.mark.parametrize("samples", [SHORTEST, SHORTEST + 1, SAMPLES, SAMPLES + 3])
@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_equals_transformers(form, samples, values, monkeypatch):
    monkeypatch.setattr(wavlm_convolutions, "VALUES_ON_CPU", values)
    extractor = _extractor(**FORMS[form])
    expected = extractor(_audio(samples)).transpose(1, 2)
    got = _ours(extractor, _audio(samples))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_small_stretches_are_several(monkeypatch):
    """Or the test above would compare the whole with the whole."""
    runs = []
    run = wavlm_convolutions._run
    monkeypatch.setattr(wavlm_convolutions, "VALUES_ON_CPU", 1)
    monkeypatch.setattr(
        wavlm_convolutions, "_run", lambda *args: runs.append(run(*args)) or runs[-1]
    )
    features = _ours(_extractor(**LARGE_FORM), _audio())
    assert len(runs) == features.size(1) > 3
    assert all(part.size(1) == 1 for part in runs)


def test_gradients_equal_transformers():
    grads = []
    for ours in (False, True):
        extractor = copy.deepcopy(_extractor(**LARGE_FORM)).requires_grad_(True)
        audio = _audio().requires_grad_()
        if ours:
            features = _ours(extractor, audio)
        else:
            features = extractor(audio).transpose(1, 2)
        features.square().sum().backward()
        grads.append([audio.grad, *(p.grad for p in extractor.parameters())])
    for expected, got in zip(*grads, strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-4)
