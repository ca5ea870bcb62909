"""Read the weights of a model's file without running code, and check them."""

from pathlib import Path
from typing import Any, Dict, Iterable, Tuple, Union

import torch

from espnet_mtasr.asr.int8_weights import from_int8
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import SAFE_SUFFIX

# Weights of trained models are far below it, those of a diverged training far above.
LARGEST = 1e6


def read_weights(
    path: Union[str, Path], without: Tuple[str, ...] = ()
) -> Dict[str, Any]:
    """Read a checkpoint, or a `.safetensors` file, onto the CPU.

    Weights that are stored as 8-bit integers become float32.

    A pickle that would run code is refused, even on a terminal, where ESPnet asks and
    then runs it.

    Args:
        path: Of the file.
        without: Leave out weights whose names begin with one of these; of a
            `.safetensors` file, they aren't even read.

    Raises:
        UserError: the file is damaged, or has something other than weights.
    """
    path = Path(path)
    try:
        if path.suffix == SAFE_SUFFIX:
            from safetensors import safe_open

            with safe_open(path, framework="pt") as f:
                names = [name for name in f.keys() if not name.startswith(without)]
                return from_int8({name: f.get_tensor(name) for name in names})
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # a damaged file makes torch raise nearly anything
        raise UserError(
            f"{path}: is damaged or not a checkpoint with only weights "
            f"({type(e).__name__}); give another"
        ) from e
    if not isinstance(state, dict):
        raise UserError(f"{path}: has no model; give a checkpoint of a training")
    return {n: weight for n, weight in state.items() if not str(n).startswith(without)}


def misfit(error: RuntimeError) -> str:
    """Return why torch couldn't load weights, with at most one of their names."""
    reason, *others = str(error).splitlines()[-1].strip().split('", "')
    if not others:
        return reason
    return f'{reason}" and {len(others)} more'


def check_weights(
    weights: Iterable[Tuple[str, Any]], path: Union[str, Path], fix: str
) -> None:
    """Raise `UserError` for a weight that isn't finite, or is absurdly large.

    Args:
        weights: Names and tensors.
        path: Their file, for the message.
        fix: What to do about it, for the message.
    """
    for name, weight in weights:
        if not torch.is_tensor(weight) or not weight.is_floating_point():
            continue
        if not weight.isfinite().all():
            problem = "is not finite"
        elif weight.numel() and weight.abs().max() > LARGEST:
            problem = f"is up to {float(weight.abs().max()):.1e}"
        else:
            continue
        raise UserError(f"{path}: {name} {problem}, its training diverged; {fix}")
