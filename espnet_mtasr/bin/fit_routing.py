#!/usr/bin/env python3
"""Stage 12: fit on a development set how to pick a branch.

Writes routing.json beside the checkpoint, where decoding, `MTASR` and `mtasr_pack` find
it, and routing.md with its effect. The branches may help where the talker-count head is
unsure, and the count with the fewest expected errors may be picked instead of the most
probable one. If neither lowers the development set's cpWER, it says so, and the head
still decides alone. Texts are searched with the n-gram beside the checkpoint, if it was
fitted to it. A calibration of talker counts that is there already fits the routing
before it, so it says to calibrate again.
"""

import argparse
from pathlib import Path
from typing import Optional, Sequence

from espnet_mtasr.errors import run_command_line
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
        "--test_data_dirs",
        type=Path,
        nargs="*",
        default=[],
        help="further sets to report on",
    )
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument(
        "--mixtures",
        type=int,
        default=1000,
        help="a smaller development set is mixed again, until it has about this many",
    )
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Fit, report, write."""
    args = get_parser().parse_args(cmd)
    check_model_files(args)

    from espnet_mtasr.files import write_whole
    from espnet_mtasr.inference import search_options
    from espnet_mtasr.model_zoo.model_files import CALIBRATION, ROUTING
    from espnet_mtasr.transcription.calibration import routing
    from espnet_mtasr.transcription.calibration.calibration import Calibration

    speech2text = load_unfitted(args, **search_options(args.mtasr_model_file))
    counts = speech2text.model.talker_counts
    name = args.mtasr_model_file.name
    if len(counts) == 1 or speech2text.model.count_head is None:
        print(f"{name}: has no talker counts to choose between")
        return
    mixtures = routing.read_mixtures(args.data_dir, counts, args.mixtures)
    dev = routing.judge(speech2text, mixtures, args.batch_size)
    fitted, tried = routing.fit(dev, name, counts)
    tables = {f"{args.data_dir.name}, {len(mixtures)} mixtures": tried}
    costs = routing.mean_costs(dev)
    for folder in args.test_data_dirs:
        found = routing.judge(
            speech2text, routing.read_mixtures(folder, counts, 0), args.batch_size
        )
        scores = fitted.scores(found.log_probs, found.entropies)
        tables[folder.name] = {
            choice: routing.rates(found, scores, costs, choice) for choice in tried
        }
    table = routing.format_rates(tables)
    folder = args.mtasr_model_file.parent
    write_whole(folder / "routing.md", table)
    fitted.write(folder / ROUTING)
    print(table, end="")
    print(f"{folder / ROUTING}: {fitted}")
    if Calibration.beside(args.mtasr_model_file).count_slope != 1.0:
        print(
            f"{folder / CALIBRATION}: its talker counts were calibrated with the "
            "routing before; run espnet_mtasr.bin.calibrate again"
        )


if __name__ == "__main__":
    run_command_line(main)
