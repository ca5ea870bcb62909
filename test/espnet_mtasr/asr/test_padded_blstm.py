"""Bidirectional LSTM without packed sequences: what torch's packed one gives."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from espnet_mtasr.asr.padded_blstm import PaddedBLSTM


@pytest.mark.parametrize("num_layers", [1, 2])
def test_equals_torchs_over_a_packed_sequence(num_layers):
    torch.manual_seed(0)
    ours = PaddedBLSTM(5, 4, num_layers, dropout=0.5).eval()
    reference = torch.nn.LSTM(5, 4, num_layers, batch_first=True, bidirectional=True)
    for ending, layers in (("", ours.from_start), ("_reverse", ours.from_end)):
        for k, layer in enumerate(layers):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                parameter = getattr(reference, f"{name}_l{k}{ending}")
                parameter.data.copy_(getattr(layer, f"{name}_l0"))
    xs, lengths = torch.randn(3, 7, 5, requires_grad=True), torch.tensor([3, 7, 1])
    packed = pack_padded_sequence(xs, lengths, batch_first=True, enforce_sorted=False)
    wanted, _ = pad_packed_sequence(reference(packed)[0], batch_first=True)
    valid = torch.arange(7)[None] < lengths[:, None]
    got = ours(xs, lengths)
    torch.testing.assert_close(got[valid], wanted[valid])
    (from_ours,) = torch.autograd.grad(got[valid].square().sum(), xs)
    (from_torchs,) = torch.autograd.grad(wanted[valid].square().sum(), xs)
    torch.testing.assert_close(from_ours, from_torchs)


def test_dropout_is_between_layers_alone():
    torch.manual_seed(0)
    xs, lengths = torch.randn(1, 4, 5), torch.tensor([4])
    one, two = PaddedBLSTM(5, 4, 1, dropout=0.5), PaddedBLSTM(5, 4, 2, dropout=0.5)
    assert torch.equal(one(xs, lengths), one(xs, lengths))
    assert not torch.equal(two(xs, lengths), two(xs, lengths))
