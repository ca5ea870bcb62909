"""Frozen means no gradient and evaluation mode, part by part."""

import copy
from functools import partial

import pytest
import torch
from helpers.tiny_models import make_batch, make_model

from espnet_mtasr.asr.frozen import is_frozen, keep_frozen_in_eval
from espnet_mtasr.asr.separator.lstm_separator import LSTMSeparator


def _block() -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(2, 2), torch.nn.Dropout(), torch.nn.BatchNorm1d(2)
    )


def test_is_frozen():
    block = _block()
    assert not is_frozen(block)
    block.requires_grad_(False)
    assert is_frozen(block)
    block[0].bias.requires_grad_(True)
    assert not is_frozen(block)
    # A dropout alone has nothing to freeze.
    assert not is_frozen(torch.nn.Dropout())


def test_only_wholly_frozen_parts_are_in_eval():
    model = torch.nn.ModuleDict({"frozen": _block(), "free": _block()})
    model["frozen"].requires_grad_(False)
    model.train()
    keep_frozen_in_eval(model)
    assert model.training and model["free"].training
    assert all(module.training for module in model["free"])
    assert not any(module.training for module in model["frozen"].modules())


def test_a_part_that_is_frozen_in_part_keeps_its_dropout_active():
    block = _block()
    block[0].requires_grad_(False)
    block.train()
    keep_frozen_in_eval(block)
    # The linear layer is frozen; dropout shares the lot of the block; the batch norm
    # is trained.
    assert [module.training for module in block] == [False, True, True]
    assert block.training


def test_a_frozen_batch_norm_keeps_its_statistics():
    block = _block()
    block[2].requires_grad_(False)
    block.train()
    keep_frozen_in_eval(block)
    before = block[2].running_mean.clone()
    block(torch.randn(5, 2) + 3.0)
    assert torch.equal(block[2].running_mean, before)


def test_eval_is_not_left():
    model = torch.nn.ModuleDict({"free": _block()}).eval()
    keep_frozen_in_eval(model)
    assert not any(module.training for module in model.modules())


class _KeepsFrozenInEval(torch.nn.Sequential):
    def train(self, mode=True):
        super().train(mode)
        keep_frozen_in_eval(self)
        return self


def test_a_module_that_is_frozen_as_a_whole_can_be_trained_and_evaluated():
    module = _KeepsFrozenInEval(_block(), _KeepsFrozenInEval(_block()))
    module.requires_grad_(False)
    for mode in (True, False):
        module.train(mode)
        assert not any(part.training for part in module.modules())


@pytest.fixture
def cudnn(monkeypatch):
    """Recurrent layers as strict as cuDNN: no gradient in evaluation mode."""
    for name in ("lstm", "gru"):

        def strict(plain, inputs, hx, weights, bias, layers, dropout, training, *more):
            if inputs.requires_grad and not training:
                raise RuntimeError("cudnn RNN backward needs training mode")
            return plain(inputs, hx, weights, bias, layers, dropout, training, *more)

        plain = getattr(torch._VF, name)
        monkeypatch.setattr(torch._VF, name, partial(strict, plain))


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU])
def test_a_frozen_recurrent_layer_passes_gradients_on_as_cudnn_wants(cudnn, kind):
    torch.manual_seed(0)
    rnn = kind(3, 4, num_layers=2, dropout=0.5)
    xs = torch.randn(5, 2, 3, requires_grad=True)
    wanted = copy.deepcopy(rnn).eval()(xs.detach())[0]
    with pytest.raises(RuntimeError, match="training mode"):
        copy.deepcopy(rnn).eval()(xs)
    rnn.requires_grad_(False)
    model = _KeepsFrozenInEval(rnn)
    # Each epoch calls it anew.
    for _ in range(2):
        model.train()
        found = rnn(xs)[0]
        assert torch.equal(found, wanted)
        [gradient] = torch.autograd.grad(found.sum(), xs)
        assert gradient.any()
        assert (rnn.training, rnn.dropout) == (False, 0.5)
    assert len(rnn._forward_pre_hooks) == 1
    # A call that fails leaves it as it was.
    with pytest.raises(RuntimeError):
        rnn(xs[..., :2])
    assert (rnn.training, rnn.dropout) == (False, 0.5)
    # Trained again, it has its dropout.
    rnn.requires_grad_(True)
    model.train()
    assert rnn.training and not torch.equal(rnn(xs)[0], wanted)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_branches_are_trained_below_frozen_separators(cudnn, bidirectional):
    model = make_model(ctc_weight=1.0, count_weight=0.0)
    for name in model.separator:
        model.separator[name] = LSTMSeparator(
            16, int(name), hidden_size=8, bidirectional=bidirectional
        )
    model.separator.requires_grad_(False)
    model.train()
    loss, *_ = model(**make_batch((2, 3), (12, 15), [(2, 3), (2, 1, 2)]))
    loss.backward()
    for branch in model.encoder.branches.values():
        assert any(p.grad is not None and p.grad.any() for p in branch.parameters())
    assert not any(part.training for part in model.separator.modules())
