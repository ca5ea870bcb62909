"""Floors follow from limits and work; what limits are measured to be is not tested."""

import json

import pytest
import torch

from espnet_mtasr.errors import UserError
from tools.bench import floors, work
from tools.bench.floors import Floors, Limits, Work, floors_of

TINY = floors.Sizes(
    matrix=8, copy_bytes=4 * 4096 * 2, frames=3, layers=1, input_size=4, hidden_size=2
)


def test_each_floor_can_be_the_largest():
    limits = Limits(
        operations_per_second=100.0, bytes_per_second=10.0, seconds_per_lstm_step=0.5
    )
    assert floors_of(Work(400.0, 20.0, 6), limits) == Floors(4.0, 2.0, 3.0)
    assert floors_of(Work(400.0, 20.0, 6), limits).largest == ("operations", 4.0)
    assert floors_of(Work(100.0, 20.0, 3), limits).largest == ("bytes", 2.0)
    assert floors_of(Work(100.0, 20.0, 6), limits).largest == ("lstm_steps", 3.0)


def test_limits_are_those_of_the_fastest_round(monkeypatch):
    times = {
        "matrix product": [2.0, 0.5, 1.0],
        "copy": [1.0, 2.0, 4.0],
        "matrix-vector product": [1.0, 0.25, 4.0],
        "LSTM": [3.0, 6.0, 4.0],
    }
    monkeypatch.setattr(floors, "measure", lambda runs, rounds: times)
    limits, seconds = floors.measure_limits("cpu", "float32", TINY)
    assert seconds is times
    assert limits.operations_per_second == 2 * 8**3 / 0.5
    # Reading 32 KiB in 0.25 s beats reading and writing them in 1 s.
    assert limits.bytes_per_second == 32768 / 0.25
    assert limits.seconds_per_lstm_step == 1.0


def test_the_lstm_is_that_of_the_model():
    module = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.LSTM(5, 6, 3))
    assert floors.with_lstm_of(TINY, module)[3:] == (3, 5, 6)
    assert floors.with_lstm_of(TINY, torch.nn.Linear(7, 5)) == TINY


def test_main(tmp_path, capsys):
    out = tmp_path / "out.json"
    words = "--matrix_size 8 --copy_megabytes 1 --frames 3 --num_layers 1 --width 4"
    words += f" --hidden_size 2 --rounds 2 --dtypes float32 bfloat16 --json {out}"
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
    with pytest.raises(UserError, match="--frames 0: give more than 0"):
        floors.main(["--frames", "0"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda: torch finds no GPU"):
        floors.main(["--device", "cuda"])


def test_operations_of_layers():
    linear = torch.nn.Linear(5, 7, dtype=torch.bfloat16)
    xs = torch.randn(3, 5, dtype=torch.bfloat16)
    counted = work.count_work(lambda: linear(xs), linear)
    assert counted == Work(2 * 3 * 5 * 7, 2 * (5 * 7 + 7), 0)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_operations_of_an_lstm(bidirectional):
    lstm = torch.nn.LSTM(5, 6, 2, batch_first=True, bidirectional=bidirectional)
    xs = torch.randn(3, 11, 5)
    output, _ = lstm(xs)
    shapes = []
    counted = work.count_work(lambda: shapes.append(lstm(xs)[0].shape))
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
    assert work.count_work(fused).operations == expected
    assert work.count_work(plain).operations == expected


def test_shared_weights_are_read_once():
    linear = torch.nn.Linear(4, 4, bias=False)
    assert work.weight_bytes(linear, torch.nn.Sequential(linear)) == 64


def test_work_of_a_language_model():
    """Against a count of what it computes without a cache, token by token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    llm = LlamaForCausalLM(config).eval()
    prefix, tokens, rows = 7, 4, 3

    def whole_pass(positions):
        ids = torch.zeros(rows, positions, dtype=torch.long)
        return lambda: llm(ids, logits_to_keep=1, use_cache=False)

    head = 2 * rows * 50 * 16
    # All positions at once, attention in full and not only to what comes before.
    positions = prefix + tokens - 1
    at_once = work.count_work(whole_pass(positions)).operations - head
    attention = 2 * 2 * rows * 2 * 4 * 4
    in_full, causal = positions**2, positions * (positions + 1) / 2
    counted = work.llm_work(llm, rows, prefix, tokens)
    expected = at_once - attention * (in_full - causal) + tokens * head
    assert counted.operations == pytest.approx(expected)
    layer = 16 * (16 + 8 + 8 + 16) + 3 * 16 * 24 + 2 * 16
    weights = 4 * (2 * layer + 50 * 16)
    cached = 2 * 2 * 2 * 4 * 4 * (8 + 9 + 10)
    assert counted.bytes == tokens * weights + rows * cached
    assert counted.lstm_steps == 0
