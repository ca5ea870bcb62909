"""The most memory that a process takes, or that something takes beyond it."""

import ctypes
import resource
from pathlib import Path
from typing import Any, Callable, Optional

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
# Linux: the peak begins anew at what is taken now.
RESET_PEAK = "5"
GIB = 2.0**30


def reset_peak_memory(device: str) -> None:
    """Let `peak_memory` count from now on; a process's own is that of all its life."""
    import torch

    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: str, reserved: bool = False) -> float:
    """GiB: the most that tensors took on the GPU, or the process so far.

    Args:
        device: `cpu` or `cuda`.
        reserved: Of a GPU, with what its allocator holds back.
    """
    import torch

    if device != "cpu":
        cuda = torch.cuda
        most = cuda.max_memory_reserved if reserved else cuda.max_memory_allocated
        return most(device) / GIB
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def measure_peak(run: Callable[[], Any], device: str) -> Optional[int]:
    """Run something; return its peak in bytes.

    On the CPU that is the process's resident memory, which only Linux tells (elsewhere:
    None). Measure one thing in a process of its own, for memory that it frees may stay
    with the process. On a GPU it is what torch's allocator gave out.
    """
    import torch

    if device != "cpu":
        before = torch.cuda.memory_allocated(device)
        reset_peak_memory(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # Or what `run` takes of freed memory would not count. Other C libraries can't.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        run()
        return None
    before = _status("VmRSS")
    run()
    return max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    """An entry of /proc/self/status in bytes."""
    entries = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(entries[name].split()[0]) * 1024
