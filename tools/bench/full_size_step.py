"""Training steps of both phases at full size, on synthetic audio: speed and memory.

The models of the configurations are built with random weights of the published shapes
(tools/published_models.py), so that nothing is downloaded: losses mean nothing but that
they are finite. A step is ESPnet's: forward, backward, clipping, AdamW. From anywhere,
after `. ./path.sh` of a recipe; the first is a check for a machine with 10 GB of free
memory and no GPU, the second a benchmark:

    python -m tools.bench.full_size_step --batch_seconds 2 --utterance_seconds 2
    python -m tools.bench.full_size_step --device cuda --steps 200 --batch_seconds 60
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, Dict

from espnet_mtasr.errors import run_command_line
from tools.bench.devices import DEVICES, check_device
from tools.bench.memory import peak_memory, reset_peak_memory
from tools.bench.side_by_side import check_positive
from tools.bench.training import (
    FULL_SIZE_CONF,
    build,
    check_file,
    make_step,
)


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--configs",
        nargs="+",
        type=Path,
        default=[FULL_SIZE_CONF / f"train_phase{phase}.yaml" for phase in (1, 2)],
        help="Training configurations (default: both phases of egs2/librimix)",
    )
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument("--steps", type=int, default=1, help="Timed steps")
    parser.add_argument(
        "--warmup_steps", type=int, default=0, help="Steps before these, not timed"
    )
    parser.add_argument(
        "--dtype",
        default="bfloat16",
        choices=("bfloat16", "float32"),
        help="bfloat16: LLM in bfloat16, and mixed precision where --device is cuda; "
        "float32: neither",
    )
    parser.add_argument("--batch_seconds", type=float, default=2.0, help="Per step")
    parser.add_argument("--utterance_seconds", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument(
        "--training_options",
        default="",
        help="Further options of mtasr_train, quoted, for instance "
        "'--encoder_conf gradient_checkpointing=true'",
    )
    return parser


def run(config: Path, args: argparse.Namespace) -> Dict[str, Any]:
    """Train for some steps and say how fast.

    Raises:
        UserError: a loss is not finite.
    """
    import torch

    model, optimizer, train_args = build(
        config, args.training_options.split(), args.device, args.dtype, args.seed
    )
    cuda = args.device == "cuda"
    reset_peak_memory(args.device)
    rows = max(1, round(args.batch_seconds / args.utterance_seconds))
    step = make_step(
        model,
        optimizer,
        train_args,
        [[n] * rows for n in model.talker_counts],
        args.utterance_seconds,
        args.dtype == "bfloat16",
        seed=args.seed,
    )
    for _ in range(args.warmup_steps):
        step()
    start = time.perf_counter()
    for _ in range(args.steps):
        step()
    seconds = time.perf_counter() - start
    step.check_losses(str(config))
    audio = args.steps * rows * args.utterance_seconds
    return dict(
        config=config.resolve().stem,
        device=torch.cuda.get_device_name() if cuda else "cpu",
        threads=torch.get_num_threads(),
        dtype=args.dtype,
        steps=args.steps,
        batch=f"{rows} x {args.utterance_seconds:g} s",
        parameters=sum(p.numel() for p in model.parameters()),
        trained=sum(p.numel() for p in step.trained),
        seconds_per_step=round(seconds / args.steps, 4),
        audio_seconds_per_second=round(audio / seconds, 3),
        peak_memory_gib=round(peak_memory(args.device, reserved=True), 2),
        first_loss=round(step.losses[0], 4),
        last_loss=round(step.losses[-1], 4),
        torch=torch.__version__,
    )


def main(cmd=None) -> None:
    """Run every configuration and print a JSON line for each."""
    args = get_parser().parse_args(cmd)
    check_positive(args, "steps", "batch_seconds", "utterance_seconds")
    for config in args.configs:
        check_file("configs", config)
    check_device(args.device)
    results = []
    for config in args.configs:
        results.append(run(config, args))
        print(json.dumps(results[-1]), flush=True)
        if args.device == "cuda":
            import torch

            torch.cuda.empty_cache()
    if args.output is not None:
        from espnet_mtasr.files import write_whole

        write_whole(args.output, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    run_command_line(main)
