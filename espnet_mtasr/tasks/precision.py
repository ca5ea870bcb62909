"""Numeric precision of a training: which options give bfloat16, which don't work.

`use_amp: true` is mixed precision by ESPnet's trainer, on GPUs alone (on a CPU it warns
and trains in float32). It takes bfloat16 where `torch.cuda.is_bf16_supported()`: on an
A100 or H100, and slowly on older GPUs that emulate it. It has no option for the type.
What loses by bfloat16 is kept in float32 by the parts themselves: normalization of the
samples, talker-count head, serialized CTC and the LM's cross entropy. Weights and
optimizer stay in float32.

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
    """Take numbers below 1e-38 for 0 on the CPU, in this thread and those it starts.

    The better a model gets, the more of its gradients are that small, and a CPU
    computes with them many times slower: late in the mini recipe's training, backward
    passes took twice as long. Call it before anything is computed: threads that run
    already keep theirs.
    """
    torch.set_flush_denormal(True)
