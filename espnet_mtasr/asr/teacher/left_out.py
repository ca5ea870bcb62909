"""Checkpoints without some of a teacher's weights.

A module with these hooks names in `left_out` the weights that its `state_dict` lacks
and that loading leaves as they are: a pretrained model's own, which never change, or
second names of tied weights.
"""

from typing import Set

import torch


def drop_left_out(module, state_dict, prefix, local_metadata) -> None:
    """Hook for `register_state_dict_post_hook`."""
    for name in module.left_out:
        state_dict.pop(prefix + name, None)


def refill_left_out(
    module, state_dict, prefix, local_metadata, strict, missing, unexpected, errors
) -> None:
    """Hook for `register_load_state_dict_pre_hook`."""
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if name in module.left_out:
            state_dict.setdefault(prefix + name, parameter.detach())


def second_names(module: torch.nn.Module) -> Set[str]:
    """Return the names of parameters that have an earlier name too."""
    every = dict(module.named_parameters(remove_duplicate=False))
    return set(every) - set(dict(module.named_parameters()))
