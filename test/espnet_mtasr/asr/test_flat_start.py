"""Flat start: labels that are placed evenly, and what the model learns of them."""

import pytest
import torch

from espnet_mtasr.asr.flat_start import flat_start_loss, frame_labels, place_evenly


def test_places():
    times = place_evenly(["▁had", "▁", "a"], 0.5, 1.0)
    assert times.dtype.name == "float32"
    assert times.ravel().tolist() == pytest.approx([0.5, 0.8, 0.8, 0.9, 0.9, 1.0])
    assert place_evenly([], 0.0, 0.0).shape == (0, 2)


def rows(*arrays):
    longest = max(len(a) for a in arrays)
    padded = torch.zeros(len(arrays), longest, 2)
    for row, array in enumerate(arrays):
        padded[row, : len(array)] = torch.from_numpy(array)
    return padded


def test_labels_are_the_middles_of_tokens():
    times = rows(place_evenly(["a", "b"], 0.0, 1.0), place_evenly(["a"], 0.25, 1.0))
    targets, target_lengths = torch.tensor([[5, 6], [7, -1]]), torch.tensor([2, 1])
    labels = frame_labels(torch.tensor([8, 4]), targets, target_lengths, times, 8)
    assert labels[0].tolist() == [0, 5, 5, 0, 0, 6, 6, 0]
    assert labels[1, :4].tolist() == [0, 0, 7, 0]


def test_loss_by_hand():
    torch.manual_seed(0)
    log_probs = [torch.randn(2, 8, 9).log_softmax(-1) for _ in range(2)]
    lengths = torch.tensor([8, 4])
    targets = [torch.tensor([[5, 6], [7, -1]]), torch.tensor([[3], [4]])]
    target_lengths = torch.tensor([[2, 1], [1, 1]])
    times = [
        rows(place_evenly(["a", "b"], 0.0, 1.0), place_evenly(["a"], 0.5, 1.0)),
        rows(place_evenly(["c"], 0.25, 0.75), place_evenly(["c"], 0.0, 0.5)),
    ]
    loss = flat_start_loss(log_probs, lengths, targets, target_lengths, times)
    for row in range(2):
        total = 0.0
        for k in range(2):
            labels = frame_labels(
                lengths, targets[k], target_lengths[:, k], times[k], 8
            )
            for t in range(lengths[row]):
                total -= log_probs[k][row, t, labels[row, t]].item()
        expected = total / target_lengths[row].sum().item()
        assert loss[row].item() == pytest.approx(expected, rel=1e-5)
    # What lies beyond a row's end says nothing.
    for part in log_probs:
        part[1, 4:] = -99.0
    again = flat_start_loss(log_probs, lengths, targets, target_lengths, times)
    assert torch.equal(loss, again)


def test_a_blank_is_one_character():
    """Characters: the word's end is no longer than its letters."""
    times = place_evenly(["g", "o", "<space>", "i", "n"], 0.0, 1.0)
    assert (times[:, 1] - times[:, 0]).tolist() == pytest.approx([0.2] * 5)


@pytest.mark.parametrize("frames", [10, 11, 13, 20])
def test_no_token_is_lost_where_frames_are_few(frames):
    times = rows(place_evenly("abcdefghij", 0.0, 1.0))
    targets = torch.arange(1, 11)[None]
    labels = frame_labels(
        torch.tensor([frames]), targets, torch.tensor([10]), times, frames
    )
    assert set(labels[0].tolist()) >= set(range(1, 11))
