"""Masks and rows of padded batches."""

import torch

from espnet_mtasr.asr.padding import select_rows, valid_mask


def test_valid_mask():
    mask = valid_mask(torch.tensor([2, 0, 3]), 3)
    assert mask.tolist() == [
        [True, True, False],
        [False, False, False],
        [True, True, True],
    ]


def test_select_rows_cuts_padding_that_no_row_needs():
    padded = torch.arange(24.0).view(3, 4, 2)
    selected, lengths = select_rows(
        padded, torch.tensor([4, 2, 1]), torch.tensor([2, 1])
    )
    assert lengths.tolist() == [1, 2]
    assert torch.equal(selected, padded[[2, 1], :2])


def test_select_rows_keeps_a_frame_of_rows_without_one():
    padded = torch.ones(2, 4, 3)
    selected, lengths = select_rows(padded, torch.tensor([4, 0]), torch.tensor([1]))
    assert selected.shape == (1, 1, 3)
    assert lengths.tolist() == [0]
