"""Two processes give the loss, statistics and gradients that one gives.

Through ESPnet's trainer and PyTorch's DistributedDataParallel, each process with its
share of the rows: other talker counts, other numbers of rows, nothing alignable.
A step may have several micro-batches.
"""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import two_processes
from helpers.tiny_models import make_tiny_llm


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return make_tiny_llm(tmp_path_factory.mktemp("llm"))


@pytest.fixture(scope="module")
def two(llm, tmp_path_factory):
    """What rank 0 and rank 1 saw, by step."""
    output = tmp_path_factory.mktemp("two") / "result"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, two_processes.__file__, str(llm), str(output)],
        capture_output=True,
        text=True,
        timeout=120,
        # No GPU: the processes are forked.
        env={
            **os.environ,
            "PYTHONPATH": f"{root}{os.pathsep}{root / 'test'}",
            "CUDA_VISIBLE_DEVICES": "",
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(f"{output}.{rank}", weights_only=False) for rank in (0, 1)]


WITH_SOMETHING = [name for name in two_processes.STEPS if name != "nothing at all"]


def by_one_process(llm, step):
    """What a process sees that has the rows of both."""
    batches = [first + second for first, second in two_processes.STEPS[step]]
    return two_processes.take_step(llm, batches, distributed=False)


@pytest.mark.parametrize("step", WITH_SOMETHING)
def test_loss_and_gradients_are_those_of_one_process(llm, two, step):
    wanted = by_one_process(llm, step)
    for rank in two:
        for name in ("loss", "loss_ctc", "loss_sot", "loss_count", "acc_sot"):
            value = rank[step]["stats"][name]
            assert value == pytest.approx(wanted["stats"][name], rel=1e-4), name
        assert rank[step]["gradients"].keys() >= wanted["gradients"].keys()
        for name, gradient in rank[step]["gradients"].items():
            # DDP gives zeros to what no rank used.
            one = wanted["gradients"].get(name, torch.zeros_like(gradient))
            torch.testing.assert_close(gradient, one, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("step", WITH_SOMETHING)
def test_statistics_per_talker_count(llm, two, step):
    """Whatever counts the ranks have; NaN where none has any."""
    wanted = by_one_process(llm, step)["stats"]
    for rank in two:
        stats = rank[step]["stats"]
        assert stats.keys() == wanted.keys()
        for name in ("loss_ctc", "loss_sot", "acc_sot", "loss_count"):
            for key in (f"{name}_2spk", f"{name}_3spk"):
                assert stats[key] == pytest.approx(wanted[key], rel=1e-4, nan_ok=True)
        assert math.isfinite(stats["loss_ctc_2spk"])


def test_nothing_alignable_anywhere_has_no_gradient(two):
    """And finite statistics, which count for nothing beside those of other batches."""
    for rank in two:
        gradients = rank["nothing at all"]["gradients"]
        assert gradients and not any(g.any() for g in gradients.values())
        assert rank["nothing at all"]["stats"]["loss"] == 0.0
