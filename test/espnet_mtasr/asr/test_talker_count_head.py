"""Talker-count head: shapes, padding, gradients."""

import pytest
import torch

from espnet_mtasr.asr.talker_count_head import (
    AttentiveStatisticsPooling,
    TalkerCountHead,
)
from espnet_mtasr.errors import UserError

LENGTHS = torch.tensor([9, 4, 1])


CONTEXTS = {
    "paper": {},
    "convolutions": dict(num_context_layers=2),
    "lstm": dict(num_context_layers=2, context_lstm_size=4),
}


@pytest.fixture(params=CONTEXTS)
def head(request):
    torch.manual_seed(0)
    return TalkerCountHead(
        6, 3, hidden_size=8, attention_size=5, **CONTEXTS[request.param]
    ).eval()


def test_pooling_of_even_attention_is_mean_and_standard_deviation():
    pooling = AttentiveStatisticsPooling(2, 4)
    torch.nn.init.zeros_(pooling.score[2].weight)
    hidden = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [99.0, 99.0]]])
    pooled = pooling(hidden, torch.tensor([2]))
    # Means 2 and 0; deviations 1 and 0, the latter kept at 1e-3 for its slope's sake.
    torch.testing.assert_close(pooled, torch.tensor([[2.0, 0.0, 1.0, 1e-3]]))


def test_pooling_follows_attention():
    pooling = AttentiveStatisticsPooling(1, 1)
    with torch.no_grad():
        for linear, weight in ((pooling.score[0], 1.0), (pooling.score[2], 1e3)):
            linear.weight.fill_(weight)
            linear.bias.zero_()
    pooled = pooling(torch.tensor([[[-1.0], [2.0]]]), torch.tensor([2]))
    torch.testing.assert_close(pooled, torch.tensor([[2.0, 1e-3]]))


def test_a_batch_gives_what_each_row_gives(head):
    hidden = torch.randn(3, 9, 6)
    logits = head(hidden, LENGTHS)
    assert logits.shape == (3, 3)
    for row, n in enumerate(LENGTHS.tolist()):
        alone = head(hidden[row : row + 1, :n], LENGTHS[row : row + 1])
        torch.testing.assert_close(logits[row], alone[0], atol=1e-5, rtol=0)
    noisy = hidden.clone()
    noisy[1, 4:] = 1e4
    torch.testing.assert_close(head(noisy, LENGTHS), logits, atol=1e-5, rtol=0)


def test_a_row_without_frames_is_finite(head):
    logits = head(torch.randn(2, 3, 6), torch.tensor([3, 0]))
    assert logits.isfinite().all()


@pytest.mark.parametrize("kind", ["random", "constant", "zero", "one frame"])
def test_gradients_are_finite(head, kind):
    hidden = {
        "random": torch.randn(2, 5, 6),
        "constant": torch.randn(2, 1, 6).expand(2, 5, 6),
        "zero": torch.zeros(2, 5, 6),
        "one frame": torch.randn(2, 1, 6),
    }[kind]
    hidden = hidden.clone().requires_grad_()
    lengths = torch.full((2,), hidden.size(1))
    logits = head.train()(hidden, lengths)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    assert hidden.grad.isfinite().all()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    if kind == "random":
        assert hidden.grad.abs().sum() > 0
        # A constant added to every score changes no weight.
        without_effect = {"pooling.score.2.bias"}
        for name, parameter in head.named_parameters():
            moved = parameter.grad.abs().max() > 1e-8
            assert moved or name in without_effect, name


def test_frames_of_no_valid_row_get_no_gradient(head):
    hidden = torch.randn(3, 9, 6, requires_grad=True)
    head(hidden, LENGTHS).sum().backward()
    assert hidden.grad[1, 4:].abs().max() == 0
    assert hidden.grad[1, :4].abs().max() > 0


def test_half_precision_input_gives_single_precision(head):
    assert head(torch.randn(3, 9, 6).bfloat16(), LENGTHS).dtype == torch.float32


def test_context_layers_hear_the_neighbours():
    torch.manual_seed(0)
    head = TalkerCountHead(6, 3, num_context_layers=2, context_kernel_size=3).eval()
    hidden = torch.randn(1, 9, 6, requires_grad=True)
    out = head.input_norm(hidden)
    for layer in head.context:
        out = layer(out, torch.tensor([9]))
    out[0, 4].sum().backward()
    heard = hidden.grad[0].abs().sum(-1).nonzero()[:, 0].tolist()
    assert heard == [2, 3, 4, 5, 6]
    with pytest.raises(UserError, match="context_kernel_size: 4 is even"):
        TalkerCountHead(6, 3, num_context_layers=1, context_kernel_size=4)
