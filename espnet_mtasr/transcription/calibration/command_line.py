"""Options of the commands that fit something to a checkpoint on a development set."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_mtasr.errors import UserError
from espnet_mtasr.trust import add_trust_option

if TYPE_CHECKING:
    from espnet_mtasr.inference import Speech2Text


def add_fitting_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of checkpoint, development set and device."""
    parser.add_argument("--mtasr_train_config", type=Path)
    parser.add_argument("--mtasr_model_file", type=Path, required=True)
    parser.add_argument("--data_dir", type=Path, required=True, help="development set")
    parser.add_argument("--ngpu", type=int, default=0)
    add_trust_option(parser)


def check_model_files(args: argparse.Namespace) -> None:
    """Raise `UserError` if the checkpoint or its configuration is missing."""
    for path in (args.mtasr_train_config, args.mtasr_model_file):
        if path is not None and not path.is_file():
            raise UserError(f"{path}: no such file; train first")


def load_unfitted(args: argparse.Namespace, **search: Any) -> "Speech2Text":
    """Load the checkpoint with its talker-count head alone.

    Args:
        args: With the options of `add_fitting_options`.
        search: `beam_size` and `ngram` of `Speech2Text`; without them the search is
            greedy.
    """
    from espnet_mtasr.gpus import device_of
    from espnet_mtasr.inference import Speech2Text

    return Speech2Text(
        args.mtasr_train_config,
        args.mtasr_model_file,
        device=device_of(args.ngpu),
        rescore=False,
        trust_remote_code=args.trust_remote_code,
        **search,
    )
