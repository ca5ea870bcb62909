"""The length adaptor: lengths, padding, gradient, options."""

import pytest
import torch

from espnet_mtasr.asr.teacher.length_adaptor import LengthAdaptor
from espnet_mtasr.errors import UserError


@pytest.mark.parametrize(
    "downsample, wanted",
    [(1, [9, 6, 0]), (2, [5, 3, 0]), (4, [3, 2, 0]), (8, [2, 1, 0])],
)
def test_lengths_and_padding(downsample, wanted):
    """Lengths are halved and rounded up; each row equals itself alone."""
    torch.manual_seed(0)
    adaptor = LengthAdaptor(5, downsample)
    hidden, lengths = torch.randn(3, 9, 5), torch.tensor([9, 6, 0])
    output, output_lengths = adaptor(hidden, lengths)
    assert output_lengths.tolist() == wanted
    assert output.shape == (3, wanted[0], 5)
    alone, _ = adaptor(hidden[1:2, :6], lengths[1:2])
    torch.testing.assert_close(output[1, : wanted[1]], alone[0])


def test_gradient_stays_within_the_row():
    adaptor = LengthAdaptor(5, 4)
    hidden = torch.randn(1, 9, 5, requires_grad=True)
    output, lengths = adaptor(hidden, torch.tensor([6]))
    output[0, : lengths[0]].square().sum().backward()
    assert (hidden.grad[0, 6:] == 0).all()
    assert (hidden.grad[0, :6].abs().sum(1) > 0).all()


def test_wrong_downsample():
    with pytest.raises(UserError, match="choose 1, 2, 4 or 8"):
        LengthAdaptor(5, 16)
