"""Talker activity: frames, loss, and what the count head learns of it."""

import math

import pytest
import torch

from espnet_mtasr.asr.talker_activity import active_frames, activity_loss
from espnet_mtasr.asr.talker_count_head import TalkerCountHead

# Of 4 frames talker 1 speaks in the first three, talker 2 from the second on.
TIMES = torch.tensor([[[[0.0, 0.75], [0.25, 1.0], [0.0, 0.0]]]])
ACTIVE = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0]]).float().T


def test_active_frames():
    found = active_frames(TIMES, torch.tensor([4]), 6)
    assert torch.equal(found[0, :4], ACTIVE)


def test_several_turns():
    turns = torch.tensor([[[[0.0, 0.25], [0.0, 1.0]], [[0.5, 1.0], [0.0, 0.0]]]])
    found = active_frames(turns, torch.tensor([4]), 4)
    assert found[0].T.tolist() == [[1, 0, 1, 1], [1, 1, 1, 1]]


def test_loss_by_hand_and_without_padding():
    logits = torch.full((1, 4, 3), 2.0)
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    wanted = (6 * right + 6 * wrong) / 12
    assert activity_loss(logits, torch.tensor([4]), TIMES).item() == pytest.approx(
        wanted
    )
    padded = torch.cat([logits, torch.full((1, 3, 3), 1e3)], dim=1)
    torch.testing.assert_close(
        activity_loss(padded, torch.tensor([4]), TIMES),
        activity_loss(logits, torch.tensor([4]), TIMES),
    )


def test_a_row_without_frames_is_finite():
    assert activity_loss(torch.zeros(1, 1, 3), torch.tensor([0]), TIMES).item() == 0.0


def test_the_count_is_the_same_with_activity():
    torch.manual_seed(0)
    head = TalkerCountHead(
        6, 2, hidden_size=8, num_context_layers=1, context_lstm_size=4, num_activities=3
    ).eval()
    hidden, lengths = torch.randn(2, 5, 6), torch.tensor([5, 3])
    logits, activity = head.with_activity(hidden, lengths)
    assert activity.shape == (2, 5, 3)
    torch.testing.assert_close(logits, head(hidden, lengths))


def test_a_head_without_activities_says_so():
    head = TalkerCountHead(6, 2, hidden_size=8)
    with pytest.raises(ValueError, match="has no activity_weight"):
        head.with_activity(torch.randn(1, 5, 6), torch.tensor([5]))
