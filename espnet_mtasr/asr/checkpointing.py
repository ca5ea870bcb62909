"""Gradient checkpointing: layers are computed twice, to keep less in memory.

Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016 (arXiv
1604.06174), by the non-reentrant variant of `torch.utils.checkpoint`. It works if a
layer's input takes no gradient (frozen trunk) and if its weights take none (frozen
teacher).

transformers' own switch depends on the layers' training mode. It would do nothing in
phase 2, where the teacher is frozen and so in evaluation mode, but passes gradients.
Here it depends on gradients.
"""

import functools
from typing import Any, Callable

import torch
from torch.utils.checkpoint import checkpoint


def call_checkpointed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `function`; if gradients are recorded, only keep its arguments.

    The backward pass calls it again, with the same random numbers and the same
    autocast. Without gradients (inference, validation) it is an ordinary call.
    """
    if not torch.is_grad_enabled():
        return function(*args, **kwargs)
    return checkpoint(function, *args, use_reentrant=False, **kwargs)


def layer_caller(gradient_checkpointing: bool) -> Callable[..., Any]:
    """Return a function that calls a layer, its first argument, with the others."""
    return call_checkpointed if gradient_checkpointing else torch.nn.Module.__call__


def checkpoint_layers(model: torch.nn.Module) -> int:
    """Checkpoint every layer of a transformers model; return their number.

    Names of modules and weights stay as they are.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = functools.partial(call_checkpointed, layer.forward)
    return len(layers)
