"""Find mistakes in configuration files before hours of work.

`--has_teacher CONFIG [OPTION...]` answers by its exit code (0: yes, 1: no) whether a
training configuration builds a teacher. `--cacheable CONFIG [OPTION...]` finds what
forbids caching the trunk's outputs. `--decoder CONFIG [OPTION...]` prints which decoder
an inference configuration names, ctc or llm.
"""

import argparse
import sys

from espnet_mtasr.errors import run_command_line


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train_configs", nargs="*", default=[])
    parser.add_argument("--inference_config")
    parser.add_argument("--has_teacher", nargs=argparse.REMAINDER)
    parser.add_argument("--cacheable", nargs=argparse.REMAINDER)
    parser.add_argument("--decoder", nargs=argparse.REMAINDER)
    return parser


def check_train_config(path: str) -> None:
    """Raise `UserError` for an option or a class option that doesn't exist."""
    from espnet_mtasr.bin.mtasr_train import get_parser as get_train_parser
    from espnet_mtasr.errors import UserError
    from espnet_mtasr.tasks.mtasr import MTASRTask

    args = get_train_parser().parse_args(["--config", path])
    try:
        MTASRTask.check_args(args)
    except UserError as e:
        raise UserError(f"{path}: {e}") from e


def has_teacher(path: str, *options: str) -> bool:
    """Say whether a training configuration builds a teacher."""
    from espnet_mtasr.bin.mtasr_train import get_parser as get_train_parser
    from espnet_mtasr.tasks.mtasr import MTASRTask

    args = get_train_parser().parse_args(["--config", path, *options])
    return MTASRTask.has_teacher(args)


def check_cacheable(path: str, *options: str) -> None:
    """Raise `UserError` if the trunk's outputs are not the same in every epoch."""
    from espnet_mtasr.bin.mtasr_train import get_parser as get_train_parser
    from espnet_mtasr.errors import UserError
    from espnet_mtasr.tasks import cached_trunk

    args = get_train_parser().parse_args(["--config", path, *options])
    try:
        cached_trunk.check_cacheable(args)
    except UserError as e:
        raise UserError(f"{path}: {e}") from e


def decoder_of(path: str, *options: str) -> str:
    """Return which decoder an inference configuration and further options name."""
    from espnet_mtasr.bin import mtasr_inference

    needed = ["--output_dir", "", "--mtasr_model_file", ""]
    needed += ["--data_path_and_name_and_type", ""]
    args = mtasr_inference.parse_arguments([*needed, "--config", path, *options])
    return args.decoder


def main(cmd=None) -> None:
    """Check all that is named."""
    args = get_parser().parse_args(cmd)
    if args.has_teacher:
        sys.exit(0 if has_teacher(*args.has_teacher) else 1)
    if args.cacheable:
        check_cacheable(*args.cacheable)
    if args.decoder:
        print(decoder_of(*args.decoder))
    if args.inference_config is not None:
        from espnet_mtasr.bin.mtasr_inference import read_config

        read_config(args.inference_config)
    for path in args.train_configs:
        check_train_config(path)


if __name__ == "__main__":
    run_command_line(main)
