"""Experiments on the teacher: controls, table of arms, their order."""

import argparse
import threading
from pathlib import Path

import pytest
import torch
from helpers.recipe_copy import MINI
from helpers.tiny_models import LORA, make_tiny_llm

from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher
from espnet_mtasr.errors import UserError

FOLDER = MINI / "local" / "experiments" / "teacher"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def test_other_transcript_shows_another_one_in_training_alone(tmp_path):
    from controls import OtherTranscript

    llm = make_tiny_llm(tmp_path / "llm")
    torch.manual_seed(0)
    control = OtherTranscript(8, str(llm), 2, lora=LORA).eval()
    plain = LLMTeacher(8, str(llm), 2, lora=LORA).eval()
    plain.load_state_dict(control.state_dict())
    hidden, lengths = torch.randn(3, 9, 8), torch.tensor([9, 9, 7])
    text, text_lengths = torch.randint(2, 9, (3, 4)), torch.tensor([4, 3, 2])
    batch = (lengths, text, text_lengths)
    with torch.no_grad():
        right = plain(hidden, *batch).loss
        torch.testing.assert_close(control(hidden, *batch).loss, right)
    read = hidden.clone().requires_grad_()
    found = control(read, *batch).loss
    torch.testing.assert_close(found.detach(), right)
    (gradient,) = torch.autograd.grad(found.sum(), read)
    wanted = []
    for order in ([0, 1, 2], [1, 2, 0]):
        read = hidden.clone().requires_grad_()
        loss = plain(read, lengths, text[order], text_lengths[order]).loss
        wanted.append(torch.autograd.grad(loss.sum(), read)[0])
    norms = [w.norm(dim=(1, 2), keepdim=True) for w in wanted]
    torch.testing.assert_close(gradient, wanted[1] * norms[0] / norms[1])


def test_random_lm_has_the_form_and_nothing_else(tmp_path):
    from controls import make_random_lm
    from transformers import AutoModelForCausalLM, AutoTokenizer

    llm = make_tiny_llm(tmp_path / "llm")
    make_random_lm(llm, tmp_path / "random")
    old, new = (
        AutoModelForCausalLM.from_pretrained(folder)
        for folder in (llm, tmp_path / "random")
    )
    shapes = {name: p.shape for name, p in old.named_parameters()}
    assert shapes == {name: p.shape for name, p in new.named_parameters()}
    for old_weight, new_weight in zip(old.parameters(), new.parameters()):
        if old_weight.dim() > 1:
            assert not torch.equal(old_weight, new_weight)
            old_weight, new_weight = (
                w.flatten().sort().values for w in (old_weight, new_weight)
            )
        assert torch.equal(old_weight, new_weight)
    texts = [
        AutoTokenizer.from_pretrained(folder)("a b").input_ids
        for folder in (llm, tmp_path / "random")
    ]
    assert texts[0] == texts[1]


def test_the_table_compares_what_it_should():
    from arms import read_arms

    table = read_arms(FOLDER / "arms.yaml")
    rows = {(arm.arm, arm.flat_start): arm for arm in table.arms}
    paper = {name: arm for (name, flat), arm in rows.items() if flat == 0}
    flat = {name: arm for (name, flat), arm in rows.items() if flat == 2}
    compared = {"no teacher", "teacher", "random LM", "phase 1 then CTC"}
    compared |= {"other transcript", "equal time"}
    assert compared <= paper.keys() and compared == flat.keys()
    for name in compared:
        assert len(paper[name].seeds) >= 3
        assert paper[name].epochs == flat[name].epochs
        assert paper[name].first_phase == flat[name].first_phase
    # In steps of phase 2 all are alike, but for the one of equal time.
    same = {paper[name].epochs for name in compared - {"equal time"}}
    assert len(same) == 1 and paper["equal time"].epochs > same.pop()


ROW = "{arm: a, seeds: [0], epochs: 1, %s}"


@pytest.mark.parametrize(
    "row, message",
    [
        (ROW % "epoch: 3", "arms: a: unknown key epoch; remove it"),
        ("{arm: a, seeds: [0]}", "arms: a: .*missing.*epochs"),
        (ROW % "ctc_weight: 0.5", "arms: a: has a teacher; name its first_phase"),
        ("{arm: a, seeds: [0], epochs: 0}", "arms: a: has a teacher; name its"),
        (ROW % "first_phase: y", "arms: a: first_phases lacks y"),
        (ROW % "" + "\n  - " + ROW % "", "arms: a: is listed twice"),
    ],
)
def test_faults_in_the_table(tmp_path, row, message):
    from arms import read_arms

    path = tmp_path / "arms.yaml"
    head = "epoch_steps: 1\ndrawn_epochs: 1\nfirst_phases: {x: {epochs: 1}}"
    path.write_text(f"{head}\narms:\n  - {row}\n")
    with pytest.raises(UserError, match=message):
        read_arms(path)


@pytest.fixture
def runner(tmp_path):
    from arms import read_arms
    from run_experiments import Runner

    args = argparse.Namespace(
        expdir=tmp_path / "exp",
        models=make_tiny_llm(tmp_path / "models" / "llm").parent,
        lists=Path("lists"),
        tokens=Path("tokens"),
        sets=["dev"],
        nj=2,
    )
    return Runner(read_arms(FOLDER / "arms.yaml"), args)


def test_options_make_an_arm_what_it_is(runner):
    arms = {(a.arm, a.flat_start): a for a in runner.table.arms}

    def options(name, flat_start=0):
        arm, first = arms[name, flat_start], None
        if arm.first_phase is not None:
            first = runner.first_phase_dir(arm.first_phase, 1)
        return " ".join(map(str, runner.phase2_options(arm, 1, first)))

    assert "init_param" not in options("no teacher")
    assert "ctc_weight=1.0" in options("no teacher")
    assert ":teacher:teacher" not in options("phase 1 then CTC")
    assert "phase_1_teacher_seed_1/" in options("phase 1 then CTC")
    assert ":teacher:teacher" in options("teacher")
    assert f"llm={runner.args.models}/llm" in options("teacher")
    assert "controls:OtherTranscript" in options("other transcript")
    assert "phase_1_random_LM_seed_1/" in options("random LM")
    assert f"llm={runner.args.expdir}/random_lm" in options("random LM")
    assert "flat_start_epochs=2" in options("teacher", 2)
    assert "flat_start_epochs=0" in options("teacher")
    assert "--seed 1" in options("teacher")


def test_a_phase_1_after_a_warm_up(runner, monkeypatch):
    name = "teacher after CTC"
    before = runner.args.expdir / "no_teacher,_seed_0"
    with pytest.raises(UserError, match="comes after .*no_teacher,_seed_0, which isn"):
        runner.run_first_phase(name, 0)
    before.mkdir(parents=True)
    (before / "arm.json").write_text("{}")
    trained, called = [], []
    monkeypatch.setattr(runner, "train", lambda *words: trained.append(words))
    monkeypatch.setattr(runner, "call", lambda words, log: called.append(words))
    runner.run_first_phase(name, 0)
    assert f"{before}/valid.loss_ctc.ave.pth:encoder:encoder" in trained[0][3]
    (arm,) = (a for a in runner.table.arms if a.arm == name)
    runner.run_arm(arm, 0)
    assert called[-1][called[-1].index("--warmup_dir") + 1] == str(before)


def test_phases_come_first_and_a_failure_is_told(runner, monkeypatch):
    from run_experiments import choose

    done, lock = [], threading.Lock()

    def first(name, seed):
        with lock:
            done.append(f"phase 1 {name} {seed}")

    def arm(arm, seed):
        with lock:
            done.append(arm.folder(seed))
        if arm.arm == "random LM":
            raise UserError("log: exited with code 1")

    monkeypatch.setattr(runner, "run_first_phase", first)
    monkeypatch.setattr(runner, "run_arm", arm)
    names = ["no teacher", "teacher", "random LM"]
    failed = runner.run(choose(runner.table, names, [0, 1]))
    assert len(failed) == 3 and all("random_LM" in line for line in failed)
    for name in ("teacher", "random LM"):
        for seed in (0, 1):
            row = f"{name}, seed {seed}".replace(" ", "_")
            assert done.index(f"phase 1 {name} {seed}") < done.index(row)
    # A phase 1 is trained once for all that start from it.
    assert sum(line.startswith("phase 1") for line in done) == 4
    with pytest.raises(UserError, match="--only nothing: arms.yaml has LLM decoder"):
        choose(runner.table, ["nothing"], None)


def test_a_phase_1_waits_for_its_warm_up(runner, monkeypatch):
    from run_experiments import choose

    warmed, done = threading.Event(), []

    def arm(arm, seed):
        if arm.arm == "no teacher":
            assert not warmed.wait(0.2)
            warmed.set()
        done.append(arm.arm)

    monkeypatch.setattr(runner, "run_arm", arm)
    monkeypatch.setattr(
        runner, "run_first_phase", lambda *_: done.append(warmed.is_set())
    )
    rows = choose(runner.table, ["no teacher", "teacher after CTC"], [0])
    assert not runner.run([row for row in rows if row[0].flat_start == 0])
    assert done == ["no teacher", True, "teacher after CTC"]


def test_a_training_with_other_inputs_is_refused(tmp_path):
    from run_experiments import check_same_inputs

    config = tmp_path / "train.yaml"
    config.write_text("lr: 1\n")
    words, path = [
        "--config",
        str(config),
        "--seed",
        "1",
    ], tmp_path / "a" / "inputs.txt"
    check_same_inputs(path, words)
    check_same_inputs(path, words)
    with pytest.raises(UserError, match="has other options or files; remove"):
        check_same_inputs(path, [*words[:-1], "2"])
    config.write_text("lr: 2\n")
    with pytest.raises(UserError, match="has other options or files; remove"):
        check_same_inputs(path, words)


def test_the_search_of_the_language_model_is_chosen_on_dev(tmp_path, monkeypatch):
    import measure_arm

    rates = {"1 0.0": 9.0, "4 0.0": 8.0, "4 0.5": 7.0, "4 1.0": 7.5}
    seen = []

    def decode(data, model, decoder, output, options):
        seen.append((data, decoder))
        output.mkdir(parents=True)
        (output / "rate").write_text(str(rates[f"{options[1]} {options[3]}"]))

    def measure(data, output):
        return {"cpwer": float((output / "rate").read_text())}

    monkeypatch.setattr(measure_arm, "decode", decode)
    monkeypatch.setattr(measure_arm, "measure", measure)
    found = measure_arm.choose_search(Path("dev"), Path("model.pth"), tmp_path)
    assert found["search"] == "--beam_size 4 --length_penalty 0.5"
    assert sorted(found["dev_cpwer_by_search"].values()) == sorted(rates.values())
    assert set(seen) == {(Path("dev"), "llm")}


def test_figures_of_a_training(tmp_path):
    from espnet2.train.reporter import Reporter
    from measure_arm import training_of

    reporter = Reporter()
    for epoch, loss in ((1, 2.0), (2, 1.5)):
        reporter.set_epoch(epoch)
        for part in ("train", "valid"):
            with reporter.observe(part) as sub:
                sub.register({"loss_ctc": loss}, 1)
                sub.next()
    state = reporter.state_dict()
    for stats in state["stats"].values():
        assert set(stats["train"]["time"]) == {"__timedelta_seconds__"}
        stats["train"]["time"]["__timedelta_seconds__"] = 30.0
    torch.save({"reporter": state}, tmp_path / "checkpoint.pth")
    found = training_of(tmp_path, "loss_ctc")
    assert found == {"epochs": 2, "seconds": 60.0, "best": 1.5}
    assert training_of(None, "loss_ctc")["epochs"] == 0
