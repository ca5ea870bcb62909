"""Count the GPUs that torch can use before any work, and say why any are missing."""

import os
import warnings

from espnet_mtasr.errors import UserError


def check_gpus(ngpu: int, compute: bool = False) -> None:
    """Check that torch can use this number of GPUs on this machine.

    Args:
        ngpu: Number of GPUs; for 0 torch is not imported.
        compute: Compute on each GPU. This finds GPUs that this build of torch doesn't
            support and GPUs that another process has reserved. It uses memory on them
            until this process ends.

    Raises:
        UserError: there are fewer GPUs, or one can't be used.
    """
    if ngpu == 0:
        return
    import torch

    version = f"torch {torch.__version__}"
    if torch.version.cuda is None and torch.version.hip is None:
        raise UserError(
            f"--ngpu {ngpu}: {version} is built for CPUs only; install a build for "
            "your GPUs, or give --ngpu 0"
        )
    version += f" (CUDA {torch.version.cuda})"
    with warnings.catch_warnings():
        # The message below reports what is wrong, in one line.
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
                f"{_first_sentence(e)}; fix that, or exclude the GPU with "
                "CUDA_VISIBLE_DEVICES"
            ) from e


def device_of(ngpu: int) -> str:
    """Return the device of a process with `ngpu` GPUs: `cuda`, or `cpu` for 0.

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
    return "the driver reports none"


def _first_sentence(error: BaseException) -> str:
    return str(error).splitlines()[0].split(". ")[0].rstrip(".")
