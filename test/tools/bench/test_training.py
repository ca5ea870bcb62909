"""Benchmarks of training: they run, compare the same things, and refuse other ones."""

import json
from types import SimpleNamespace

import pytest
import torch
import yaml
from helpers.tiny_models import WAVLM_CONF

from espnet_mtasr.errors import UserError
from tools.bench import (
    cached_trunk,
    separator_and_ctc,
    training,
    training_step,
)


@pytest.fixture(scope="module")
def tiny_config(tmp_path_factory):
    """The LibriMix recipe's phase 2 with a tiny encoder and separator."""
    text = (training.FULL_SIZE_CONF / "train_phase2.yaml").read_text()
    config = yaml.safe_load(text)
    config["encoder_conf"] = dict(
        load_pretrained=False, num_trunk_layers=1, wavlm_conf=WAVLM_CONF
    )
    config["separator_conf"]["hidden_size"] = 8
    path = tmp_path_factory.mktemp("conf") / "tiny.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def tiny_step(tiny_config, units=20):
    """A step without teacher, of 1 mixture of 2 talkers."""
    words = ["--config", str(tiny_config), "--units", "20"]
    words += ["--batch_seconds", "0.5", "--utterance_seconds", "0.5"]
    args = training_step.OPTIONS.parse_args(words)
    return training_step.our_step(args, units)


class TestTrainingStep:
    def test_an_unrecorded_trunk_gets_no_gradient(self, tiny_config):
        step = tiny_step(tiny_config)
        trunk = step.model.encoder.trunk
        step.forward(step.batches[0]).backward()
        assert all(p.grad is None for p in trunk.parameters())
        assert not step.forward(step.batches[0]).isnan()

    def test_a_recorded_trunk_changes_nothing_but_the_graph(self, tiny_config):
        plain, recorded = tiny_step(tiny_config), tiny_step(tiny_config)
        gradients = training_step.record_trunk(recorded)
        weights = [p.clone() for p in recorded.model.encoder.trunk.parameters()]
        for step in (plain, recorded):
            torch.manual_seed(0)
            step()
            step()
        assert recorded.losses == pytest.approx(plain.losses, rel=1e-5)
        assert plain.losses[1] != plain.losses[0]
        assert gradients
        trunk = recorded.model.encoder.trunk
        assert all(torch.equal(a, b) for a, b in zip(weights, trunk.parameters()))

    def test_the_targets_are_the_same_for_any_number_of_units(self, tiny_config):
        few, many = tiny_step(tiny_config), tiny_step(tiny_config, units=50)
        for name, values in few.batches[0].items():
            assert torch.equal(values, many.batches[0][name]), name
        assert many.model.vocab_size == 50

    def test_losses_that_differ_are_refused(self):
        runs = {"ours": [{"losses": [1.0]}], "autograd": [{"losses": [1.1]}]}
        with pytest.raises(UserError, match="the first loss of ours is 1.0"):
            training_step.check_same(runs, 1e-3)
        training_step.check_same(runs, 0.2)

    def test_from_end_to_end(self, tiny_config, tmp_path, capsys):
        """In processes of their own."""
        out = tmp_path / "out.json"
        training_step.main(
            ["--config", str(tiny_config), "--variants", "ours", "autograd"]
            + ["--units", "20", "--large_units", "30", "--json", str(out)]
            + "--rounds 1 --steps 1 --warmup_steps 1".split()
            + "--batch_seconds 0.5 --utterance_seconds 0.5".split()
        )
        results = json.loads(out.read_text())
        names = ["ours", "autograd"]
        assert list(results["figures"]) == list(results["seconds"]) == names
        (ours,), (theirs,) = results["seconds"].values()
        figure = results["figures"]["autograd"]
        assert figure["times_as_slow"]["median"] == theirs / ours
        assert figure["peak_gib"] > 0.05
        assert "autograd" in capsys.readouterr().out

    def test_an_error_of_a_process_is_one_line(self, tmp_path):
        config = tmp_path / "odd.yaml"
        config.write_text("encoder_conf: {no_such_option: 1}\n")
        with pytest.raises(UserError, match="^ours: .*no_such_option") as caught:
            training_step.main(["--config", str(config)])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--rounds 0", "--rounds 0: give more than 0"),
        ("--config no.yaml", "--config no.yaml: no such file"),
        ("--variants both", "--variants: lacks ours"),
        ("--device cuda", "--device cuda: torch finds no GPU"),
    ],
)
def test_training_steps_wrong_options(words, message, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        training_step.main(words.split())


def test_a_batch_of_mixed_counts():
    generator = torch.Generator().manual_seed(0)
    batch = training.make_batch([2, 3], 2.0, 3, None, generator, vocabulary=5)
    assert batch["speech"].shape == (2, 32000)
    assert batch["text_spk2_lengths"].tolist() == [7, 7]
    assert batch["text_spk3_lengths"].tolist() == [0, 7]
    assert batch["text_lengths"].tolist() == [15, 23] and batch["text"].size(1) == 23
    tokens = batch["text_spk1"][0]
    assert tokens.max() == 4 and tokens.min() == 1 and (tokens[1:] != tokens[:-1]).all()


TINY = "--frames 4 --width 6 --hidden_size 5 --units 3 --large_units 7 --rounds 1 "
TINY += "--packed_rows 2 --packed_frames 3 --packed_width 4 --packed_hidden_size 2"


class TestSeparatorAndCTC:
    def test_from_end_to_end(self, tmp_path, capsys):
        out = tmp_path / "out.json"
        separator_and_ctc.main([*TINY.split(), "--json", str(out)])
        results = json.loads(out.read_text())
        printed = capsys.readouterr().out
        assert set(results) > {"date", "machine", "versions", "settings"}
        assert len(results["figures"]) == 6
        for count in (2, 3):
            ours, loop = (
                results["seconds"][f"{count} talkers, {name}"]
                for name in ("ours", "loop of cells")
            )
            name = f"{count} talkers, loop of cells / ours"
            assert results["figures"][name]["median"] == loop[0] / ours[0]
            assert f"{name}: " in printed
            assert f"{count} talkers, heads, 7 units / heads, 3 units: " in printed
        for what in ("training", "inference"):
            (packed,), (padded,) = (
                results["seconds"][f"{what}, {name}"] for name in ("packed", "padded")
            )
            assert results["figures"][what]["median"] == packed / padded
            assert f"{what}: padded is" in printed

    def test_other_output_is_refused(self, monkeypatch):
        loop = separator_and_ctc.loop_of_cells

        def turned(lstm):
            right = loop(lstm)
            return lambda xs: right(xs).flip(-1)

        monkeypatch.setattr(separator_and_ctc, "loop_of_cells", turned)
        with pytest.raises(UserError, match="loop of cells: outputs differ"):
            separator_and_ctc.main(TINY.split())

    def test_another_direction_is_refused(self, monkeypatch):
        weights = separator_and_ctc.packed_weights

        def turned(padded):
            return weights(
                SimpleNamespace(from_start=padded.from_end, from_end=padded.from_start)
            )

        monkeypatch.setattr(separator_and_ctc, "packed_weights", turned)
        with pytest.raises(UserError, match="packed: outputs differ"):
            separator_and_ctc.main(TINY.split())

    def test_the_sizes_are_those_of_the_configuration(self):
        path = training.FULL_SIZE_CONF / "train_phase2.yaml"
        config = yaml.safe_load(path.read_text())
        args = separator_and_ctc.OPTIONS.parse_args([])
        for name, value in config["separator_conf"].items():
            assert getattr(args, name) == value
        assert args.talker_counts == config["talker_counts"]

    @pytest.mark.parametrize(
        "words, message",
        [
            ("--frames 0", "--frames 0: give more than 0"),
            ("--talker_counts 0", "--talker_counts 0: give more than 0"),
            ("--large_units 9 --units 9", "--large_units 9: give more than --units 9"),
        ],
    )
    def test_wrong_options(self, words, message):
        with pytest.raises(UserError, match=message):
            separator_and_ctc.main(words.split())


class TestCachedTrunk:
    def test_from_end_to_end(self, tmp_path, capsys):
        out = tmp_path / "out.json"
        cached_trunk.main(
            "--mixtures 4 --valid_mixtures 2 --seconds 2 --epochs 2 --rounds 1".split()
            + ["--training_options", "--model_conf ctc_weight=1.0 --batch_size 2"]
            + ["--folder", str(tmp_path), "--json", str(out)]
        )
        results = json.loads(out.read_text())
        (without,), (cached,) = results["seconds"].values()
        figures = results["figures"]
        assert figures["times_as_fast"]["median"] == without / cached
        # In float16: near, but other than computed anew.
        assert 0 < figures["largest_difference_of_losses"] < 1e-3
        assert "cached: " in capsys.readouterr().out
        assert [p.name for p in tmp_path.iterdir()] == ["out.json"]

    def test_other_losses_are_refused(self):
        def stats(loss):
            return {1: {part: {"loss": loss} for part in cached_trunk.PARTS}}

        assert cached_trunk.check_same(stats(2.0), stats(2.001)) == pytest.approx(5e-4)
        with pytest.raises(UserError, match="the loss is 2.0 without and 2.1 with"):
            cached_trunk.check_same(stats(2.0), stats(2.1))
        with pytest.raises(UserError, match="the loss is 0.0; give more --seconds"):
            cached_trunk.check_same(stats(0.0), stats(0.0))

    def test_the_first_epoch_does_not_count(self):
        def stats(seconds):
            time = {"__timedelta_seconds__": seconds}
            return {"train": {"time": time}, "valid": {"time": time}}

        stats_of = {1: stats(100.0), 2: stats(1.0), 3: stats(2.0), 4: stats(4.0)}
        assert cached_trunk.seconds_per_epoch(stats_of) == 4.0

    def test_one_epoch_is_too_few(self):
        with pytest.raises(UserError, match="--epochs 1: the first one doesn't count"):
            cached_trunk.main(["--epochs", "1"])


def test_shares_of_a_step(tiny_config):
    step = tiny_step(tiny_config)
    parts, operations = training_step.shares(step, 2)
    assert len(step.losses) == 4
    inner = ("encoder.trunk", "encoder.branches", "separator", "ctc", "count_head")
    assert set(inner) < set(parts) and "teacher" not in parts
    assert 0 < sum(parts[name] for name in inner) < parts["forward, all"] < 1
    outer = ("forward, all", "backward", "clipping and update")
    assert 0.5 < sum(parts[name] for name in outer) <= 1
    assert 0.1 < sum(operations.values()) <= 1
    assert list(operations.values()) == sorted(operations.values(), reverse=True)


def test_profile(tiny_config, tmp_path, capsys):
    out = tmp_path / "out.json"
    words = f"--config {tiny_config} --profile full_size --steps 1 --json {out}"
    words += " --batch_seconds 1 --utterance_seconds 0.5"
    training_step.main(words.split())
    figures = json.loads(out.read_text())["figures"]
    printed = capsys.readouterr().out
    assert printed.startswith("2 mixtures of 0.5 s, cpu\nParts of a step:\n")
    assert all(f"%  {name}\n" in printed for name in figures["parts"])
    assert printed.count("%  aten::") > 5
    assert len(figures["operations"]) > training_step.SHOWN_OPERATIONS
