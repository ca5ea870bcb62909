"""Find mistakes in configuration files before hours of work.

`--has_teacher CONFIG [OPTION...]` answers by its exit code (0: yes, 1: no) whether a
training configuration builds a teacher.
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
    return parser


def check_train_config(path: str) -> None:
    """Raise `UserError` for an option or a class option that doesn't exist."""
    from espnet_mtasr.bin.mtasr_train import get_parser as get_train_parser
    from espnet_mtasr.errors import UserError
    from espnet_mtasr.tasks.mtasr import MTASRTask, check_options

    args = get_train_parser().parse_args(["--config", path])
    for choices in MTASRTask.class_choices_list:
        value = getattr(args, choices.name)
        try:
            class_obj = choices.get_class(value)
        except ValueError as e:
            raise UserError(f"{path}: {e}") from e
        if class_obj is not None:
            name = f"{choices.name}_conf"
            check_options(class_obj, getattr(args, name), f"{path}: {name}")


def has_teacher(path: str, *options: str) -> bool:
    """Say whether a training configuration builds a teacher."""
    from espnet_mtasr.bin.mtasr_train import get_parser as get_train_parser

    args = get_train_parser().parse_args(["--config", path, *options])
    return args.teacher is not None and args.model_conf.get("ctc_weight", 0.7) < 1.0


def main(cmd=None) -> None:
    """Check all that is named."""
    args = get_parser().parse_args(cmd)
    if args.has_teacher:
        sys.exit(0 if has_teacher(*args.has_teacher) else 1)
    if args.inference_config is not None:
        from espnet_mtasr.bin.mtasr_inference import read_config

        read_config(args.inference_config)
    for path in args.train_configs:
        check_train_config(path)


if __name__ == "__main__":
    run_command_line(main)
