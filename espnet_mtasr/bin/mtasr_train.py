"""Train a multi-talker ASR model; ESPnet's options and `MTASRTask`'s.

python -m espnet_mtasr.bin.mtasr_train --config conf/train.yaml ...
"""

from espnet_mtasr.errors import UserError, run_command_line


def main(cmd=None) -> None:
    """Train, or collect statistics with `--collect_stats true`."""
    from espnet_mtasr.tasks.mtasr import MTASRTask
    from espnet_mtasr.tasks.precision import flush_denormals

    flush_denormals()
    args = MTASRTask.get_parser().parse_args(cmd)
    if not args.print_config:
        for name in args.required:
            if getattr(args, name) is None:
                raise UserError(f"--{name} is missing; --help lists the options")
        MTASRTask.check_args(args)
    MTASRTask.main(args=args)


if __name__ == "__main__":
    run_command_line(main)
