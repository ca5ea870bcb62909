#!/usr/bin/env python3
"""Print the trainer's options for more (or fewer) epochs of a training configuration.

Learning-rate schedules count steps. A schedule that ends after a number of steps is
stretched by the same factor as the epochs. A warm-up in steps stays as it is; a warm-up
that is a share of the schedule grows with it.
"""

import argparse
from pathlib import Path
from typing import List, Optional, Sequence

import yaml

from espnet_mtasr.errors import UserError, run_command_line

# What ESPnet's and PyTorch's schedulers call their length.
LENGTHS = ("total_steps", "max_steps", "decay_steps", "first_cycle_steps", "T_max")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="Training configuration, YAML")
    parser.add_argument("max_epoch", type=int, help="Epochs to train")
    parser.add_argument(
        "--decay_steps", type=int, help="Length of the schedule (default: stretched)"
    )
    return parser


def stretch(
    config: Path, max_epoch: int, decay_steps: Optional[int] = None
) -> List[str]:
    """Return options of the trainer.

    Args:
        config: Training configuration.
        max_epoch: Epochs to train.
        decay_steps: Length of the schedule in the scheduler's own unit; None stretches
            the configuration's.

    Raises:
        UserError: the configuration can't be read or has no max_epoch, or `decay_steps`
            is given for a scheduler without a length.
    """
    try:
        settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as e:
        raise UserError(f"{config}: can't be read ({type(e).__name__})") from e
    epochs = settings.get("max_epoch") if isinstance(settings, dict) else None
    if not isinstance(epochs, int) or epochs < 1:
        raise UserError(f"{config}: has no max_epoch; add it")
    options = ["--max_epoch", str(max_epoch)]
    conf = settings.get("scheduler_conf") or {}
    lengths = [name for name in LENGTHS if name in conf]
    if decay_steps is not None and not lengths:
        raise UserError(
            f"--decay_steps {decay_steps}: the scheduler of {config} has none of "
            f"{', '.join(LENGTHS)}; leave the option out"
        )
    for name in lengths:
        steps = decay_steps or round(conf[name] * max_epoch / epochs)
        options += ["--scheduler_conf", f"{name}={steps}"]
    return options


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Print the options in one line."""
    args = get_parser().parse_args(cmd)
    for name in ("max_epoch", "decay_steps"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: give a number from 1")
    print(*stretch(args.config, args.max_epoch, args.decay_steps))


if __name__ == "__main__":
    run_command_line(main)
