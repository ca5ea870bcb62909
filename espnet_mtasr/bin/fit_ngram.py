#!/usr/bin/env python3
"""Stage 12 with --use_ngram true: fit on a development set how an n-gram is used.

Writes ngram.safetensors beside the checkpoint, where decoding, `MTASR` and `mtasr_pack`
find it, and ngram.md with its effect. If the n-gram doesn't lower the set's cpWER,
it gets the weight 0. Each talker count has its own weight.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.transcription.calibration.command_line import (
    add_fitting_options,
    check_model_files,
    load_unfitted,
)


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_fitting_options(parser)
    parser.add_argument(
        "--ngram_file", type=Path, required=True, help="written by train-ngram"
    )
    parser.add_argument("--beam_size", type=int, default=12)
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Fit, report, write."""
    args = get_parser().parse_args(cmd)
    check_model_files(args)
    if args.beam_size < 2:
        raise UserError(f"--beam_size {args.beam_size}: give 2 or more")

    from espnet_mtasr.files import write_whole
    from espnet_mtasr.model_zoo.model_files import CALIBRATION, NGRAM
    from espnet_mtasr.progress import progress
    from espnet_mtasr.text.ngram import Fit, Ngram
    from espnet_mtasr.transcription.calibration import ngram_fitting
    from espnet_mtasr.transcription.calibration.calibration import Calibration

    ngram = Ngram.read(args.ngram_file)
    speech2text = load_unfitted(args)
    ngram.check_tokens(speech2text.model.token_list, args.ngram_file)
    counts = speech2text.model.talker_counts
    mixtures = ngram_fitting.read_some(args.data_dir, counts)
    heard = ngram_fitting.hear(speech2text, mixtures)
    known = sorted({of_batch.streams.count for of_batch in heard})
    fitted = {}
    for count in progress(known, len(known), "n-gram: talker counts", True):
        some = [of_batch for of_batch in heard if of_batch.streams.count == count]
        fitted[count] = ngram_fitting.fit_count(
            speech2text, some, ngram, args.beam_size
        )
    ngram.fit = Fit(
        args.mtasr_model_file.name,
        args.beam_size,
        {count: (row.weight, row.penalty) for count, row in fitted.items()},
    )
    table = ngram_fitting.format_rates(args.data_dir.name, fitted)
    path = args.mtasr_model_file.with_name(NGRAM)
    ngram.write(path)
    write_whole(path.with_suffix(".md"), table)
    print(table, end="")
    print(f"{path}: written")
    if not ngram.fit.helps():
        print(f"{path}: doesn't help on {args.data_dir}, so it won't be used")
    if Calibration.beside(args.mtasr_model_file) != Calibration():
        print(
            f"{path.with_name(CALIBRATION)}: was made without it, or with another; run "
            "espnet_mtasr.bin.calibrate again"
        )


if __name__ == "__main__":
    run_command_line(main)
