"""The benchmark of decoding on shrunken models; its speeds are not tested."""

import json
import statistics

import pytest
import torch
from helpers.shrunken_facts import shrunken_config, shrunken_facts

from espnet_mtasr.errors import UserError
from tools import published_models
from tools.bench import decoding, full_size_models
from tools.bench.floors import Limits, Work

TINY = "--seconds 1 --limit_size 16 --limit_megabytes 1"


@pytest.fixture
def config(monkeypatch, tmp_path):
    monkeypatch.setattr(published_models, "FACTS", shrunken_facts(400))
    return shrunken_config(2, tmp_path)


def make(config, *words):
    options = ["--config", config, "--seconds", 1, "--llm_tokens", 4, 6, *words]
    args = decoding.OPTIONS.parse_args([str(option) for option in options])
    decoding.check_options(args)
    return full_size_models.FullSizeDecoding(args)


def test_main(config, tmp_path, capsys):
    out = tmp_path / "out.json"
    words = f"{TINY} --config {config} --batch_sizes 1 2 --llm_tokens 4 6 --rounds 2"
    words += f" --json {out}"
    decoding.main(words.split())
    printed = capsys.readouterr().out
    results = json.loads(out.read_text())
    assert "reported by Shi et al. (one H100, batch 1), not measured here" in printed
    assert "2 talkers: RTF 0.0043 encoder-only, 0.1150" in printed
    for rows in (1, 2):
        batch = results["figures"]["batches"][str(rows)]
        shown = printed.split(f"batch of {rows}, 2 rounds")[1]
        for name, figure in batch["pieces"].items():
            seconds = results["seconds"][f"batch of {rows}, {name}"]
            assert len(seconds) == 2
            median = statistics.median(seconds)
            assert figure["rtf"] == pytest.approx(median / rows)
            largest = max(figure["floors"].values())
            assert figure["floors"][figure["largest_floor"]] == largest
            assert figure["times_the_floor"] == pytest.approx(median / largest)
            assert name.split(",")[0] in shown
        compared = batch["language_model_over_encoder_only"]
        # Only at the first.
        assert list(compared) == (["2", "3"] if rows == 1 else [])
        for count, figure in compared.items():
            llm, ours = (
                results["seconds"][f"batch of 1, {count} talkers, {what}"]
                for what in ("language model", "encoder-only")
            )
            each = sorted(a / b for a, b in zip(llm, ours))
            told = figure["times_as_long"]
            assert [told["min"], told["max"]] == pytest.approx(each)


def test_bfloat16_without_language_model(config, capsys):
    words = f"{TINY} --config {config} --rounds 1 --llm_tokens"
    decoding.main([*words.split(), "--dtype", "bfloat16", "--talker_counts", "3"])
    printed = capsys.readouterr().out
    assert "3 talkers, encoder-only" in printed and "2 talkers" not in printed
    assert "language model" not in printed


def test_bfloat16_with_language_model(config, capsys):
    words = f"{TINY} --config {config} --rounds 1"
    words += " --talker_counts 2 --llm_tokens 4 --dtype bfloat16"
    decoding.main(words.split())
    assert "2 talkers, language model / encoder-only" in capsys.readouterr().out


def test_exactly_as_many_tokens_as_asked_for(config):
    made = make(config)
    steps = []
    head = made.model.teacher.llm.get_output_embeddings()
    head.register_forward_hook(lambda module, inputs, output: steps.append(1))
    pieces = made.pieces(1)
    for count, tokens in ((2, 4), (3, 6)):
        steps.clear()
        pieces[full_size_models.by_llm(count)].run()
        assert len(steps) == tokens
    made.tokens[2] = 5
    with pytest.raises(RuntimeError, match="wrote 4 tokens, not 5"):
        made.pieces(1)


def test_merging_lora_changes_no_token(config, monkeypatch):
    """The language model that is timed is the one that was trained."""
    written = {}
    for merged in (True, False):
        if not merged:
            monkeypatch.setattr(full_size_models, "merge_adapters", lambda model: None)
        seed = torch.Generator().manual_seed(1)
        build = full_size_models.build_model

        def build_with_lora(*args, **options):
            model, train_args = build(*args, **options)
            with torch.no_grad():
                for name, parameter in model.teacher.named_parameters():
                    if "lora_B" in name:
                        parameter.normal_(generator=seed)
            return model, train_args

        with monkeypatch.context() as patch:
            patch.setattr(full_size_models, "build_model", build_with_lora)
            made = make(config)
        assert any("lora" in n for n, _ in made.model.named_parameters()) != merged
        waves = full_size_models.noise(1, 1.0)
        (mixture,) = made._decode(made.llms[3], waves, 3)()
        written[merged] = [talker.token_ids for talker in mixture.talkers]
    assert written[True] == written[False]


def test_parts_that_give_other_tokens_are_refused(config, monkeypatch):
    made = make(config)
    heads = made.model.ctc["2"]
    search = heads.greedy_search
    calls = []

    def one_more(streams, lengths):
        calls.append(1)
        return [
            [ids + [1] * len(calls) for ids in row] for row in search(streams, lengths)
        ]

    monkeypatch.setattr(heads, "greedy_search", one_more)
    with pytest.raises(
        RuntimeError, match="2 talkers: the parts give different tokens"
    ):
        made.pieces(1)


def test_work_grows_with_the_batch(config):
    made = make(config)
    one, two = made.pieces(1), made.pieces(2)
    for name in full_size_models.parts_of(3):
        assert one[name].work.operations > 0
        assert two[name].work.operations == 2 * one[name].work.operations
        assert two[name].work[1:] == one[name].work[1:]
    frames = int(made.model.encoder.output_lengths(torch.tensor([16000]))[0])
    assert one["separator, 3 talkers"].work.lstm_steps == frames * 2
    total = sum(one[name].work.operations for name in full_size_models.parts_of(3))
    assert one[full_size_models.whole(3)].work.operations == total


def test_work_of_a_branch_by_hand(config):
    made = make(config)
    part = made.pieces(1)["branch, 2 talkers"]
    size = made.model.encoder.trunk.config
    frames = int(made.model.encoder.output_lengths(torch.tensor([16000]))[0])
    width, inner = size.hidden_size, size.intermediate_size
    linear = 2 * frames * (4 * width * width + 2 * width * inner)
    # The gate of the relative position bias: 2 sums of 4 outputs for each head.
    heads = size.num_attention_heads
    gate = 2 * frames * heads * (width // heads) * 2
    attention = 2 * 2 * frames * frames * width
    assert part.work.operations == 2 * (linear + gate + attention)


def test_work_of_a_language_model(config):
    """Two tokens more read all weights twice more, and attend to what came before."""
    few, more = (
        make(config, "--talker_counts", 2, "--llm_tokens", tokens) for tokens in (4, 6)
    )
    one, two = (made.pieces(1)[full_size_models.by_llm(2)].work for made in (few, more))
    teacher = few.model.teacher
    output = teacher.llm.get_output_embeddings().weight.numel()
    layers = [p.numel() for p in teacher.llm.model.layers.parameters() if p.dim() > 1]
    norms = [p.numel() for p in teacher.llm.model.layers.parameters() if p.dim() == 1]
    assert two.bytes - one.bytes == 2 * 4 * (sum(layers) + sum(norms) + output)
    frames = few.model.encoder.output_lengths(torch.tensor([16000]))
    hidden = torch.zeros(1, int(frames[0]), few.model.encoder.output_size())
    _, shortened = teacher.adaptor(hidden, frames)
    # The begin of sentence comes first; the fifth token attends to itself too.
    attended = sum(int(shortened[0]) + 1 + written for written in (4, 5))
    size = teacher.llm.config
    heads = size.num_attention_heads
    head_dim = getattr(size, "head_dim", None) or size.hidden_size // heads
    attention = 4 * size.num_hidden_layers * heads * head_dim * attended
    linear = 2 * 2 * (sum(layers) + output)
    assert two.operations - one.operations == linear + attention


def test_figures_by_hand():
    pieces = {"x": full_size_models.Piece(lambda: None, Work(100.0, 10.0, 1))}
    limits = Limits(100.0, 100.0, 0.5)
    figure = decoding.summarize(pieces, {"x": [4.0, 2.0, 3.0]}, 20.0, limits)["x"]
    assert figure["seconds"] == {"median": 3.0, "min": 2.0, "max": 4.0}
    assert figure["rtf"] == 0.15 and figure["largest_floor"] == "operations"
    assert figure["times_the_floor"] == 3.0


@pytest.mark.parametrize(
    "words, message",
    [
        ("--rounds 0", "--rounds 0: give more than 0"),
        ("--batch_sizes 1 0", "--batch_sizes 0: give more than 0"),
        ("--llm_tokens 45", "--llm_tokens .45.: give a number from 2 for each of"),
        ("--llm_tokens 45 1", "--llm_tokens .45, 1.: give a number from 2 for each"),
        ("--config no.yaml", "--config no.yaml: no such file"),
        ("--device cuda", "--device cuda: torch finds no GPU"),
    ],
)
def test_wrong_arguments(words, message, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        decoding.main(words.split())


def test_configurations_that_can_not_decode(config, monkeypatch, tmp_path):
    with pytest.raises(UserError, match="--talker_counts 4: .* has .2, 3."):
        make(config, "--talker_counts", 2, 4)
    phase_1 = shrunken_config(1, tmp_path)
    with pytest.raises(UserError, match="trains no CTC heads or no talker-count"):
        make(phase_1)
    text = config.read_text().replace("teacher: llm", "teacher: null")
    config.write_text(text.replace("ctc_weight: 0.7", "ctc_weight: 1.0"))
    with pytest.raises(UserError, match="has no teacher"):
        make(config)
