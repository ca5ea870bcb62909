"""Encoder-only decoding at full size beside decoding by the language model.

The model of a phase-2 configuration (default: WavLM-Large and Llama-3.2-1B) with random
weights writes down mixtures of noise: by branch, separator and CTC, part by part and as
a whole, and by its language model, greedily, with a key-value cache, LoRA merged, and a
fixed number of tokens. Printed are real-time factors, language model / encoder-only,
and how many times the floor of its work (floors.py, work.py) each takes. From anywhere,
after `. ./path.sh` of a recipe:

    python -m tools.bench.decoding --device cuda --dtype bfloat16 --json out.json
    OMP_NUM_THREADS=2 python -m tools.bench.decoding --json out.json

Times include moving the samples to the device and the tokens back. Beside them stand
the figures that Shi et al., Interspeech 2026 (arXiv 2603.10587), reported.
"""

import argparse
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, List

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench.decoding_pieces import (
    FullSizeDecoding,
    Piece,
    by_llm,
    parts_of,
    whole,
)
from tools.bench.devices import DEVICES, DTYPES, check_device, describe, wait_for
from tools.bench.floors import (
    Limits,
    floors_of,
    measure_limits,
    sizes_for,
    with_lstm_of,
)
from tools.bench.full_size_models import CONFIG
from tools.bench.side_by_side import (
    Seconds,
    check_positive,
    format_ratio,
    measure,
    ratios,
    write_figures,
)
from tools.bench.training import check_file

# Real-time factors on one H100 at batch 1: encoder-only, LLaMA-1B decoder.
REPORTED = {2: (0.0043, 0.1150), 3: (0.0106, 0.0981)}
BATCH_SIZES = {"cpu": [1], "cuda": [1, 32]}
ROUNDS = {"cpu": 3, "cuda": 20}
WARM_UP_ROUNDS = {"cpu": 0, "cuda": 3}


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--config", type=Path, default=CONFIG, help="training configuration, phase 2")
    add("--device", default="cpu", choices=DEVICES)
    add("--dtype", default="float32", choices=DTYPES, help="of all models")
    add("--seconds", type=float, default=10.0, help="of a mixture")
    add("--talker_counts", type=int, nargs="+", default=[2, 3])
    add(
        "--llm_tokens",
        type=int,
        nargs="*",
        default=[45, 70],
        help="that the language model writes for each of --talker_counts, end of "
        "sentence included; without numbers: no language model",
    )
    add("--batch_sizes", type=int, nargs="+", help="default: 1, on a GPU 1 32")
    add(
        "--llm_batch_sizes",
        type=int,
        nargs="+",
        default=[1],
        help="those of --batch_sizes at which the language model decodes too",
    )
    add("--rounds", type=int, help="default: 3, on a GPU 20")
    add("--limit_size", type=int, help="of the matrices that floors are measured with")
    add("--json", type=Path, help="gets the figures")
    return parser


def check_options(args: argparse.Namespace) -> None:
    """Fill in what depends on the device; raise `UserError` for what can't be."""
    args.batch_sizes = args.batch_sizes or BATCH_SIZES[args.device]
    args.rounds = ROUNDS[args.device] if args.rounds is None else args.rounds
    check_positive(args, "rounds", "seconds")
    if args.limit_size is not None:
        check_positive(args, "limit_size")
    for option in ("talker_counts", "llm_tokens", "batch_sizes", "llm_batch_sizes"):
        for n in getattr(args, option):
            if n < 1:
                raise UserError(f"--{option} {n}: give 1 or more")
    if 1 in args.llm_tokens:
        raise UserError(
            "--llm_tokens 1: give 2 or more, for the last ends the sentence"
        )
    if args.llm_tokens and len(args.llm_tokens) != len(args.talker_counts):
        raise UserError(
            f"--llm_tokens: {len(args.llm_tokens)} numbers for "
            f"{len(args.talker_counts)} of --talker_counts; give as many"
        )
    unknown = set(args.llm_batch_sizes) - set(args.batch_sizes)
    if args.llm_tokens and unknown:
        raise UserError(
            f"--llm_batch_sizes {min(unknown)}: is none of --batch_sizes "
            f"{args.batch_sizes}; choose from these"
        )
    check_file("config", args.config)
    check_device(args.device)


def time_all(
    pieces: Dict[str, Piece], device: str, rounds: int, warm_up_rounds: int
) -> Seconds:
    """Seconds of all pieces, side by side."""
    import torch

    def finished(run: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            with torch.no_grad():
                run()
            wait_for(device)

        return call

    runs = {name: finished(piece.run) for name, piece in pieces.items()}
    if warm_up_rounds > 0:
        measure(runs, warm_up_rounds)
    return measure(runs, rounds)


def summarize(
    pieces: Dict[str, Piece], seconds: Seconds, audio_seconds: float, limits: Limits
) -> Dict[str, Dict[str, Any]]:
    """Figures of each piece.

    Args:
        pieces: What was timed.
        seconds: Of each in each round.
        audio_seconds: That a batch holds.
        limits: Of the device.
    """
    figures = {}
    for name, piece in pieces.items():
        floors = floors_of(piece.work, limits)
        bound, floor = floors.largest
        median = statistics.median(seconds[name])
        figures[name] = {
            "seconds": ratios(seconds[name], [1.0] * len(seconds[name])),
            "rtf": median / audio_seconds,
            "work": piece.work._asdict(),
            "floors": asdict(floors),
            "largest_floor": bound,
            "times_the_floor": median / floor,
        }
    return figures


def compare(
    seconds: Seconds, figures: Dict[str, Dict[str, Any]], tokens: Dict[int, int]
) -> Dict[int, Dict[str, Any]]:
    """Language model / encoder-only of each talker count, and seconds a token."""
    compared = {}
    for count in tokens:
        if by_llm(count) not in seconds:
            continue
        before = ("trunk", "talker-count head", f"branch, {count} talkers")
        encoder = sum(figures[name]["seconds"]["median"] for name in before)
        llm = figures[by_llm(count)]["seconds"]["median"] - encoder
        compared[count] = {
            "times_as_long": ratios(seconds[by_llm(count)], seconds[whole(count)]),
            "seconds_per_token": llm / tokens[count],
        }
    return compared


def print_batch(
    rows: int,
    figures: Dict[str, Dict[str, Any]],
    compared: Dict[int, Dict[str, Any]],
    args: argparse.Namespace,
) -> None:
    """Print the table of one batch size."""
    columns = f"{'ms':>11} {'(min to max)':>24}{'RTF':>10}   times its floor"
    print(f"{f'batch of {rows}':28}{columns}")
    for count in args.talker_counts:
        print_row(whole(count), figures[whole(count)])
        rest = figures[whole(count)]["seconds"]["median"]
        for name, part in parts_of(count).items():
            print_row(f"  {part}", figures[name])
            rest -= figures[name]["seconds"]["median"]
        print(f"{'  rest':28}{1e3 * rest:11.3f}")
        if count in compared:
            print_row(by_llm(count), figures[by_llm(count)])
            token = compared[count]["seconds_per_token"]
            print(f"{'  a token':28}{1e3 * token:11.3f}")
            ratio = format_ratio(compared[count]["times_as_long"])
            print(f"{count} talkers, language model / encoder-only: {ratio}")


def print_row(name: str, figure: Dict[str, Any]) -> None:
    """Print what one piece takes."""
    median, low, high = (1e3 * figure["seconds"][k] for k in ("median", "min", "max"))
    spread = f"({low:.3f} to {high:.3f})"
    bound = figure["largest_floor"].replace("_", " ")
    print(
        f"{name:28}{median:11.3f} {spread:>24}{figure['rtf']:10.5f}   "
        f"{figure['times_the_floor']:.1f} x ({bound})"
    )


def print_reported(counts: List[int]) -> None:
    """Print the paper's figures."""
    print("\nreported by Shi et al. (one H100, batch 1), not measured here:")
    for count in counts:
        if count in REPORTED:
            ours, llm = REPORTED[count]
            print(
                f"{count} talkers: RTF {ours:.4f} encoder-only, {llm:.4f} by a "
                f"LLaMA-1B decoder, {llm / ours:.1f} x"
            )


def main(cmd=None) -> None:
    """Time and print."""
    args = get_parser().parse_args(cmd)
    check_options(args)
    decoding = FullSizeDecoding(args)
    sizes = with_lstm_of(sizes_for(args.device), decoding.model.separator)
    if args.limit_size is not None:
        copied = 4 * args.limit_size**2
        sizes = sizes._replace(matrix=args.limit_size, copy_bytes=copied)
    limits, limit_seconds = measure_limits(args.device, args.dtype, sizes)
    print(f"{args.config.stem}, {args.dtype}, {describe(args.device)}")
    print(f"limits: {limits}", flush=True)
    seconds: Seconds = {f"limits, {k}": v for k, v in limit_seconds.items()}
    figures: Dict[str, Any] = {
        "limits": asdict(limits),
        "reported": {"source": "arXiv 2603.10587, one H100, batch 1", "rtf": REPORTED},
        "batches": {},
    }
    for rows in args.batch_sizes:
        print(
            f"\nmixtures of {args.seconds:g} s, batch of {rows}, {args.rounds} rounds",
            flush=True,
        )
        pieces = decoding.pieces(rows)
        times = time_all(pieces, args.device, args.rounds, WARM_UP_ROUNDS[args.device])
        of_batch = summarize(pieces, times, rows * args.seconds, limits)
        compared = compare(times, of_batch, decoding.tokens)
        print_batch(rows, of_batch, compared, args)
        figures["batches"][rows] = {
            "pieces": of_batch,
            "language_model_over_encoder_only": compared,
        }
        seconds.update({f"batch of {rows}, {k}": v for k, v in times.items()})
    print_reported(args.talker_counts)
    if args.json is not None:
        write_figures(args.json, vars(args), seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
