"""Trainings that diverge, and what a kill or a bad disk leaves of one."""

import logging
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from faults import damage
from faults.cases import INIT_FAULTS, LEFT_BY_A_KILL
from helpers.terminal import run_in_terminal
from helpers.tiny_lab import Lab
from safetensors.torch import save_file

from espnet_mtasr.bin.mtasr_train import main
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.tasks.init_param import check_init_param
from espnet_mtasr.train.checkpoints import whole_saves
from espnet_mtasr.train.health import PATIENCE, Health

ROOT = Path(__file__).resolve().parents[2]
AVERAGE = "valid.loss_sot.ave.pth"


def load(path):
    return torch.load(path, map_location="cpu", weights_only=True)


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def undisturbed(lab):
    return lab.train(1, "undisturbed", "--resume", "true")


@pytest.mark.parametrize("case", LEFT_BY_A_KILL, ids=lambda case: case.name)
def test_the_same_command_goes_on(lab, undisturbed, caplog, case):
    folder = shutil.copytree(undisturbed, lab.root / case.name.replace(" ", "_"))
    shutil.copy(undisturbed / AVERAGE, folder / "kept.pth")
    for link in folder.glob("*.pth"):
        # The average of before must not pass for the new one.
        if link.name.startswith("valid.loss_sot.ave"):
            link.unlink()
    case.fault(folder / case.file)
    with caplog.at_level(logging.WARNING):
        lab.train(1, folder.name, "--resume", "true")
    found = load(folder / AVERAGE)
    wanted = "kept.pth" if case.average == "the same" else case.average
    assert same(found, load(folder / wanted))
    assert re.search(case.says, caplog.text), caplog.text


@pytest.mark.parametrize("phase", [1, 2])
def test_a_training_that_diverges(lab, undisturbed, capsys, phase):
    name = f"diverged{phase}"
    options = lab.options(phase, name, "--optim_conf", "lr=1.0e+9")
    if phase == 2:
        model = undisturbed / AVERAGE
        options += ["--init_param", f"{model}:encoder:encoder"]
        options += [f"{model}:teacher:teacher"]
    with pytest.raises(SystemExit) as stop:
        run_command_line(main, options)
    assert stop.value.code == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if "error: " in x]
    assert len(lines) == 1 and "diverged; lower the learning rate" in lines[0], lines
    assert not list(Path(lab.root / name).glob("*.pth"))


def init(lab, case, name):
    """The options of a phase 2 that starts from a file with a fault."""
    path = lab.root / f"{name}.pth"
    shutil.copy(lab.root / "undisturbed" / AVERAGE, path)
    case.fault(path)
    words = lab.options(2, name, "--init_param", f"{path}:{case.part}:{case.part}")
    return [*words, "--model_conf", "ctc_weight=1.0", "--max_epoch", "1"]


@pytest.mark.parametrize("case", INIT_FAULTS, ids=lambda case: case.name)
def test_what_a_training_starts_from(lab, undisturbed, capsys, case):
    name = "init_" + case.name.replace(" ", "_")
    with pytest.raises(SystemExit) as stop:
        run_command_line(main, init(lab, case, name))
    assert stop.value.code == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if "error: " in x]
    assert len(lines) == 1 and re.search(case.says, lines[0]), lines
    assert (
        not list((lab.root / name).glob("*")) and not (lab.root.parent / "ran").exists()
    )


def test_it_starts_from_packed_weights(lab, undisturbed):
    """Of the same values it becomes the same model."""
    state = load(undisturbed / AVERAGE)
    save_file(state, lab.root / "packed.safetensors")
    made = []
    for path in (undisturbed / AVERAGE, lab.root / "packed.safetensors"):
        name = f"from{path.suffix}"
        options = ["--init_param", f"{path}:encoder:encoder", "--max_epoch", "1"]
        lab.train(2, name, "--model_conf", "ctc_weight=1.0", *options)
        made.append(load(lab.root / name / "1epoch.pth"))
    assert same(*made)


@pytest.mark.parametrize(
    "form", ["whole", "of DeepSpeed's form", "another part is inf"]
)
def test_other_forms_of_what_it_starts_from(lab, undisturbed, form):
    """As ESPnet takes them: only what is wanted is looked at."""
    state = load(undisturbed / AVERAGE)
    keys = ":encoder:encoder"
    if form == "of DeepSpeed's form":
        state = {"module": state}
    elif form == "another part is inf":
        state["decoder.mask"] = torch.full((2,), float("-inf"))
    else:
        state = {k: v for k, v in state.items() if k.startswith("encoder.")}
        keys = ""
    path = lab.root / f"{len(form)}.pth"
    torch.save(state, path)
    found = check_init_param([f"{path}{keys}"], lab.root)
    assert found == [f"{path}{keys}"]


def test_a_checkpoint_that_runs_code_on_a_terminal(lab, undisturbed):
    """ESPnet would ask for a phrase, and then run it."""
    folder = shutil.copytree(undisturbed, lab.root / "pickled" / "exp")
    damage.pickled_code(folder / "checkpoint.pth")
    words = lab.options(1, "pickled/exp", "--resume", "true")
    command = [sys.executable, "-m", "espnet_mtasr.bin.mtasr_train", *words]
    typed = [("Type exactly", b"whatever it wants\n")]
    code, shown = run_in_terminal(command, 500, typed, 60, cwd=ROOT)
    assert code == 2 and "checkpoint.pth: may run code" in shown, shown
    assert "Type exactly" not in shown and not (lab.root / "pickled/ran").exists()


def see(health, losses, norms):
    for loss, norm in zip(losses, norms):
        health.see({"loss": torch.tensor(loss)}, torch.tensor(3.0))
        if norm is not None:
            health.see({"grad_norm": torch.tensor(norm)}, None)
        health.see({"train_time": 0.1}, None)


def test_a_training_that_recovers_is_told(caplog):
    health = Health()
    nan = float("nan")
    see(health, [1.0, nan, nan, 1.0], [1.0, None, None, 1.0])
    # Nothing to learn from is no fault.
    health.see({"loss": torch.tensor(nan)}, torch.tensor(0.0))
    health.see({"train_time": 0.1}, None)
    with caplog.at_level(logging.WARNING):
        health.end()
    assert "2 of 4 losses and 2 of 4 gradients were not finite" in caplog.text


def test_a_training_that_does_not_recover():
    health = Health()
    see(health, [1.0] * PATIENCE, [None] * (PATIENCE - 1) + [1.0])
    with pytest.raises(UserError, match="diverged: the gradients of the last 50 steps"):
        see(health, [1.0] * PATIENCE, [None] * PATIENCE)
    health = Health()
    see(health, [1.0] * 3, [None] * 3)
    with pytest.raises(UserError, match="diverged: no gradient of this epoch is fin"):
        health.end()
    health = Health()
    see(health, [1.0] * 3, [1.0] * 3)
    health.end()


def test_a_save_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "checkpoint.pth"

    class Killed:
        def __reduce__(self):
            raise KeyboardInterrupt

    with whole_saves():
        torch.save({"epoch": 1}, path)
        with pytest.raises(KeyboardInterrupt):
            torch.save({"weights": torch.zeros(9), "more": Killed()}, path)
    assert load(path) == {"epoch": 1}
    assert torch.save.__module__ == "torch.serialization"
