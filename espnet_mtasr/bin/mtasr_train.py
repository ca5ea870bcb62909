"""Train a multi-talker ASR model; ESPnet's options and `MTASRTask`'s.

python -m espnet_mtasr.bin.mtasr_train --config conf/train.yaml ...
"""

import contextlib
import os
from pathlib import Path

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.locks import alone_in


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
    with contextlib.ExitStack() as held:
        first = os.environ.get("RANK", "0") == "0" and args.dist_rank in (None, 0)
        if args.output_dir is not None and first and not args.collect_stats:
            # Beside mtasr.sh's own, which it holds already.
            held.enter_context(
                alone_in(Path(args.output_dir), "training", ".training.lock")
            )
        MTASRTask.main(args=args)


if __name__ == "__main__":
    run_command_line(main)
