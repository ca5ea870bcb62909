"""Numeric precision of a training: which options give bfloat16, which don't work.

`use_amp: true` is mixed precision by ESPnet's trainer, only on GPUs (on a CPU it warns
and trains in float32). It uses bfloat16 if `torch.cuda.is_bf16_supported()`: on an A100
or H100, and slowly on older GPUs that emulate it. It has no option for the type. Parts
that need more precision stay in float32 by themselves: normalization of the samples,
talker-count head, serialized CTC and the LM's cross entropy. Weights and optimizer stay
in float32.

`teacher_conf llm_dtype: bfloat16` is the type of the LM's own, frozen weights, with or
without `use_amp`; LoRA, `<sc>`'s row and projection stay in float32.
"""

import argparse

import torch

from espnet_mtasr.errors import UserError


def check_precision(args: argparse.Namespace) -> None:
    """Raise `UserError` for weights and optimizer in float16, which don't train."""
    if args.train_dtype == "float16":
        raise UserError(
            "train_dtype: float16 rounds small updates of the weights to 0; remove it, "
            "and set use_amp: true for mixed precision"
        )


def flush_denormals() -> None:
    """Treat numbers below 1e-38 as 0 on the CPU, in this thread and those it starts.

    As a model gets better, more of its gradients are this small, and a CPU computes
    with them many times slower: late in the mini recipe's training, backward passes
    took twice as long. Call this before anything is computed, because running threads
    keep their setting.
    """
    torch.set_flush_denormal(True)
