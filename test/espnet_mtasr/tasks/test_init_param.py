"""What a training starts from: all `--init_param` add up; what doesn't fit is told."""

import pytest
import torch
from helpers.tiny_lab import Lab

from espnet_mtasr.bin.mtasr_train import main
from espnet_mtasr.errors import UserError
from espnet_mtasr.tasks.mtasr import MTASRTask


def test_they_add_up(tmp_path):
    """Phase 1's model, which mtasr.sh names, stays when the user names a file."""
    path = tmp_path / "train.yaml"
    path.write_text("init_param:\n- a.pth\n")
    words = ["--init_param", "b.pth:encoder:encoder", "c.pth", "--init_param", "d.pth"]
    args = MTASRTask.parse_config(path, words)
    assert args.init_param == ["a.pth", "b.pth:encoder:encoder", "c.pth", "d.pth"]
    assert MTASRTask.parse_config(path).init_param == ["a.pth"]
    path.write_text("{}\n")
    assert MTASRTask.parse_config(path).init_param == []


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.train(1, "phase1", "--max_epoch", "1")
    return lab


def model_of(lab, name):
    return torch.load(lab.root / name / "1epoch.pth", weights_only=True)


def save(lab, name, change):
    state = model_of(lab, "phase1")
    change(state)
    torch.save(state, lab.root / name)
    return lab.root / name


def test_later_ones_win_and_earlier_ones_stay(lab):
    def set_branches(state):
        for key in state:
            if key.startswith("encoder.branches"):
                state[key].fill_(0.5)

    file = save(lab, "branches.pth", set_branches)
    options = [*lab.phase2_init(), "--init_param"]
    options += [f"{file}:encoder.branches:encoder.branches", "--max_epoch", "1"]
    options += ["--optim_conf", "lr=0.0"]
    lab.train(2, "phase2", *options)
    first, second = model_of(lab, "phase1"), model_of(lab, "phase2")
    # Phase 1 has adapted it, and phase 2 leaves it alone.
    adapted = [key for key in second if key.startswith("teacher.")]
    assert adapted
    for key, value in second.items():
        if key.startswith("encoder.branches"):
            assert (value == 0.5).all()
        elif key in adapted:
            assert torch.equal(value, first[key])


def test_what_does_not_fit(lab):
    def cut(state):
        names = [key for key in state if key.startswith("encoder.branches")]
        name = next(key for key in names if state[key].size(-1) > 1)
        state[name] = state[name][..., :1]

    file = save(lab, "cut.pth", cut)
    options = ["--init_param", f"{file}:encoder:encoder", "--max_epoch", "1"]
    with pytest.raises(UserError, match="cut.pth:encoder:encoder: doesn't") as refused:
        lab.train(1, "refused", *options)
    assert "size mismatch" in str(refused.value) and "\n" not in str(refused.value)
    assert "--ignore_init_mismatch true" in str(refused.value)
    lab.train(1, "ignored", *options, "--ignore_init_mismatch", "true")
    assert (lab.root / "ignored" / "1epoch.pth").exists()


def test_more_than_the_model_has(lab):
    def add(state):
        state.update({f"teacher.more.{k}": torch.zeros(1) for k in range(9)})

    file = save(lab, "more.pth", add)
    with pytest.raises(UserError, match=r'"teacher.more.0" and 8 more\).*FILE:::tea'):
        lab.train(1, "refused", "--init_param", str(file), "--max_epoch", "1")
    lab.train(1, "left_out", "--init_param", f"{file}:::teacher.more")


def test_a_checkpoint_that_does_not_fit(lab):
    options = lab.options(1, "phase1", "--resume", "true", "--max_epoch", "2")
    options += ["--talker_counts", "2", "3", "4"]
    with pytest.raises(UserError, match="talker_counts"):
        main(options)
    with pytest.raises(UserError, match="checkpoint.pth: doesn't fit the model .*; t"):
        main([*options, "--resume_anyway", "true"])
