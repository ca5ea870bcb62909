"""The optimizer: a learning rate per part of the model, without frozen parts."""

import argparse
import inspect
from typing import Dict, List

import torch
from espnet2.tasks.abs_task import optim_classes

from espnet_mtasr.errors import UserError
from espnet_mtasr.tasks.options import flatten, is_part


def grouped_optimizer(
    args: argparse.Namespace, model: torch.nn.Module
) -> torch.optim.Optimizer:
    """Build one optimizer of trainable parameters, a group per `lr_scale` prefix.

    Raises:
        UserError: `freeze_param` or `lr_scale` names an unknown part, nothing is left
            to train, or an option has a bad value.
    """
    names = [name for name, _ in model.named_parameters()]
    # On the command line, `encoder.branches=0.1` makes a dict in a dict.
    lr_scale = flatten(args.lr_scale)
    for option, prefixes in (
        ("freeze_param", args.freeze_param),
        ("lr_scale", lr_scale),
    ):
        for prefix in prefixes:
            if getattr(model, prefix.split(".")[0], model) is None:
                # A part that this model could have: with ctc_weight 1 no teacher.
                continue
            if not any(is_part(name, prefix) for name in names):
                raise UserError(
                    f"{option}: no parameter is part of {prefix}; "
                    f"the parts are {sorted({n.split('.')[0] for n in names})}"
                )
    for prefix, factor in lr_scale.items():
        if not isinstance(factor, (int, float)):
            raise UserError(f"lr_scale: {prefix}: {factor} is not a number; give one")
    groups: Dict[str, List[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            fitting = [p for p in lr_scale if is_part(name, p)]
            prefix = max(fitting, key=len, default="")
            groups.setdefault(prefix, []).append(parameter)
    if not groups:
        raise UserError("freeze_param: nothing is left to train; freeze less")
    optim_class = optim_classes[args.optim]
    default = inspect.signature(optim_class).parameters["lr"].default
    lr = args.optim_conf.get("lr", default)
    if not isinstance(lr, (int, float)):
        # YAML reads 1e-3 as text.
        raise UserError(f"optim_conf: lr: {lr!r} is not a number; write 1.0e-3")
    options = dict(args.optim_conf)
    if optim_class in (torch.optim.Adam, torch.optim.AdamW) and not (
        {"foreach", "differentiable"} & set(options)
    ):
        # One kernel for all parameters: several times as fast, also on a CPU.
        options.setdefault("fused", True)
    return optim_class(
        [
            dict(params=parameters, lr=lr * lr_scale.get(prefix, 1.0))
            for prefix, parameters in sorted(groups.items())
        ],
        **options,
    )
