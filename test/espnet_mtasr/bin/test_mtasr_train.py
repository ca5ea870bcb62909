"""Training through the command line: two phases, resume, checkpoints, bad settings."""

import math
import os
import re
import subprocess
import sys

import pytest
import torch
from helpers.tiny_data import phase_config, write_config
from helpers.tiny_lab import Lab

from espnet_mtasr.bin.mtasr_train import main
from espnet_mtasr.errors import run_command_line
from espnet_mtasr.tasks.mtasr import MTASRTask


def load(path):
    return torch.load(path, map_location="cpu", weights_only=False)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def phase1(lab):
    return lab.train(1, "phase1")


@pytest.fixture(scope="module")
def phase2(lab, phase1):
    return lab.train(2, "phase2", *lab.phase2_init())


def test_phase_1_leaves_what_espnet_leaves(phase1):
    for name in ("config.yaml", "checkpoint.pth", "1epoch.pth", "2epoch.pth"):
        assert (phase1 / name).is_file(), name
    assert (phase1 / "valid.loss_sot.best.pth").is_file()
    assert (phase1 / "valid.loss_sot.ave.pth").is_file()
    for part in ("train", "valid"):
        assert list((phase1 / "tensorboard" / part).glob("events*"))
    state = load(phase1 / "2epoch.pth")
    assert {name.split(".")[0] for name in state} == {"encoder", "teacher"}
    assert any("lora_A" in name for name in state)
    assert not any("base_layer" in name for name in state)
    statistics = load(phase1 / "checkpoint.pth")["reporter"]["stats"][2]["valid"]
    assert {"loss_sot_2spk", "loss_sot_3spk", "acc_sot", "unalignable"} < set(
        statistics
    )
    assert statistics["unalignable"] == 0.0
    for count in (2, 3):
        assert statistics[f"loss_sot_{count}spk"] > 0


def test_the_average_is_that_of_the_best_checkpoints(phase1):
    average = load(phase1 / "valid.loss_sot.ave.pth")
    first, second = (load(phase1 / f"{n}epoch.pth") for n in (1, 2))
    assert set(average) == set(first)
    for name, value in average.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)


def test_phase_1_trains_branches_and_teacher_and_not_the_trunk(lab, phase1):
    first, second = (load(phase1 / f"{n}epoch.pth") for n in (1, 2))
    changed = {n for n in first if not torch.equal(first[n], second[n])}
    assert not any(name.startswith("encoder.trunk.") for name in changed)
    for part in (
        *("encoder.branches.2.", "encoder.branches.3.", "teacher.adaptor."),
        *("teacher.projection.", "lora_A", "lora_B", "trainable_tokens_delta"),
    ):
        assert any(part in name for name in changed), part


def test_phase_2_starts_from_phase_1_and_freezes_trunk_and_teacher(phase1, phase2):
    start = load(phase1 / "valid.loss_sot.ave.pth")
    end = load(phase2 / "2epoch.pth")
    assert {name.split(".")[0] for name in end} == {
        *("encoder", "teacher", "separator", "ctc", "count_head")
    }
    frozen = ("encoder.trunk.", "teacher.")
    for name, value in start.items():
        if name.startswith(frozen):
            assert torch.equal(value, end[name]), name
    assert any(not torch.equal(start[n], end[n]) for n in start)
    first = load(phase2 / "1epoch.pth")
    for name, value in end.items():
        # The bias of keys cancels in the softmax: nothing trains it but weight decay.
        if not name.startswith(frozen) and not name.endswith("k_proj.bias"):
            assert not torch.equal(first[name], value), name
    assert (phase2 / "valid.loss_ctc.ave.pth").is_file()
    statistics = load(phase2 / "checkpoint.pth")["reporter"]["stats"][2]
    # Also in training, where the trainer divides the loss by `accum_grad`.
    for part in (statistics["train"], statistics["valid"]):
        wanted = 0.7 * part["loss_ctc"] + 0.3 * part["loss_sot"] + part["loss_count"]
        assert part["loss"] == pytest.approx(wanted)


def test_resume_ends_with_the_weights_of_an_uninterrupted_run(lab, phase2):
    options = ("--resume", "true", *lab.phase2_init())
    folder = lab.train(2, "interrupted", "--max_epoch", "1", *options)
    assert not (folder / "2epoch.pth").exists()
    lab.train(2, "interrupted", *options)
    wanted, state = load(phase2 / "checkpoint.pth"), load(folder / "checkpoint.pth")
    for name, value in wanted["model"].items():
        assert torch.equal(value, state["model"][name]), name
    rates = [
        [group["lr"] for group in s["optimizers"][0]["param_groups"]]
        for s in (wanted, state)
    ]
    assert rates[0] == rates[1] and len(set(rates[0])) == 2


def test_a_half_written_checkpoint_is_one_line(lab, phase1, tmp_path, capsys):
    """As a run leaves it that is killed while it writes."""
    whole = (phase1 / "checkpoint.pth").read_bytes()
    (tmp_path / "checkpoint.pth").write_bytes(whole[: len(whole) // 2])
    options = ["--resume", "true", "--output_dir", str(tmp_path)]
    assert_one_line(capsys, lab.options(1, "x", *options), "checkpoint.pth: is damaged")


def test_a_trained_model_loads_with_no_pretrained_folder_and_from_anywhere(
    lab, phase2, tmp_path, monkeypatch
):
    """Only config.yaml and the weights are moved; encoder and LM folders are gone."""
    before, _ = MTASRTask.build_model_from_file(None, phase2 / "2epoch.pth")
    for name in ("config.yaml", "2epoch.pth"):
        (tmp_path / name).write_bytes((phase2 / name).read_bytes())
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    hidden = [lab.encoder, lab.llm, lab.data]
    try:
        for folder in hidden:
            os.rename(folder, f"{folder}.hidden")
        model, args = MTASRTask.build_model_from_file(None, "../2epoch.pth")
    finally:
        for folder in hidden:
            os.rename(f"{folder}.hidden", folder)
    assert model.teacher is None
    assert args.token_list[-1] == "<sos/eos>"
    speech = torch.randn(2, 9000)
    lengths = torch.tensor([9000, 7000])
    with torch.no_grad():
        trunks = [m.eval().encode_trunk(speech, lengths) for m in (before, model)]
        torch.testing.assert_close(trunks[0].hidden, trunks[1].hidden)
        for m, trunk in zip((before, model), trunks):
            m.streams = m.separate(trunk, torch.tensor([2, 3]))
    for wanted, streams in zip(before.streams, model.streams):
        for a, b in zip(wanted.streams, streams.streams):
            torch.testing.assert_close(a, b)


def test_statistics_need_no_model(lab):
    """Shapes of audio and text; of talkers who are not there, zeros."""
    folder = lab.train(
        *(2, "statistics", "--collect_stats", "true", "--batch_type", "unsorted"),
        *("--encoder_conf", "model=no/such/folder", "--num_workers", "0"),
    )
    table = (folder / "train" / "text_spk3_shape").read_text().split("\n")
    assert table[0] == "utt00 0" and table[1] == "utt01 1"
    for name in ("speech_shape", "text_shape"):
        assert (folder / "train" / name).read_text() == (lab.data / name).read_text()


def write_changed(lab, tmp_path, phase, **changes):
    config = phase_config(lab.encoder, lab.llm, phase)
    return str(write_config(tmp_path / "changed.yaml", {**config, **changes}))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(ctc_wieght=0.5), "ctc_wieght"),
        (dict(model_conf=dict(ctc_wieght=0.5)), "model_conf: .*ctc_wieght"),
        (dict(teacher_conf=dict(llm="x", loar={})), "teacher_conf: .*loar"),
        (dict(optim_conf=dict(lrr=1)), "optim_conf: .*lrr"),
        (dict(freeze_param=["encoder.trunc"]), "freeze_param: .*encoder.trunc"),
        (dict(lr_scale={"encoder.brunch": 1}), "lr_scale: .*encoder.brunch"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_code_2(
    lab, tmp_path, capsys, changes, message
):
    config = write_changed(lab, tmp_path, 1, **changes)
    options = lab.options(1, "never", "--config", config)
    assert_one_line(capsys, options, message)
    assert not (lab.root / "never").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--no_such_option", "1"], "--no_such_option"),
        (["--config", "no/such.yaml"], "no/such.yaml"),
        (["--max_epoch", "many"], "--max_epoch.*many"),
        (["--token_list", "no/such.txt"], "--token_list no/such.txt"),
    ],
)
def test_wrong_options_are_one_line_and_exit_code_2(lab, capsys, options, message):
    assert_one_line(capsys, lab.options(1, "never", *options), message)


def test_missing_options(capsys):
    assert_one_line(capsys, ["--token_list", "x"], "--output_dir is missing")


def assert_one_line(capsys, options, message):
    """No traceback. ESPnet itself prints the command line once training begins."""
    with pytest.raises(SystemExit) as e:
        run_command_line(main, options)
    assert e.value.code == 2
    lines = [s for s in capsys.readouterr().err.splitlines() if "error: " in s]
    assert len(lines) == 1 and re.search(message, lines[0]), lines


class TestCheckConfig:
    def run(self, *options):
        from espnet_mtasr.bin.check_config import main as check

        run_command_line(check, list(options))

    def both(self, phase1, phase2):
        return "--phase1_config", str(phase1), "--phase2_config", str(phase2)

    def test_right_configurations(self, lab):
        self.run(*self.both(lab.configs[1], lab.configs[2]))

    @pytest.mark.parametrize(
        "changes, message",
        [
            (dict(ctc_wieght=0.5), "ctc_wieght"),
            (dict(separator_conf=dict(layers=2)), "changed.yaml: separator_conf"),
            (dict(scheduler_conf=dict(warmup=2)), "changed.yaml: scheduler_conf"),
        ],
    )
    def test_wrong_configuration(self, lab, tmp_path, capsys, changes, message):
        path = write_changed(lab, tmp_path, 2, **changes)
        with pytest.raises(SystemExit) as e:
            self.run(*self.both(lab.configs[1], path))
        assert e.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert message in line

    @pytest.mark.parametrize(
        "options, told", [("", "true"), ("--model_conf ctc_weight=1.0", "false")]
    )
    def test_has_teacher(self, lab, capsys, options, told):
        self.run("--phase2_config", str(lab.configs[2]), f"--phase2_args={options}")
        out = capsys.readouterr().out
        told = f"decoder ctc\nphase2_has_teacher {told}\nsingle_talker_epochs 0\n"
        assert out == told


def test_a_training_flushes_denormal_numbers(monkeypatch):
    """Else backward passes get twice as slow late in a training on a CPU."""
    products = []

    def note(args):
        products.append(float(torch.full((4,), 1e-30) @ torch.full((4,), 1e-10)))

    monkeypatch.setattr(MTASRTask, "main", note)
    torch.set_flush_denormal(False)
    note(None)
    try:
        main(["--print_config"])
    finally:
        torch.set_flush_denormal(False)
    assert products[0] > 0.0 and products[1] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("batches", [[], ["--batch_seconds", "2.5"]])
def test_two_processes_end_to_end(lab, phase1, batches):
    """torchrun and gloo: without dropout, what one process measures."""
    dropouts = ("hidden", "attention", "activation", "feat_proj")
    no_dropout = {f"{name}_dropout": 0.0 for name in dropouts}
    options = [
        *lab.phase2_init(),
        *(
            "--encoder_conf",
            f"wavlm_conf={no_dropout}",
            "--count_head_conf",
            "dropout=0",
        ),
        *("--dist_backend", "gloo", "--unused_parameters", "true"),
        *batches,
    ]
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
        *("--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"),
        *(
            "-m",
            "espnet_mtasr.bin.mtasr_train",
            *lab.options(2, f"two{len(batches)}", *options),
        ),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    lab.train(2, f"one{len(batches)}", *options)
    wanted, measured = (
        load(lab.root / f"{name}{len(batches)}" / "checkpoint.pth")["reporter"]["stats"]
        for name in ("one", "two")
    )
    names = [n for n in wanted[1]["valid"] if n.startswith(("loss", "unalignable"))]
    assert len(names) == 11
    for epoch in (1, 2):
        for part in ("train", "valid"):
            for name in names:
                value = measured[epoch][part][name]
                if batches:
                    # Two processes cut seconds into other batches than one does.
                    assert math.isfinite(value), name
                else:
                    known = wanted[epoch][part][name]
                    assert value == pytest.approx(known, rel=1e-3), name
