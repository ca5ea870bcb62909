"""Check the files that a training starts from before ESPnet loads them.

ESPnet asks on a terminal whether it may run the code in a file, accepts a file without
any of the requested weights, and only reads torch's format.
"""

import contextlib
import os
from pathlib import Path
from typing import Iterator, List, Sequence

import torch

from espnet_mtasr.asr.weights import check_weights, misfit, read_weights
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import SAFE_SUFFIX
from espnet_mtasr.tasks.options import is_part


def check_init_param(init_param: Sequence[str], folder: Path) -> List[str]:
    """Return `--init_param` as ESPnet can load it.

    Args:
        init_param: `FILE[:SOURCE[:TARGET[:EXCLUDED]]]` each, see ESPnet's
            `load_pretrained_model`. A packed model's `.safetensors` also works.
        folder: For files that are converted for ESPnet.

    Raises:
        UserError: a file is missing, contains more than weights, has weights that are
            not finite, or none of the requested ones.
    """
    return [_check(init, folder / f"init_{k}.pth") for k, init in enumerate(init_param)]


@contextlib.contextmanager
def told_misfits(init_param: Sequence[str]) -> Iterator[None]:
    """While ESPnet loads `--init_param`, raise `UserError` if they don't fit."""
    try:
        yield
    except RuntimeError as e:
        # The trainer reports a checkpoint that doesn't fit.
        if not init_param or "loading state_dict" not in str(e):
            raise
        raise UserError(
            f"--init_param {' '.join(init_param)}: doesn't fit the model "
            f"({misfit(e)}); give a part that does (FILE:encoder:encoder), leave "
            "out what it lacks (FILE:::teacher), or load what fits with "
            "--ignore_init_mismatch true"
        ) from e


def _check(init: str, converted: Path) -> str:
    name, *keys = init.split(":")
    path = Path(name)
    if not path.is_file():
        raise UserError(f"--init_param {path}: no such file; train it first")
    weights = read_weights(path)
    # DeepSpeed and others store them like this.
    weights = weights.get("module", weights)
    source, _, excluded = [*keys, "", "", ""][:3]
    prefixes = tuple(excluded.split(",")) if excluded else ()
    wanted = {
        key: value
        for key, value in weights.items()
        if (not source or is_part(key, source)) and not key.startswith(prefixes)
    }
    check_weights(wanted.items(), path, "name another")
    if not wanted:
        raise UserError(
            f"--init_param {init}: the file has no weights of {source or 'a model'}; "
            "give another file, or a part that it has, for example "
            f"{next(iter(weights), 'none').split('.')[0]}"
        )
    if path.suffix != SAFE_SUFFIX:
        return init
    converted.parent.mkdir(parents=True, exist_ok=True)
    # Each process of a training writes it.
    part = converted.with_name(f"{converted.name}.{os.getpid()}.part")
    torch.save(weights, part)
    os.replace(part, converted)
    return ":".join([str(converted), *keys])
