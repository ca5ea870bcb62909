"""Weights as 8-bit integers, for small files: a scale per row, nothing to calibrate.

Row r of a matrix is stored as integers from -127 to 127 and a scale, its largest
absolute value / 127. With -63 to 63 a zip of them is an eighth smaller. Small tensors
and single rows are sensitive and cost little: they are stored as float16. Reading
restores float32, so computing takes the same time and memory as with other weights.
"""

from typing import Any, Dict

import torch

# Suffix of the scales' names.
SCALE = ":int8_scale"
SMALLEST = 1024


def to_int8(
    weights: Dict[str, torch.Tensor], steps: int = 127
) -> Dict[str, torch.Tensor]:
    """Return weights in the form to store.

    Args:
        weights: float32; others, such as counters, are kept.
        steps: The largest integer, up to 127.

    >>> stored = to_int8({"w": torch.linspace(-1, 1, 2048).reshape(2, 1024)})
    >>> {name: (w.dtype, tuple(w.shape)) for name, w in stored.items()}
    {'w': (torch.int8, (2, 1024)), 'w:int8_scale': (torch.float32, (2,))}
    """
    stored = {}
    for name, weight in weights.items():
        if not weight.is_floating_point():
            stored[name] = weight
        elif weight.ndim < 2 or len(weight) == 1 or weight.numel() < SMALLEST:
            stored[name] = weight.half()
        else:
            scale = weight.float().abs().flatten(1).amax(1) / steps
            # A row of zeros has any scale.
            divisor = _by_row(scale.where(scale > 0, torch.ones_like(scale)), weight)
            stored[name] = (weight.float() / divisor).round().to(torch.int8)
            stored[name + SCALE] = scale
    return stored


def from_int8(stored: Dict[str, Any]) -> Dict[str, Any]:
    """Return float32 weights, where `to_int8` stored 8-bit integers."""
    weights = {}
    for name, weight in stored.items():
        scale = stored.get(name + SCALE)
        if scale is not None:
            weight = weight.float() * _by_row(scale, weight)
        if not name.endswith(SCALE):
            weights[name] = weight
    return weights


def _by_row(scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return scale.reshape(-1, *[1] * (weight.ndim - 1))
