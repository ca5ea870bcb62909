"""Stage 4: draw the mixtures of some epochs of dynamic mixing, as one data directory.

They are a fixed number of the mixtures that dynamic mixing makes, so the outputs of a
frozen trunk can be computed once.
"""

import argparse
from pathlib import Path
from typing import Dict

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.mixture.dynamic import DynamicMixer


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    # The trainer's options pass through, so abbreviations of our options must be off.
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--source", type=Path, required=True, help="Set in dump/raw")
    parser.add_argument("--target", type=Path, required=True, help="The new one")
    parser.add_argument("--epochs", type=int, required=True, help="How many to draw")
    parser.add_argument(
        "--config",
        required=True,
        help="Training configuration, whose dynamic_mixing_conf and seed are used",
    )
    return parser


def draw(mixer: DynamicMixer, epochs: int) -> Dict[str, Dict[str, str]]:
    """Return the tables of all mixtures of epochs 1 to `epochs`, by name."""
    from espnet_mtasr.text.sot import join_sot

    names = ("utt2mixture", "text", "utt2num_spk", "utt2spk")
    tables: Dict[str, Dict[str, str]] = {name: {} for name in names}
    for epoch in range(1, epochs + 1):
        for utt in sorted(mixer.specs):
            spec, texts = mixer.draw(utt, epoch)
            key = f"e{epoch:03d}_{utt}"
            row = (spec.to_line(), join_sot(texts), str(len(texts)), key)
            for name, value in zip(names, row):
                tables[name][key] = value
    return tables


def main(cmd=None) -> None:
    """Draw and write; `text` comes last."""
    from espnet_mtasr.data.tables import write_table
    from espnet_mtasr.mixture.dynamic import read_mixer
    from espnet_mtasr.tasks.mtasr import MTASRTask

    args, task_options = get_parser().parse_known_args(cmd)
    if args.epochs < 1:
        raise UserError(f"--epochs {args.epochs}: give a number from 1")
    training = MTASRTask.parse_config(args.config, task_options)
    options = training.preprocessor_conf.get("dynamic_mixing_conf") or {}
    if options.get("cut_at_pauses"):
        raise UserError(
            f"{args.config}: dynamic_mixing_conf: cut_at_pauses needs the times of "
            f"words, which stage 4 doesn't know; set it to false, or add "
            f"--drawn_epochs 0"
        )
    specs = args.source / "utt2mixture"
    if not specs.is_file():
        raise UserError(
            f"{args.source}: has no utt2mixture (what its mixtures are made of), which "
            f"dynamic mixing needs; add --dynamic_mixing false"
        )
    options = {"seed": training.seed, **options}
    options.pop("cut_at_pauses", None)
    mixer = read_mixer(specs, args.source / "text", **options)
    tables = draw(mixer, args.epochs)
    for name in sorted(tables, key="text".__eq__):
        write_table(args.target / name, tables[name])
    print(f"{args.target}: {len(tables['text'])} mixtures of {args.epochs} epochs")


if __name__ == "__main__":
    run_command_line(main)
