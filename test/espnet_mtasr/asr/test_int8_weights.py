"""Weights as 8-bit integers; packing with them is tested in bin/test_mtasr_pack.py."""

import pytest
import torch

from espnet_mtasr.asr.int8_weights import from_int8, to_int8


@pytest.mark.parametrize("weight", [torch.zeros(2, 1024), torch.eye(32).double()])
def test_8_bits_of_zeros_and_ones(weight):
    stored = to_int8({"w": weight, "n": torch.tensor(3)})
    assert stored["w"].dtype == torch.int8
    restored = from_int8(stored)
    assert set(restored) == {"w", "n"} and restored["n"] == 3
    assert torch.allclose(restored["w"], weight.float())


def test_a_single_row_would_have_one_scale_for_all():
    weight = torch.linspace(-1, 1, 2048).reshape(1, 2, 1024)
    assert to_int8({"w": weight})["w"].dtype == torch.float16
