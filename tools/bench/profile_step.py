"""Where a training step's time goes: shares of its parts and of torch's operations.

By torch.profiler, on a step of the mini recipe (its configuration and pretrained
models) or of a configuration at full size with random weights. Shares alone mean
something: a profiled step takes longer. After `. ./path.sh` of a recipe:

    python -m tools.bench.profile_step --phase 2
    python -m tools.bench.profile_step --full_size true --device cuda --seconds 15
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

from espnet_mtasr.errors import run_command_line
from tools.bench.devices import DEVICES, check_device
from tools.bench.side_by_side import check_positive
from tools.bench.training import (
    MINI_ROWS,
    MINI_SECONDS,
    TrainingStep,
    full_size_step,
    mini_step,
)

PARTS = "part: "
# Names that autograd gives to the backward pass of an operation.
BACKWARD = "autograd::engine::evaluate_function: "


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phase", type=int, default=2, choices=(1, 2))
    parser.add_argument(
        "--full_size",
        default="false",
        choices=("true", "false"),
        help="true: egs2/librimix's configuration; false: the mini recipe's",
    )
    parser.add_argument("--rows", type=int, default=MINI_ROWS, help="Mixtures a step")
    parser.add_argument("--seconds", type=float, default=MINI_SECONDS, help="Of each")
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument("--steps", type=int, default=10, help="After two to warm up")
    parser.add_argument("--top", type=int, default=12, help="Operations to show")
    parser.add_argument("--json", type=Path, help="gets the shares")
    return parser


def name_parts(step: TrainingStep) -> None:
    """Let the profiler tell the step's parts: modules, backward pass, update."""
    model = step.model
    for name in ("encoder.trunk", "encoder.branches", "separator", "ctc"):
        part = model.get_submodule(name) if _has(model, name) else None
        if part is None:
            continue
        for module in part.values() if hasattr(part, "values") else [part]:
            _record(module, "forward", name)
    for name in ("count_head", "teacher"):
        if getattr(model, name) is not None:
            _record(getattr(model, name), "forward", name)
    _record(step, "forward", "forward, all")
    _record(step, "backward", "backward")
    _record(step, "update", "clipping and update")


def _has(model: Any, name: str) -> bool:
    return getattr(model, name.split(".")[0]) is not None


def _record(owner: Any, method: str, name: str) -> None:
    import torch

    plain = getattr(owner, method)

    def named(*args: Any, **kwargs: Any) -> Any:
        with torch.profiler.record_function(PARTS + name):
            return plain(*args, **kwargs)

    setattr(owner, method, named)


def shares(step: TrainingStep, steps: int) -> Tuple[Dict[str, float], Dict[str, float]]:
    """Shares of a step's time, largest first: of its parts, and of operations.

    Parts lie within each other; an operation's time is its own, without those that it
    calls, forward and backward.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    name_parts(step)
    activities = [ProfilerActivity.CPU]
    if step.device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    for _ in range(2):
        step()
    with profile(activities=activities, record_shapes=False) as profiler:
        for _ in range(steps):
            with torch.profiler.record_function(PARTS + "step"):
                step()
    on = "device" if step.device == "cuda" else "cpu"
    parts, operations = {}, {}
    for event in profiler.key_averages():
        if event.key.startswith(PARTS):
            # Parts are told by the processor's clock: it waits for each step's end.
            parts[event.key.removeprefix(PARTS)] = event.cpu_time_total
        else:
            key = event.key.removeprefix(BACKWARD)
            own = getattr(event, f"self_{on}_time_total")
            operations[key] = operations.get(key, 0.0) + own
    whole = parts.pop("step")
    total = sum(operations.values()) if step.device == "cuda" else whole
    return _sorted(parts, whole), _sorted(operations, total)


def _sorted(times: Dict[str, float], whole: float) -> Dict[str, float]:
    order = sorted(times, key=lambda name: -times[name])
    return {name: times[name] / whole for name in order}


def main(cmd=None) -> None:
    """Profile and print."""
    args = get_parser().parse_args(cmd)
    check_positive(args, "rows", "seconds", "steps", "top")
    check_device(args.device)
    make = full_size_step if args.full_size == "true" else mini_step
    step = make(args.phase, args.rows, args.seconds, args.device)
    parts, operations = shares(step, args.steps)
    lines: List[str] = [f"{args.rows} mixtures of {args.seconds:g} s, {args.device}"]
    lines += ["Parts of a step:"]
    lines += [f"{share:7.1%}  {name}" for name, share in parts.items()]
    lines += ["Operations, forward and backward:"]
    shown = list(operations.items())[: args.top]
    lines += [f"{share:7.1%}  {name}" for name, share in shown]
    print("\n".join(lines))
    if args.json is not None:
        from espnet_mtasr.files import write_whole

        figures = {"parts": parts, "operations": operations}
        write_whole(args.json, json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    run_command_line(main)
