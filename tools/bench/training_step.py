"""A phase-2 training step beside one that does without two of its savings.

The savings: the frozen trunk records no graph, and the CTC heads know 1,000 units, not
a language model's 128,256. Compared are all four combinations, each in a process of its
own that starts, warms up and takes some steps; rounds of them in turn. Where the trunk
is under autograd, it computes the same (checked) and gets gradients that no optimizer
uses, as where its parameters were merely kept from the optimizer. Weights are random,
of the published shapes. After `. ./path.sh` of a recipe, the second one on a GPU:

    python -m tools.bench.training_step --json out.json
    python -m tools.bench.training_step --device cuda --json out.json

By default a GPU takes egs2/librimix's phase 2 as it is, mixed precision included, on
60 s a step. A CPU takes its encoder at full size, 2 talkers, 4 s a step and no teacher:
AdamW on the 128k units of both talker counts' heads would need 9 GB alone, and the
teacher's part is the same in all four.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench.devices import DEVICES, check_device
from tools.bench.memory import peak_memory, reset_peak_memory
from tools.bench.side_by_side import (
    check_positive,
    format_ratio,
    ratios,
    write_figures,
)
from tools.bench.training import (
    FULL_SIZE_CONF,
    ROOT,
    TrainingStep,
    build,
    check_file,
    make_step,
)

OURS = "ours"
# Name to: is the trunk under autograd, do the heads know the large vocabulary?
VARIANTS = {
    OURS: (False, False),
    "autograd": (True, False),
    "128k": (False, True),
    "both": (True, True),
}
TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}
# By device, where the command line leaves them open.
DEFAULTS: Dict[str, Dict[str, Any]] = {
    "cpu": dict(
        talker_counts=[2],
        teacher="false",
        dtype="float32",
        batch_seconds=4.0,
        utterance_seconds=4.0,
        rounds=2,
        steps=2,
    ),
    "cuda": dict(
        talker_counts=[2, 3],
        teacher="true",
        dtype="bfloat16",
        batch_seconds=60.0,
        utterance_seconds=15.0,
        rounds=3,
        steps=20,
    ),
}


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config", type=Path, default=FULL_SIZE_CONF / "train_phase2.yaml"
    )
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument("--talker_counts", type=int, nargs="+", help="[cpu: 2]")
    parser.add_argument(
        "--teacher", choices=("true", "false"), help="[cpu: false, cuda: true]"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="bfloat16: of the LLM, and mixed precision on CUDA [cuda: bfloat16]",
    )
    parser.add_argument("--batch_seconds", type=float, help="[cpu: 4, cuda: 60]")
    parser.add_argument("--utterance_seconds", type=float, help="[cpu: 4, cuda: 15]")
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--large_units", type=int, default=128256)
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=VARIANTS,
        default=list(VARIANTS),
        help="which to compare; ours among them (default: all four)",
    )
    parser.add_argument("--rounds", type=int, help="[cpu: 2, cuda: 3]")
    parser.add_argument("--steps", type=int, help="timed in a round [cpu: 2, cuda: 20]")
    parser.add_argument("--warmup_steps", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--training_options",
        default="",
        help="further options of mtasr_train, quoted, for instance "
        "'--encoder_conf gradient_checkpointing=false'",
    )
    parser.add_argument("--json", type=Path, help="gets the figures")
    # What this program calls itself with.
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    return parser


def fill_in(args: argparse.Namespace) -> None:
    """Set what depends on the device and was left open."""
    for name, value in DEFAULTS[args.device].items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def our_step(args: argparse.Namespace, units: int) -> TrainingStep:
    """Our step, with this many CTC units."""
    options = ["--talker_counts", *map(str, args.talker_counts)]
    if args.teacher == "false":
        options += ["--model_conf", "ctc_weight=1.0"]
    model, optimizer, train_args = build(
        args.config,
        [*options, *args.training_options.split()],
        args.device,
        args.dtype,
        args.seed,
        units,
    )
    rows = max(1, round(args.batch_seconds / args.utterance_seconds))
    return make_step(
        model,
        optimizer,
        train_args,
        [[n] * rows for n in model.talker_counts],
        args.utterance_seconds,
        args.dtype == "bfloat16",
        # The same targets for any number of units.
        vocabulary=args.units,
        seed=args.seed,
    )


def record_trunk(step: TrainingStep) -> List[Any]:
    """Put the trunk of a step under autograd; nothing else changes.

    Returns:
        A list that grows with each gradient that a parameter of the trunk gets.
    """
    gradients: List[Any] = []
    # After the optimizer was made, so that it doesn't know them; and the trunk stays
    # in evaluation mode: the same dropout everywhere.
    for parameter in step.model.encoder.trunk.parameters():
        parameter.requires_grad = True
        parameter.register_post_accumulate_grad_hook(lambda p: gradients.append(1))
    return gradients


def run_variant(args: argparse.Namespace) -> Dict[str, Any]:
    """Seconds of each step, peak memory in GiB and losses of `--variant`."""
    import torch

    autograd, large = VARIANTS[args.variant]
    step = our_step(args, args.large_units if large else args.units)
    gradients = record_trunk(step) if autograd else []
    # For the same dropout, whatever the weights of more units have drawn.
    torch.manual_seed(args.seed)
    for _ in range(args.warmup_steps):
        step()
    reset_peak_memory(args.device)
    seconds: List[float] = []
    for _ in range(args.steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    step.check_losses(str(args.config))
    if autograd and not gradients:
        raise UserError("the trunk got no gradient: nothing would be compared")
    return dict(seconds=seconds, peak_gib=peak_memory(args.device), losses=step.losses)


def run_in_own_process(cmd: List[str], variant: str, folder: Path) -> Dict[str, Any]:
    """Run a variant and return what it measured.

    Raises:
        UserError: it failed; with the last line of its messages.
    """
    out = folder / "variant.json"
    words = [*cmd, "--variant", variant, "--json", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.training_step", *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["killed: too little memory?"])[
            -1
        ]
        raise UserError(f"{variant}: {reason.split('error: ')[-1]}")
    return json.loads(out.read_text())


def check_same(runs: Dict[str, List[Dict[str, Any]]], tolerance: float) -> None:
    """Raise `UserError` unless recording the trunk leaves the first loss as it is."""
    for plain, recorded in (("ours", "autograd"), ("128k", "both")):
        if not {plain, recorded} <= set(runs):
            continue
        a, b = (runs[name][0]["losses"][0] for name in (plain, recorded))
        if abs(a - b) > tolerance * abs(a):
            raise UserError(
                f"{plain} has a first loss of {a}, {recorded} of {b}: these must be one"
            )


def compare(args: argparse.Namespace, cmd: List[str]) -> None:
    """Run all variants in turn, print the ratios and keep the figures."""
    names = args.variants
    runs: Dict[str, List[Dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.rounds):
            for place in range(len(names)):
                name = names[(number + place) % len(names)]
                runs[name].append(run_in_own_process(cmd, name, Path(folder)))
                print(f"round {number + 1}, {name}: done", file=sys.stderr, flush=True)
    check_same(runs, TOLERANCE[args.dtype])
    seconds = {
        name: [statistics.median(run["seconds"]) for run in own]
        for name, own in runs.items()
    }
    memory = {name: [run["peak_gib"] for run in own] for name, own in runs.items()}
    figures = {
        name: {
            "seconds_per_step": statistics.median(seconds[name]),
            "peak_gib": max(memory[name]),
            "times_as_slow": ratios(seconds[name], seconds[OURS]),
            "times_the_memory": ratios(memory[name], memory[OURS]),
        }
        for name in names
    }
    print(
        f"{args.config.stem}, {args.device}, {args.dtype}, {args.batch_seconds:g} s a "
        f"step, talker counts {args.talker_counts}, teacher {args.teacher}, "
        f"{args.units} or {args.large_units} units, {args.rounds} rounds"
    )
    for name, figure in figures.items():
        print(
            f"{name:9} {figure['seconds_per_step']:8.3f} s a step, "
            f"{figure['peak_gib']:6.2f} GiB: {format_ratio(figure['times_as_slow'])} "
            f"as long as ours, {format_ratio(figure['times_the_memory'])} its memory"
        )
    if args.json is not None:
        settings = {k: v for k, v in vars(args).items() if k != "variant"}
        write_figures(args.json, settings, seconds, figures)


def main(cmd=None) -> None:
    """Compare, or be one of those that are compared."""
    cmd = sys.argv[1:] if cmd is None else cmd
    args = get_parser().parse_args(cmd)
    fill_in(args)
    check_positive(args, "batch_seconds", "utterance_seconds", "rounds", "steps")
    check_positive(args, "units", "large_units", "warmup_steps")
    check_file("config", args.config)
    if OURS not in args.variants:
        raise UserError(f"--variants: lacks {OURS}, with which others are compared")
    if args.variant is not None:
        result = run_variant(args)
        args.json.write_text(json.dumps(result))
        return
    check_device(args.device)
    # The processes run elsewhere: in the folder that `tools` lies in.
    compare(args, [*cmd, "--config", str(args.config.resolve())])


if __name__ == "__main__":
    run_command_line(main)
