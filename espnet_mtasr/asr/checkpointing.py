"""Gradient checkpointing: layers computed twice, so that less is kept in memory.

Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016
(arXiv 1604.06174), by `torch.utils.checkpoint`, the variant that is not reentrant: it
works where a layer's input takes no gradient (frozen trunk) as well as where its
weights take none (frozen teacher).

transformers' own switch looks at the layers' training mode. It would do nothing in
phase 2, where the teacher is frozen, and so in evaluation mode, but passes gradients.
Here gradients decide.
"""

import functools
from typing import Any, Callable

import torch
from torch.utils.checkpoint import checkpoint


def call_checkpointed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `function`; where gradients are recorded, keep its arguments alone.

    The backward pass calls it once more, with the same random numbers and under the
    same autocast. Without gradients (inference, validation) it is an ordinary call.
    """
    if not torch.is_grad_enabled():
        return function(*args, **kwargs)
    return checkpoint(function, *args, use_reentrant=False, **kwargs)


def layer_caller(gradient_checkpointing: bool) -> Callable[..., Any]:
    """What calls a layer: the first argument, with the others."""
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
