#!/usr/bin/env python3
"""Find a model for `--download_model`; download or unpack it if needed.

Prints three lines: a name for its results, its config.yaml, its checkpoint.
"""

import argparse
from typing import Optional, Sequence

from espnet_mtasr.errors import run_command_line


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description="Find, download or unpack a model")
    parser.add_argument(
        "--model",
        required=True,
        help="Hub id (owner/name[@revision]), zip, folder, checkpoint, or the model "
        "that ships with the package (mini)",
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Find it; raises `UserError` if there is no such model."""
    args = get_parser().parse_args(cmd)

    from espnet_mtasr.model_zoo.model_files import fetch_model, model_name

    found = fetch_model(args.model)
    print(model_name(args.model))
    print(found.mtasr_train_config)
    print(found.mtasr_model_file)


if __name__ == "__main__":
    run_command_line(main)
