"""Rescored routing: its scores, its file, and the entropies that it weighs."""

import json
import math
from dataclasses import replace

import pytest
import torch
from helpers.tiny_models import make_batch, make_model

from espnet_mtasr.asr.routing import Routing, branch_entropies, stream_entropy
from espnet_mtasr.errors import UserError

ROUTING = Routing("some.pth", (2, 3), 0.9, 2.0, -1.0, (0.0, 0.5))


def test_scores_by_hand():
    log_probs = torch.tensor([[0.8, 0.2]]).log()
    entropies = torch.tensor([[0.3, 0.1]])
    two, three = 2 * math.log(0.8) - 0.3, 2 * math.log(0.2) - 0.1 + 0.5
    total = math.log(math.exp(two) + math.exp(three))
    wanted = torch.tensor([[two - total, three - total]])
    torch.testing.assert_close(ROUTING.scores(log_probs, entropies), wanted)


def test_the_file_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "routing.json"
    ROUTING.write(path)
    assert Routing.read(path) == ROUTING


def test_costs_pick_the_count_with_the_fewest_expected_errors():
    # 3 talkers are more probable, but taking 2 for 3 costs three times as much as 3
    # for 2: 0.45 * 0.3 + 0.55 * 0.6 = 0.465 errors against 0.45 * 0.6 + 0.55 * 0.5.
    log_probs = torch.tensor([[0.45, 0.55], [0.2, 0.8]]).log()
    routing = replace(ROUTING, costs=((0.3, 0.6), (0.6, 0.5)))
    assert ROUTING.pick(log_probs).tolist() == [1, 1]
    assert routing.pick(log_probs).tolist() == [0, 1]
    assert routing.decides and replace(routing, unsure_below=0.0).decides
    assert not replace(ROUTING, unsure_below=0.0).decides


def test_costs_are_read_as_they_were_written_and_may_be_missing(tmp_path):
    path = tmp_path / "routing.json"
    routing = replace(ROUTING, costs=((0.3, 0.6), (0.6, 0.5)))
    routing.write(path)
    assert Routing.read(path) == routing
    # Models that were packed before there were costs.
    values = json.loads(path.read_text())
    del values["costs"]
    path.write_text(json.dumps(values))
    assert Routing.read(path) == ROUTING


@pytest.mark.parametrize(
    "change",
    [
        {"costs": [[0.1, 0.2]]},
        {"costs": [[0.1, 0.2], [0.3]]},
        {"costs": [[0.1, 0.2], [0.3, float("inf")]]},
        {"costs": 1},
        {"head": None},
        {"biases": [0.0]},
        {"biases": [0.0, float("nan")]},
        {"unsure_below": "often"},
        {"more": 1},
    ],
)
def test_another_file_is_refused(tmp_path, change):
    path = tmp_path / "routing.json"
    ROUTING.write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match="routing.json: was not written by"):
        Routing.read(path)


def test_entropy_leaves_padding_out():
    even, sure = torch.full((4,), 0.25).log(), torch.tensor([1.0, 0, 0, 0]).log()
    sure = sure.clamp(min=-1e9)
    stream = torch.stack([even, sure, even])[None]
    other = torch.stack([sure, sure, even])[None]
    found = stream_entropy([stream, other], torch.tensor([2]))
    torch.testing.assert_close(found, torch.tensor([math.log(4) / 4]))
    assert stream_entropy([stream], torch.tensor([0])).item() == 0.0


@torch.no_grad()
def test_branches_of_a_batch_are_those_of_each_row():
    model = make_model(ctc_weight=1.0).eval()
    batch = make_batch((2, 3, 2), (12, 15, 9))
    trunk = model.encode_trunk(batch["speech"], batch["speech_lengths"])
    found = branch_entropies(model, trunk)
    assert found.shape == (3, 2)
    for row in range(3):
        n = int(batch["speech_lengths"][row])
        alone = model.encode_trunk(
            batch["speech"][row : row + 1, :n], batch["speech_lengths"][row : row + 1]
        )
        torch.testing.assert_close(
            found[row], branch_entropies(model, alone)[0], atol=1e-4, rtol=1e-4
        )
