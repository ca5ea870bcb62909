"""Frozen means no gradient and evaluation mode, part by part."""

import torch

from espnet_mtasr.asr.frozen import is_frozen, keep_frozen_in_eval


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
