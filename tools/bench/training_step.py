"""A phase-2 training step compared with steps that lack one or both of two savings.

The savings: the frozen trunk records no graph, and the CTC heads have 1,000 units, not
a language model's 128,256. All four combinations are compared. Each has its own
process, which starts, warms up and takes some steps; they run in turn, in rounds. A
trunk under autograd computes the same (this is checked) and gets gradients that no
optimizer uses, as if its parameters were just not given to the optimizer. Weights are
random, of the published shapes. After `. ./path.sh` of a recipe; the second command is
for a GPU:

    python -m tools.bench.training_step --json out.json
    python -m tools.bench.training_step --device cuda --json out.json

By default, a GPU runs egs2/librimix's phase 2 as it is, including mixed precision, with
60 s per step. A CPU runs its full-size encoder with 2 talkers, 4 s per step and no
teacher: AdamW on the 128k units of both talker counts' heads alone would need 9 GB, and
the teacher's part is the same in all four.

torch.profiler can show where the time of such a step goes, or of a step of the mini
recipe, as shares of its parts and of torch's operations. Profiled steps take longer:

    python -m tools.bench.training_step --profile mini --steps 10
"""

import argparse
import statistics
import sys
from typing import Any, Dict, List, Tuple

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench import side_by_side as bench
from tools.bench.training import (
    FULL_SIZE_CONFIG,
    TRAINING_OPTIONS,
    TrainingStep,
    mini_step,
)

OURS = "ours"
# Name to whether the trunk is under autograd, and heads have the large vocabulary.
VARIANTS = {
    OURS: (False, False),
    "autograd": (True, False),
    "128k": (False, True),
    "both": (True, True),
}
TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}
PARTS = "part: "
# Names that autograd gives to the backward pass of an operation.
BACKWARD = "autograd::engine::evaluate_function: "
SHOWN_OPERATIONS = 12
OPTIONS = bench.Options(
    __doc__,
    config=FULL_SIZE_CONFIG,
    device=bench.DEVICE,
    talker_counts=bench.Option([2], on_gpu=[2, 3]),
    teacher=bench.Option("false", "its loss too", ("true", "false"), on_gpu="true"),
    dtype=bench.Option(
        "float32",
        "bfloat16: for the LLM, and on a GPU also mixed precision",
        bench.DTYPES,
        on_gpu="bfloat16",
    ),
    batch_seconds=bench.Option(4.0, on_gpu=60.0),
    utterance_seconds=bench.Option(4.0, on_gpu=15.0),
    units=1000,
    large_units=128256,
    variants=bench.Option(
        list(VARIANTS), "which to compare; must include ours", VARIANTS
    ),
    rounds=bench.Option(2, on_gpu=3),
    steps=bench.Option(2, "timed per round", on_gpu=20),
    warmup_steps=2,
    seed=0,
    training_options=TRAINING_OPTIONS,
    profile=bench.Option(
        "none",
        "print shares of a step's time instead, for the mini recipe's step or ours",
        ("none", "mini", "full_size"),
    ),
    phase=bench.Option(2, "of --profile mini", (1, 2)),
)


def our_step(args: argparse.Namespace, units: int) -> TrainingStep:
    """Return our step, with this many CTC units."""
    options = ["--talker_counts", *map(str, args.talker_counts)]
    if args.teacher == "false":
        options += ["--model_conf", "ctc_weight=1.0"]
    return TrainingStep(
        args.config,
        max(1, round(args.batch_seconds / args.utterance_seconds)),
        args.utterance_seconds,
        device=args.device,
        dtype=args.dtype,
        options=[*options, *args.training_options.split()],
        seed=args.seed,
        units=units,
        # The same targets for any number of units.
        vocabulary=args.units,
    )


def record_trunk(step: TrainingStep) -> List[Any]:
    """Put the trunk of a step under autograd; nothing else changes.

    The returned list grows with each gradient of one of its parameters.
    """
    gradients: List[Any] = []
    # The optimizer was made before, so it doesn't have these parameters. The
    # trunk stays in evaluation mode, so dropout is the same everywhere.
    for parameter in step.model.encoder.trunk.parameters():
        parameter.requires_grad = True
        parameter.register_post_accumulate_grad_hook(lambda p: gradients.append(1))
    return gradients


def run_variant(name: str, args: argparse.Namespace) -> Dict[str, Any]:
    """Return step seconds, peak memory in GiB and losses of one of `VARIANTS`."""
    import torch

    autograd, large = VARIANTS[name]
    step = our_step(args, args.large_units if large else args.units)
    gradients = record_trunk(step) if autograd else []
    # So dropout is the same, however many random weights were drawn before.
    torch.manual_seed(args.seed)
    step.measure(args.warmup_steps)
    bench.reset_peak_memory(args.device)
    seconds = step.measure(args.steps)
    if autograd and not gradients:
        raise UserError("the trunk got no gradient, so there is nothing to compare")
    return dict(
        seconds=seconds, peak_gib=bench.peak_memory(args.device), losses=step.losses
    )


def check_same(runs: Dict[str, List[Dict[str, Any]]], tolerance: float) -> None:
    """Raise `UserError` unless recording the trunk leaves the first loss as it is."""
    for plain, recorded in (("ours", "autograd"), ("128k", "both")):
        if not {plain, recorded} <= set(runs):
            continue
        a, b = (runs[name][0]["losses"][0] for name in (plain, recorded))
        if abs(a - b) > tolerance * abs(a):
            raise UserError(
                f"the first loss of {plain} is {a}, of {recorded} {b}: they must match"
            )


def compare(args: argparse.Namespace, results: bench.Results) -> None:
    """Run all variants in turn, and print the ratios."""
    runs: Dict[str, List[Dict[str, Any]]] = {name: [] for name in args.variants}
    for number, name in bench.rotate(args.variants, args.rounds):
        try:
            runs[name].append(bench.in_own_process(run_variant, name, args))
        # RuntimeError: a GPU has too little memory.
        except (UserError, MemoryError, RuntimeError) as e:
            raise UserError(f"{name}: {e}") from e
        print(f"round {number + 1}, {name}: done", file=sys.stderr, flush=True)
    check_same(runs, TOLERANCE[args.dtype])
    results.seconds = {
        name: [statistics.median(run["seconds"]) for run in own]
        for name, own in runs.items()
    }
    memory = {name: [run["peak_gib"] for run in own] for name, own in runs.items()}
    print(
        f"{args.config.stem}, {args.device}, {args.dtype}, {args.batch_seconds:g} s a "
        f"step, talker counts {args.talker_counts}, teacher {args.teacher}, "
        f"{args.units} or {args.large_units} units, {args.rounds} rounds"
    )
    for name, seconds in results.seconds.items():
        figure = results.figures[name] = {
            "seconds_per_step": statistics.median(seconds),
            "peak_gib": max(memory[name]),
            "times_as_slow": bench.Ratio(seconds, results.seconds[OURS]),
            "times_the_memory": bench.Ratio(memory[name], memory[OURS]),
        }
        print(
            f"{name:9} {figure['seconds_per_step']:8.3f} s per step, "
            f"{figure['peak_gib']:6.2f} GiB: {figure['times_as_slow']} as long as "
            f"ours, {figure['times_the_memory']} its memory"
        )


def name_parts(step: TrainingStep) -> None:
    """Name the step's parts for the profiler: modules, backward pass, update."""
    encoder, model = step.model.encoder, step.model
    modules = [("encoder.trunk", encoder.trunk)]
    modules += [("encoder.branches", branch) for branch in encoder.branches.values()]
    for name in ("separator", "ctc"):
        by_count = getattr(model, name) or {}
        modules += [(name, module) for module in by_count.values()]
    for name in ("count_head", "teacher"):
        if getattr(model, name) is not None:
            modules.append((name, getattr(model, name)))
    for name, module in modules:
        _record(module, "forward", name)
    _record(step, "forward", "forward, all")
    _record(step, "backward", "backward")
    _record(step, "update", "clipping and update")


def _record(owner: Any, method: str, name: str) -> None:
    import torch

    named = torch.profiler.record_function(PARTS + name)
    setattr(owner, method, named(getattr(owner, method)))


def shares(step: TrainingStep, steps: int) -> Tuple[Dict[str, float], Dict[str, float]]:
    """Return shares of a step's time, largest first: of its parts, and of operations.

    Parts are nested. An operation's time doesn't include operations that it calls; it
    covers forward and backward.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    name_parts(step)
    on_gpu = step.device == "cuda"
    activities = [ProfilerActivity.CPU]
    if on_gpu:
        activities.append(ProfilerActivity.CUDA)
    step.measure(2)
    with profile(activities=activities, record_shapes=False) as profiler:
        for _ in range(steps):
            with torch.profiler.record_function(PARTS + "step"):
                step()
    own_time = f"self_{'device' if on_gpu else 'cpu'}_time_total"
    parts, operations = {}, {}
    for event in profiler.key_averages():
        if event.key.startswith(PARTS):
            # Parts are timed on the processor, which waits for each step's end.
            parts[event.key.removeprefix(PARTS)] = event.cpu_time_total
        else:
            key = event.key.removeprefix(BACKWARD)
            operations[key] = operations.get(key, 0.0) + getattr(event, own_time)
    whole = parts.pop("step")
    total = sum(operations.values()) if on_gpu else whole
    return _sorted(parts, whole), _sorted(operations, total)


def _sorted(times: Dict[str, float], whole: float) -> Dict[str, float]:
    order = sorted(times, key=lambda name: -times[name])
    return {name: times[name] / whole for name in order}


def print_profile(args: argparse.Namespace, results: bench.Results) -> None:
    """Print where the time of a step goes."""
    if args.profile == "mini":
        step = mini_step(args.phase, device=args.device)
    else:
        step = our_step(args, args.units)
    parts, operations = shares(step, args.steps)
    results.figures = {"parts": parts, "operations": operations}
    rows, samples = step.batches[0]["speech"].shape
    print(f"{rows} mixtures of {samples / bench.SAMPLING_RATE:g} s, {args.device}")
    print("Parts of a step:")
    for name, share in parts.items():
        print(f"{share:7.1%}  {name}")
    print("Operations, forward and backward:")
    for name, share in list(operations.items())[:SHOWN_OPERATIONS]:
        print(f"{share:7.1%}  {name}")


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Compare, or profile."""
    if OURS not in args.variants:
        raise UserError(
            f"--variants: lacks {OURS}, which the others are compared with; add it"
        )
    if args.profile == "none":
        compare(args, results)
    else:
        print_profile(args, results)


if __name__ == "__main__":
    run_command_line(main)
