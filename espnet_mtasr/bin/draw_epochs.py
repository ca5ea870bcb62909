"""Stage 4: draw the mixtures of some epochs of dynamic mixing, as one data directory.

They are a fixed number of the mixtures that dynamic mixing makes, so the outputs of a
frozen trunk can be computed once. They are made while loading, and like mixtures in
files they are clipped at full scale, where dynamic mixing would scale them down. The
seed is always 0, whatever the training's seed, so all trainings use the same ones.

`--check true` only checks that the directory was drawn from the same set, with the same
options.
"""

import argparse
from pathlib import Path

from espnet_mtasr.errors import UserError, run_command_line


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
        help="Training configuration, whose dynamic_mixing_conf is used",
    )
    parser.add_argument("--check", choices=("true", "false"), default="false")
    return parser


def main(cmd=None) -> None:
    """Draw and write, `text` last; or check."""
    from espnet_mtasr.data.tables import write_table
    from espnet_mtasr.files import write_whole
    from espnet_mtasr.mixture.drawn import DRAWN_FROM, draw, mixing_options, origin
    from espnet_mtasr.mixture.dynamic import read_mixer
    from espnet_mtasr.tasks.mtasr import MTASRTask

    args, task_options = get_parser().parse_known_args(cmd)
    if args.epochs < 1:
        raise UserError(f"--epochs {args.epochs}: give a number from 1")
    training = MTASRTask.parse_config(args.config, task_options)
    options = mixing_options(training.preprocessor_conf)
    described = origin(args.source, args.epochs, options)
    mark, last = args.target / DRAWN_FROM, args.target / "text"
    if args.check == "true":
        same = mark.is_file() and mark.read_text(encoding="utf-8") == described
        if not same or not last.is_file():
            raise UserError(
                f"{args.target}: was not drawn from {args.source} with these options; "
                f"run stage 4"
            )
        return
    last.unlink(missing_ok=True)
    mixer = read_mixer(args.source / "utt2mixture", args.source / "text", **options)
    tables = draw(mixer, args.epochs)
    args.target.mkdir(parents=True, exist_ok=True)
    write_whole(mark, described)
    for name in sorted(tables, key="text".__eq__):
        write_table(args.target / name, tables[name])
    print(f"{args.target}: {len(tables['text'])} mixtures of {args.epochs} epochs")


if __name__ == "__main__":
    run_command_line(main)
