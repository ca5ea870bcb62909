"""Train a multi-talker ASR model, with the options of ESPnet and `MTASRTask`.

python -m espnet_mtasr.bin.mtasr_train --config conf/train.yaml ...
"""

import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import Iterator

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.gpus import check_gpus
from espnet_mtasr.locks import alone_in

LOCK = ".training.lock"


def main(cmd=None) -> None:
    """Train, or collect statistics with `--collect_stats true`."""
    from espnet2.train.distributed_utils import get_node_rank

    from espnet_mtasr.tasks.init_param import check_init_param
    from espnet_mtasr.tasks.mtasr import MTASRTask
    from espnet_mtasr.tasks.precision import flush_denormals
    from espnet_mtasr.tasks.resuming import INPUTS, check_same_training, write_inputs

    flush_denormals()
    args = MTASRTask.get_parser().parse_args(cmd)
    if args.print_config:
        MTASRTask.main(args=args)
        return
    for name in args.required:
        if getattr(args, name) is None:
            raise UserError(f"--{name} is missing; --help lists the options")
    MTASRTask.check_args(args)
    if args.collect_stats:
        MTASRTask.main(args=args)
        return
    check_gpus(args.ngpu)
    folder = Path(args.output_dir)
    inputs = check_same_training(args)
    args.init_param = check_init_param(args.init_param, folder)
    made = not folder.exists()
    try:
        with contextlib.ExitStack() as held:
            if get_node_rank(args.dist_rank, args.dist_launcher) in (None, 0):
                # In addition to the lock that mtasr.sh already holds.
                held.enter_context(alone_in(folder, "training", LOCK))
                write_inputs(folder, inputs)
            held.enter_context(no_questions())
            MTASRTask.main(args=args)
    except UserError:
        if made and folder.is_dir() and {*os.listdir(folder)} <= {LOCK, INPUTS}:
            shutil.rmtree(folder)
        raise


@contextlib.contextmanager
def no_questions() -> Iterator[None]:
    """Don't let ESPnet ask, on a terminal, whether to run the code in a weight file."""
    stdin = sys.stdin
    with open(os.devnull, encoding="utf-8") as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = stdin


if __name__ == "__main__":
    run_command_line(main)
