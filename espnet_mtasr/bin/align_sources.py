#!/usr/bin/env python3
"""Align the words of the recordings that training mixtures are made of.

A model that can transcribe single talkers aligns each recording once. With
`preprocessor_conf source_times`, training then begins with the tokens at these times.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.trust import add_trust_option

# Tokens that are spread all over the frames have about this probability.
POOR = 0.05


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model",
        required=True,
        help="checkpoint, zip, folder or hub id of a model for 1 talker",
    )
    parser.add_argument("--data_dir", type=Path, required=True, help="has utt2mixture")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--ngpu", type=int, default=0)
    add_trust_option(parser)
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Align, report, write."""
    args = get_parser().parse_args(cmd)
    from espnet_mtasr.files import write_list
    from espnet_mtasr.gpus import device_of
    from espnet_mtasr.mixture.source_times import write_source_times
    from espnet_mtasr.model_zoo.model_files import fetch_model
    from espnet_mtasr.tasks.mtasr import MTASRTask
    from espnet_mtasr.tasks.source_alignment import SourceAligner, read_sources

    sources = read_sources(args.data_dir)
    found = fetch_model(args.model)
    device = device_of(args.ngpu)
    model, train_args = MTASRTask.build_model_from_file(
        found.mtasr_train_config,
        found.mtasr_model_file,
        device,
        trust_remote_code=args.trust_remote_code,
    )
    aligner = SourceAligner(model.eval(), train_args, device)
    times, failed = aligner.align(sources)
    if not times:
        path, why = next(iter(failed.items()))
        raise UserError(f"{args.model}: aligned no recording; {path}: {why}")
    listing = args.output.with_name(f"{args.output.name}.left_out")
    write_list(listing, [f"{path} {why}" for path, why in sorted(failed.items())])
    write_source_times(args.output, times)
    typical = statistics.median(aligner.probabilities)
    print(
        f"{args.output}: {len(times)} of {len(sources)} recordings aligned, a token's "
        f"probability is {typical:.3f} (median)"
        + (f"; the others are listed in {listing}" if failed else "")
    )
    if typical < POOR:
        print(
            f"warning: {args.model} fits this speech badly; its alignments may be "
            "worse than none",
            file=sys.stderr,
        )


if __name__ == "__main__":
    run_command_line(main)
