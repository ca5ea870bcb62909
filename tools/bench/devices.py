"""The device that a benchmark runs on: is it there, what is it, wait for it."""

import platform
from pathlib import Path

from espnet_mtasr.errors import UserError

DEVICES = ("cpu", "cuda")
DTYPES = ("float32", "bfloat16")


def check_device(device: str) -> None:
    """Raise `UserError` for a GPU that torch can't use."""
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(
            f"--device {device}: torch finds no GPU; needed are an NVIDIA GPU, its "
            f"driver and a build of torch with CUDA; use --device cpu without"
        )


def wait_for(device: str) -> None:
    """Wait until all that was given to the device is done."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize(device)


def describe(device: str) -> str:
    """Name the processor or the GPU."""
    import torch

    if device != "cpu":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
