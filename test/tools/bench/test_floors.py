"""Floors follow from limits and work; what limits are measured to be is not tested."""

import json

import pytest
import torch

from espnet_mtasr.errors import UserError
from tools.bench import floors
from tools.bench.floors import Limits, Work, floors_of


def test_floors_by_hand():
    limits = Limits(
        operations_per_second=100.0, bytes_per_second=10.0, seconds_per_lstm_step=0.5
    )
    found = floors_of(Work(400.0, 20.0, 6), limits)
    assert found == {"operations": 4.0, "bytes": 2.0, "lstm_steps": 3.0}


def test_limits_are_those_of_the_fastest_round(monkeypatch):
    times = {
        "matrix product": [2.0, 0.5, 1.0],
        "copy": [1.0, 2.0, 4.0],
        "matrix-vector product": [1.0, 0.25, 4.0],
        "LSTM": [3.0, 6.0, 4.0],
    }
    monkeypatch.setattr(floors.bench, "measure", lambda runs, rounds: times)
    limits, seconds = floors.measure_limits("cpu", "float32", 8, 1, (4, 2, 1))
    assert seconds is times
    assert limits.operations_per_second == 2 * 8**3 / 0.5
    # Reading 1 MiB in 0.25 s beats reading and writing it in 1 s.
    assert limits.bytes_per_second == 2**20 / 0.25
    assert limits.seconds_per_lstm_step == 3.0 / 500


def test_the_lstm_is_that_of_the_model():
    module = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.LSTM(5, 6, 3))
    assert floors.lstm_size_of(module) == (5, 6, 3)
    assert floors.lstm_size_of(torch.nn.Linear(7, 5)) == floors.LSTM_SIZE


def test_main(tmp_path, capsys):
    out = tmp_path / "out.json"
    words = "--matrix_size 8 --copy_megabytes 1 --rounds 2"
    words += f" --dtypes float32 bfloat16 --json {out}"
    floors.main(words.split())
    results = json.loads(out.read_text())
    printed = capsys.readouterr().out
    assert list(results["figures"]) == ["float32", "bfloat16"]
    assert len(results["seconds"]) == 8
    for dtype, figures in results["figures"].items():
        fastest = min(results["seconds"][f"{dtype}, matrix product"])
        assert figures["operations_per_second"] == 2 * 8**3 / fastest
        assert f"{dtype}: " in printed


def test_wrong_arguments(monkeypatch):
    with pytest.raises(UserError, match="--matrix_size 0: give more than 0"):
        floors.main(["--matrix_size", "0"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda: torch finds no GPU"):
        floors.main(["--device", "cuda"])


def test_operations_of_layers():
    linear = torch.nn.Linear(5, 7, dtype=torch.bfloat16)
    xs = torch.randn(3, 5, dtype=torch.bfloat16)
    counted = floors.count_work(lambda: linear(xs), linear)
    assert counted == Work(2 * 3 * 5 * 7, 2 * (5 * 7 + 7), 0)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_operations_of_an_lstm(bidirectional):
    lstm = torch.nn.LSTM(5, 6, 2, batch_first=True, bidirectional=bidirectional)
    xs = torch.randn(3, 11, 5)
    output, _ = lstm(xs)
    shapes = []
    counted = floors.count_work(lambda: shapes.append(lstm(xs)[0].shape))
    ways = 2 if bidirectional else 1
    matrices = ways * 4 * 6 * ((5 + 6) + (ways * 6 + 6))
    assert counted == Work(2 * 3 * 11 * matrices, 0, 2 * 11)
    assert shapes == [output.shape]
    # It computes again afterwards.
    assert torch.equal(lstm(xs)[0], output)


def test_attention_is_counted_whatever_computes_it():
    query, key, value = torch.randn(3, 2, 4, 11, 6)

    def fused():
        torch.nn.functional.scaled_dot_product_attention(query, key, value)

    def plain():
        ((query @ key.transpose(-1, -2)).softmax(-1)) @ value

    expected = 2 * (2 * 4) * 11 * 11 * 6 * 2
    assert floors.count_work(fused).operations == expected
    assert floors.count_work(plain).operations == expected


def test_shared_weights_are_read_once():
    linear = torch.nn.Linear(4, 4, bias=False)
    assert floors.weight_bytes(linear, torch.nn.Sequential(linear)) == 64
