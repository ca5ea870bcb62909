"""GPUs that are asked for and aren't there: one line that says why."""

import warnings

import pytest
import torch

from espnet_mtasr.bin.check_config import main as check_config
from espnet_mtasr.bin.mtasr_train import main as train
from espnet_mtasr.errors import UserError
from espnet_mtasr.gpus import check_gpus, device_of
from espnet_mtasr.tasks.mtasr import MTASRTask  # noqa: F401, asks for GPUs itself

TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update "
    "your GPU driver"
)
NO_CODE = "CUDA error: no kernel image is available for execution on the device"


def fail(message):
    def raises(*args, **kwargs):
        raise RuntimeError(f"{message}\nCompile with TORCH_USE_CUDA_DSA.")

    return raises


@pytest.fixture
def machine(monkeypatch):
    """Pretend that torch is built for CUDA and finds so many GPUs."""

    def pretend(number, broken=None):
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        plain = torch.ones

        def ones(*size, device="cpu", **options):
            if device == f"cuda:{broken}":
                fail(NO_CODE)()
            return plain(*size, **options)

        monkeypatch.setattr(torch, "ones", ones)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return pretend


def test_enough(machine):
    machine(2)
    for ngpu in (0, 1, 2):
        check_gpus(ngpu, compute=True)
    assert [device_of(n) for n in (0, 1, 2)] == ["cpu", "cuda", "cuda"]


def test_fewer(machine, monkeypatch):
    machine(2)
    with pytest.raises(UserError, match="^--ngpu 8: there are 2 .* give --ngpu 2$"):
        check_gpus(8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,5")
    with pytest.raises(UserError, match="here with CUDA_VISIBLE_DEVICES=0,5; give"):
        check_gpus(8)


def test_a_driver_that_is_too_old(machine, monkeypatch):
    """NVML counts the GPUs all the same."""
    machine(0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "init", fail(TOO_OLD))

    def is_available():
        warnings.warn(TOO_OLD)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError) as e:
            check_gpus(8)
    assert str(e.value) == (
        f"--ngpu 8: torch {torch.__version__} (CUDA 13.0) finds no usable GPU here: "
        f"The NVIDIA driver on your system is too old (found version 11040); fix "
        f"that, or give --ngpu 0"
    )


def test_a_torch_for_cpus(machine, monkeypatch):
    machine(2)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(UserError, match="--ngpu 1: torch .* is built for CPUs only"):
        check_gpus(1)


def test_a_gpu_that_torch_has_no_code_for(machine):
    machine(3, broken=1)
    check_gpus(3)
    check_gpus(1, compute=True)
    with pytest.raises(
        UserError, match=f"can't compute on GPU 1: {NO_CODE}; fix that, or exclude"
    ):
        check_gpus(3, compute=True)


def test_the_command_lines_that_look(machine, tmp_path):
    machine(1)
    with pytest.raises(UserError, match="--ngpu 2: there are 1"):
        check_config(["--ngpu", "2"])
    config = tmp_path / "train.yaml"
    config.write_text("model_conf: {ctc_weight: 1.0}\n")
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("<blank>\n<unk>\na\n<sos/eos>\n")
    options = ["--config", str(config), "--token_list", str(tokens), "--ngpu", "2"]
    options += ["--multiprocessing_distributed", "true"]
    with pytest.raises(UserError, match="--ngpu 2: there are 1"):
        train([*options, "--output_dir", str(tmp_path / "exp")])
    assert not (tmp_path / "exp").exists()
