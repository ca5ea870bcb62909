"""Training steps of both phases at full size, on synthetic audio: speed and memory.

The models of the configurations have random weights of the published shapes
(tools/published_models.py), so nothing is downloaded. The losses only show that they
are finite. A step is ESPnet's: forward, backward, clipping, AdamW. From anywhere, after
`. ./path.sh` of a recipe. The first command is a check for a machine with 10 GB of free
memory and no GPU, the second a benchmark:

    python -m tools.bench.full_size_step --batch_seconds 2 --utterance_seconds 2
    python -m tools.bench.full_size_step --device cuda --steps 200 --batch_seconds 60
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict

from espnet_mtasr.errors import run_command_line
from tools.bench import side_by_side as bench
from tools.bench.training import FULL_SIZE_CONF, TRAINING_OPTIONS, TrainingStep

OPTIONS = bench.Options(
    __doc__,
    configs=[FULL_SIZE_CONF / f"train_phase{phase}.yaml" for phase in (1, 2)],
    device=bench.DEVICE,
    steps=(1, "timed"),
    warmup_steps=(0, "before these"),
    dtype=("bfloat16", "of the LLM; on a GPU also of mixed precision", bench.DTYPES),
    batch_seconds=(2.0, "per step"),
    utterance_seconds=15.0,
    seed=0,
    training_options=TRAINING_OPTIONS,
)
OPTIONS.add_argument("--output", dest="json", type=Path, help="the same as --json")


def run(config: Path, args: argparse.Namespace) -> Dict[str, Any]:
    """Train for some steps and return the speed."""
    import torch

    rows = max(1, round(args.batch_seconds / args.utterance_seconds))
    step = TrainingStep(
        config,
        rows,
        args.utterance_seconds,
        device=args.device,
        dtype=args.dtype,
        options=args.training_options.split(),
        seed=args.seed,
    )
    bench.reset_peak_memory(args.device)
    step.measure(args.warmup_steps)
    seconds = sum(step.measure(args.steps))
    audio = args.steps * rows * args.utterance_seconds
    return dict(
        config=config.resolve().stem,
        device="cpu" if args.device == "cpu" else bench.describe(args.device),
        threads=torch.get_num_threads(),
        dtype=args.dtype,
        steps=args.steps,
        batch=f"{rows} x {args.utterance_seconds:g} s",
        parameters=sum(p.numel() for p in step.model.parameters()),
        trained=sum(p.numel() for p in step.trained),
        seconds_per_step=round(seconds / args.steps, 4),
        audio_seconds_per_second=round(audio / seconds, 3),
        peak_memory_gib=round(bench.peak_memory(args.device, reserved=True), 2),
        first_loss=round(step.losses[0], 4),
        last_loss=round(step.losses[-1], 4),
        torch=torch.__version__,
    )


def main(cmd=None) -> None:
    """Run every configuration and print a JSON line for each."""
    import torch

    from espnet_mtasr.files import write_whole

    args = OPTIONS.parse_args(cmd)
    results = []
    for config in args.configs:
        results.append(run(config, args))
        print(json.dumps(results[-1]), flush=True)
        torch.cuda.empty_cache()
    if args.json is not None:
        write_whole(args.json, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    run_command_line(main)
