"""What "frozen" means here: no gradient and always in evaluation mode.

ESPnet's ``--freeze_param`` only sets `requires_grad` to False, so the trainer's
`model.train()` would turn on dropout in a frozen part. A model prevents that by calling
`keep_frozen_in_eval` at the end of its `train()`.

cuDNN's recurrent layers pass no gradient in evaluation mode, which a frozen one above
trainable parts has to. Such a layer is called in training mode, without its dropout:
that gives the same output.
"""

from typing import Any

import torch


def is_frozen(module: torch.nn.Module) -> bool:
    """True if the module has parameters and none of them takes a gradient."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def keep_frozen_in_eval(module: torch.nn.Module) -> None:
    """Put every wholly frozen part below `module` in evaluation mode.

    A part with trainable parameters is entered and its children are checked one by one;
    a child without parameters (dropout) is treated like its parent.
    """
    if not module.training:
        return
    if is_frozen(module):
        module.eval()
        for part in module.modules():
            if isinstance(part, torch.nn.RNNBase):
                _let_gradients_through(part)
        return
    for child in module.children():
        keep_frozen_in_eval(child)


def _let_gradients_through(rnn: torch.nn.RNNBase) -> None:
    if _wake not in rnn._forward_pre_hooks.values():
        rnn.register_forward_pre_hook(_wake)
        rnn.register_forward_hook(_rest, always_call=True)


def _wake(rnn: torch.nn.RNNBase, _inputs: Any) -> None:
    if torch.is_grad_enabled() and not rnn.training:
        vars(rnn)["_own_dropout"] = rnn.dropout
        rnn.training, rnn.dropout = True, 0.0


def _rest(rnn: torch.nn.RNNBase, _inputs: Any, _outputs: Any) -> None:
    if "_own_dropout" in vars(rnn):
        rnn.training, rnn.dropout = False, vars(rnn).pop("_own_dropout")
