"""Stages 2 to 4 on data directories: `perturb`, `format`, `filter`."""

import argparse
from pathlib import Path

from espnet_mtasr.errors import UserError, run_command_line


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fs", type=int, default=16000, help="Sampling rate in Hz")
    parser.add_argument("--nj", type=int, default=1, help="Processes")
    parser.add_argument(
        "--on_the_fly",
        choices=("true", "false"),
        default="false",
        help="Make mixtures with a spec (utt2mixture) while loading",
    )
    stages = parser.add_subparsers(dest="stage", required=True)

    perturb = stages.add_parser("perturb", help="Stage 2: copies at other speeds")
    perturb.add_argument("source", type=Path)
    perturb.add_argument("target", type=Path)
    perturb.add_argument("--factors", required=True, help="e.g. '0.9 1.0 1.1'")

    formatting = stages.add_parser("format", help="Stage 3: one rate, one format")
    filtering = stages.add_parser("filter", help="Stage 4: remove by length")
    for stage in (formatting, filtering):
        stage.add_argument(
            "--source", type=Path, required=True, help="data or dump/org"
        )
        stage.add_argument("--target", type=Path, required=True, help="dump folder")
        stage.add_argument("--train_sets", default="", help="Quoted list")
        stage.add_argument("--eval_sets", default="", help="Quoted list: dev and test")
    formatting.add_argument(
        "--audio_format",
        default="flac",
        choices=("flac", "wav", "flac.ark", "wav.ark"),
    )
    formatting.add_argument("--talker_counts", default="2 3")
    for stage in (perturb, formatting):
        stage.add_argument(
            "--max_unreadable",
            type=float,
            default=0.01,
            help="Maximum share of bad training recordings, which are skipped",
        )
    filtering.add_argument("--min_seconds", type=float, default=0.1)
    filtering.add_argument("--max_seconds", type=float, default=30.0)
    return parser


def main(cmd=None) -> None:
    """Run one stage on all its sets."""
    args = get_parser().parse_args(cmd)
    from espnet_mtasr.mixture import prepare

    on_the_fly = args.on_the_fly == "true"
    if args.stage == "perturb":
        factors = args.factors.split()
        line = prepare.perturb_set(
            args.source,
            args.target,
            factors,
            args.fs,
            args.nj,
            on_the_fly,
            args.max_unreadable,
        )
        print(line)
        return
    train_sets = args.train_sets.split()
    # The validation set may be a test set too.
    eval_sets = list(dict.fromkeys(args.eval_sets.split()))
    if args.stage == "format":
        if not all(n.isdecimal() and int(n) for n in args.talker_counts.split()):
            raise UserError(f"--talker_counts {args.talker_counts}: give e.g. '2 3'")
        counts = [int(n) for n in args.talker_counts.split()]
    for name in train_sets + eval_sets:
        source, target, train = (
            args.source / name,
            args.target / name,
            name in train_sets,
        )
        if args.stage == "format":
            line = prepare.format_set(
                source,
                target,
                args.fs,
                args.audio_format,
                args.nj,
                counts,
                train,
                on_the_fly,
                args.max_unreadable,
            )
        elif train:
            line = prepare.filter_set(
                source, target, args.fs, args.min_seconds, args.max_seconds
            )
        else:
            line = prepare.copy_set(source, target)
        print(line, flush=True)


if __name__ == "__main__":
    run_command_line(main)
