#!/usr/bin/env python3
"""Find a model for `--download_model`; download or unpack it if needed.

Prints three lines: a name for its results, its config.yaml, its checkpoint.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description="Find, download or unpack a model")
    parser.add_argument(
        "--model",
        required=True,
        help="Hub id (owner/name[@revision]), zip, folder, checkpoint, or the model "
        "that ships with the package (mini)",
    )
    parser.add_argument(
        "--decoder",
        choices=("ctc", "llm"),
        default="ctc",
        help="What is to decode; llm: the model must have been packed with its teacher",
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Find it; raises `UserError` if there is no such model, or it can't decode so."""
    args = get_parser().parse_args(cmd)

    from espnet_mtasr.model_zoo.model_files import fetch_model, model_name

    found = fetch_model(args.model)
    if args.decoder == "llm":
        check_teacher(args.model, found.mtasr_train_config)
    print(model_name(args.model))
    print(found.mtasr_train_config)
    print(found.mtasr_model_file)


def check_teacher(model: str, config_file: Path) -> None:
    """Raise `UserError` if a model has no teacher."""
    from espnet_mtasr.tasks.trained import read_train_config

    if read_train_config(config_file).teacher is None:
        raise UserError(
            f"--download_model {model}: has no teacher, which decoder: llm needs; give "
            "another --inference_config, or a model that was packed with "
            "--pack_teacher true"
        )


if __name__ == "__main__":
    run_command_line(main)
