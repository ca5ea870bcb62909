#!/usr/bin/env python3
"""Measure seconds per training step: phase 1, and phase 2 with and without a teacher.

Steps of all three take turns, on the same batches of cached outputs. It also prints how
many epochs of phase 2 without a teacher take as long as both phases with one.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import torch
from arms import read_arms
from espnet2.train.distributed_utils import DistributedOption
from run_experiments import HERE, Runner, get_parser
from typeguard import suppress_type_checks

from espnet_mtasr.errors import run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.tasks.mtasr import MTASRTask
from espnet_mtasr.tasks.options import is_part

WARM_UP = 5


def make_step(args: argparse.Namespace) -> Callable[[], float]:
    """Return a function that takes a step like the trainer, without loading."""
    model = MTASRTask.build_model(args)
    for name, parameter in model.named_parameters():
        if any(is_part(name, prefix) for prefix in args.freeze_param):
            parameter.requires_grad = False
    (optimizer,) = MTASRTask.build_optimizers(args, model)
    model.train()
    factory = MTASRTask.build_iter_factory(args, DistributedOption(), "train")
    batches: Iterator[Any] = iter(factory.build_iter(args.seed + 1))

    def step() -> float:
        _, batch = next(batches)
        start = time.perf_counter()
        loss, _, _ = model(**batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - start

    return step


def main(cmd=None) -> None:
    """Measure, print, and write on request."""
    parser = get_parser()
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(cmd)
    runner = Runner(read_arms(args.arms), args)
    llm = ["--teacher_conf", f"llm={args.models}/llm"]
    llm += ["--preprocessor_conf", "flat_start_epochs=0"]
    kinds = {
        "phase 1": (1, llm),
        "phase 2 with teacher": (2, [*llm, "--model_conf", "teacher_every=1"]),
        "phase 2 without": (2, [*llm, "--model_conf", "ctc_weight=1.0"]),
    }
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    seconds: Dict[str, List[float]] = {name: [] for name in kinds}
    with suppress_type_checks():
        steps = {}
        for name, (phase, options) in kinds.items():
            words = runner.trainer_options(phase, HERE, 1, options)
            steps[name] = make_step(MTASRTask.get_parser().parse_args(words))
        for _ in range(WARM_UP + args.rounds):
            for name, step in steps.items():
                seconds[name].append(step())
    found = {name: statistics.mean(s[WARM_UP:]) for name, s in seconds.items()}
    plain = found["phase 2 without"]
    for name, value in found.items():
        print(f"{name}: {value:.3f} s per step, {value / plain:.2f} times as long")
    table = runner.table
    arm = next(a for a in table.arms if a.ctc_weight < 1.0 and a.first_phase)
    first = table.first_phases[arm.first_phase].epochs
    total = first * found["phase 1"] + arm.epochs * found["phase 2 with teacher"]
    print(
        f"{first} epochs of phase 1 and {arm.epochs} of phase 2 with teacher take as "
        f"long as {total / plain:.1f} of phase 2 without"
    )
    if args.json is not None:
        found["equal_epochs"] = total / plain
        write_whole(args.json, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    run_command_line(main)
