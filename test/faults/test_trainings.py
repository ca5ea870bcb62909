"""Trainings that diverge, and what a kill or a bad disk leaves of one."""

import logging
import re
import shutil
from pathlib import Path

import pytest
import torch
from faults.cases import LEFT_BY_A_KILL
from helpers.tiny_lab import Lab

from espnet_mtasr.bin.mtasr_train import main
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.train.checkpoints import whole_saves
from espnet_mtasr.train.health import PATIENCE, Health

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
