"""GPUs that torch can use: counted before any work, with the reason where they lack."""

import os
import warnings

from espnet_mtasr.errors import UserError


def check_gpus(ngpu: int, compute: bool = False) -> None:
    """See to it that torch can use so many GPUs of this machine.

    Args:
        ngpu: GPUs; for 0 torch is not asked.
        compute: Compute on each, which finds GPUs that this torch has no code for and
            GPUs that another process keeps for itself. It takes memory on them until
            this process ends.

    Raises:
        UserError: there are fewer, or one can't be used.
    """
    if ngpu == 0:
        return
    import torch

    version = f"torch {torch.__version__}"
    if torch.version.cuda is None and torch.version.hip is None:
        raise UserError(
            f"--ngpu {ngpu}: {version} is built for CPUs alone; install one that is "
            f"built for your GPUs, or give --ngpu 0"
        )
    version += f" (CUDA {torch.version.cuda})"
    with warnings.catch_warnings():
        # What is wrong is said below, in one line.
        warnings.simplefilter("ignore")
        usable = torch.cuda.is_available()
        number = torch.cuda.device_count() if usable else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    where = "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible}"
    if number == 0:
        raise UserError(
            f"--ngpu {ngpu}: {version} finds no usable GPU here{where}: "
            f"{_why_there_is_none()}; fix that, or give --ngpu 0"
        )
    if number < ngpu:
        raise UserError(
            f"--ngpu {ngpu}: there are {number} usable GPUs here{where}; give "
            f"--ngpu {number}"
        )
    for k in range(ngpu if compute else 0):
        try:
            (torch.ones(1, device=f"cuda:{k}") + 1).item()
        except RuntimeError as e:
            raise UserError(
                f"--ngpu {ngpu}: {version} can't compute on GPU {k}{where}: "
                f"{_first_sentence(e)}; leave it out by CUDA_VISIBLE_DEVICES, or fix "
                f"that"
            ) from e


def device_of(ngpu: int) -> str:
    """Return `cuda` or, for 0, `cpu`: where a process with so many GPUs computes.

    Raises:
        UserError: see `check_gpus`.
    """
    check_gpus(ngpu)
    return "cuda" if ngpu > 0 else "cpu"


def _why_there_is_none() -> str:
    import torch

    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as e:
        return _first_sentence(e)
    return "the driver counts none"


def _first_sentence(error: BaseException) -> str:
    return str(error).splitlines()[0].split(". ")[0].rstrip(".")
