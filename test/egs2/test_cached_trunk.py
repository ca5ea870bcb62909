"""Stages 10 and 11 of mtasr.sh with --cache_trunk true, on data as of stage 4."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.tiny_data import make_tiny_data, phase_config, write_config
from helpers.tiny_models import make_tiny_llm, make_tiny_wavlm

ROOT = Path(__file__).resolve().parents[2]


def call(recipe, *options):
    return subprocess.run(
        [
            *("./mtasr.sh", "--train_set", "train", "--valid_set", "dev"),
            *("--test_sets", "dev", "--token_type", "char", "--nj", "2"),
            *("--skip_phase1", "true", "--num_threads", "1", "--stop_stage", "11"),
            *options,
        ],
        cwd=recipe,
        env={**os.environ, "VIRTUAL_ENV": sys.prefix, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "egs2" / "TEMPLATE", root / "egs2" / "TEMPLATE")
    (root / "espnet_mtasr").symlink_to(ROOT / "espnet_mtasr")
    recipe = root / "egs2" / "tiny" / "mtasr1"
    subprocess.run([root / "egs2/TEMPLATE/mtasr1/setup.sh", recipe], check=True)
    llm = make_tiny_llm(root / "llm")
    for name in ("train", "dev"):
        data = make_tiny_data(recipe / "dump" / "raw" / name, llm)
        (data / "utt2category").rename(data / "utt2num_spk")
    tokens = recipe / "data" / "token_list" / "char" / "tokens.txt"
    tokens.parent.mkdir(parents=True)
    shutil.copy(data / "tokens.txt", tokens)
    config = phase_config(make_tiny_wavlm(root / "encoder"), llm, 2)
    config["model_conf"]["ctc_weight"] = 1.0
    (recipe / "conf" / "decode.yaml").write_text("{}\n")
    for name in ("train_phase1", "train_phase2"):
        write_config(recipe / "conf" / f"{name}.yaml", {**config, "max_epoch": 1})
    return recipe


@pytest.mark.slow
def test_cached_outputs_are_made_and_trained_on(recipe):
    cached = ("--python", sys.executable, "--cache_trunk", "true")
    done = call(recipe, "--stage", "10", *cached)
    assert done.returncode == 0, done.stdout + done.stderr
    # Training and validation set have the same recordings.
    assert "12 mixtures cached in dump/trunk/" in done.stdout
    assert "_float16 (6 in 0 MB)" in done.stdout
    exp = recipe / "exp" / "mtasr_phase2"
    log = (exp / "train.log").read_text()
    for part in ("train", "valid"):
        assert f"lists/{part}/trunk.scp,speech,text" in log
        assert f"lists/{part}/wav.scp" not in log
    state = torch.load(exp / "checkpoint.pth", weights_only=False)
    assert state["reporter"]["stats"][1]["valid"]["loss"] > 0

    # The same again goes on; without the cache it is another training.
    assert call(recipe, "--stage", "11", *cached).returncode == 0
    done = call(recipe, "--stage", "11", "--python", sys.executable)
    assert done.returncode == 2
    assert "train_data_path_and_name_and_type" in done.stderr
    assert 'lists/train/trunk.scp" -> ' in done.stderr

    for lists in (recipe / "exp" / "mtasr_stats_phase2" / "lists").iterdir():
        (lists / "trunk.scp").unlink()
    done = call(recipe, "--stage", "11", *cached)
    assert done.returncode == 2
    assert "trunk.scp: no such file; run the stage before it (7 or 10) with" in (
        done.stderr
    )


@pytest.mark.slow
def test_a_trunk_that_is_trained_is_refused_before_anything_runs(recipe):
    done = call(
        recipe,
        *("--python", sys.executable, "--cache_trunk", "true", "--stage", "10"),
        *("--phase2_args", "--freeze_param encoder.branches"),
    )
    assert done.returncode == 2
    assert "freeze_param: lacks encoder.trunk" in done.stderr
    assert "Stage 10" not in done.stdout
