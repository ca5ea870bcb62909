"""What "frozen" means here: no gradient and always in evaluation mode.

ESPnet's ``--freeze_param`` sets `requires_grad` to False and no more, so that the
trainer's `model.train()` would wake dropout in a frozen part. A model that calls
`keep_frozen_in_eval` at the end of its `train()` is spared that.
"""

import torch


def is_frozen(module: torch.nn.Module) -> bool:
    """True if the module has parameters and none of them takes a gradient."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def keep_frozen_in_eval(module: torch.nn.Module) -> None:
    """Put every wholly frozen part below `module` in evaluation mode.

    A part that holds trainable parameters is entered and its children are judged one
    by one; a child without parameters (dropout) shares its parent's lot.
    """
    if not module.training:
        return
    if is_frozen(module):
        module.eval()
        return
    for child in module.children():
        keep_frozen_in_eval(child)
