"""Stages 7 and 10: compute the outputs of the frozen trunk once, for all epochs.

Jobs 1 to N (`--num_jobs N --job J`) share the mixtures in `STATS_DIR/lists`; what is
already in the cache is not computed again. Then `--join true` with the same
`--num_jobs` writes `lists/*/trunk.scp` for the training. All other options are the
trainer's, including the `--init_param` that it starts from.
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
    parser.add_argument("--config", required=True, help="Training configuration")
    parser.add_argument("--stats_dir", type=Path, required=True, help="With lists/")
    parser.add_argument("--cache_dir", type=Path, required=True, help="May be shared")
    parser.add_argument("--job", type=int, default=1)
    parser.add_argument("--num_jobs", type=int, default=1)
    parser.add_argument(
        "--join", choices=("true", "false"), default="false", help="Write the lists"
    )
    parser.add_argument(
        "--cache_dtype", choices=("float16", "float32"), default="float16"
    )
    parser.add_argument(
        "--cache_batch_size", type=int, default=8, help="Recordings in a batch"
    )
    parser.add_argument(
        "--shard_size",
        type=int,
        default=96,
        help="Recordings per file; a stopped job loses at most one file",
    )
    parser.add_argument(
        "--known_stats_dir",
        type=Path,
        help="Of another training: recordings that haven't changed aren't hashed again",
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU, 1: GPU")
    return parser


def main(cmd=None) -> None:
    """Compute a job's share, or join the jobs' tables to the lists."""
    args, task_options = get_parser().parse_known_args(cmd)
    for name in ("num_jobs", "cache_batch_size", "shard_size"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name)}: give a number from 1")
    if not 1 <= args.job <= args.num_jobs:
        raise UserError(f"--job {args.job}: give a number from 1 to {args.num_jobs}")
    if args.join == "true":
        from espnet_mtasr.tasks.cached_trunk import join

        join(args.stats_dir, args.num_jobs)
        return
    from espnet_mtasr.gpus import device_of
    from espnet_mtasr.tasks.fill_trunk_cache import run_job
    from espnet_mtasr.tasks.mtasr import MTASRTask

    run_job(
        MTASRTask.parse_config(args.config, task_options),
        args.stats_dir,
        args.cache_dir,
        args.job,
        args.num_jobs,
        device_of(args.ngpu),
        args.cache_dtype,
        args.cache_batch_size,
        args.shard_size,
        args.known_stats_dir,
    )


if __name__ == "__main__":
    run_command_line(main)
