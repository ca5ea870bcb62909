"""Encoder-only decoding at full size compared with decoding by the language model.

The model of a phase-2 configuration (default: WavLM-Large and Llama-3.2-1B) with random
weights decodes mixtures of noise: with branch, separator and CTC, part by part and as a
whole, and with its language model, greedily, with a key-value cache, LoRA merged, and a
fixed number of tokens. It prints real-time factors, the ratio language model /
encoder-only, and each time as a multiple of the floor of its work (floors.py). From
anywhere, after `. ./path.sh` of a recipe:

    python -m tools.bench.decoding --device cuda --dtype bfloat16 --json out.json
    OMP_NUM_THREADS=2 python -m tools.bench.decoding --json out.json

Times include moving samples to the device and tokens back. Figures reported by Shi et
al., Interspeech 2026 (arXiv 2603.10587), are printed for comparison.
"""

import argparse
import statistics
from typing import Any, Dict

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench import floors
from tools.bench import full_size_models as models
from tools.bench import side_by_side as bench
from tools.bench.training import FULL_SIZE_CONFIG

# Real-time factors on one H100 at batch 1: encoder-only, LLaMA-1B decoder.
REPORTED = {2: (0.0043, 0.1150), 3: (0.0106, 0.0981)}
OPTIONS = bench.Options(
    __doc__,
    config=(FULL_SIZE_CONFIG, "training configuration, phase 2"),
    device=bench.DEVICE,
    dtype=bench.DTYPE,
    seconds=(10.0, "of a mixture"),
    talker_counts=[2, 3],
    batch_sizes=bench.Option([1], "the LLM only decodes at the first", on_gpu=[1, 32]),
    rounds=bench.Option(3, on_gpu=20),
    limit_size=floors.MATRIX_SIZE,
    limit_megabytes=floors.COPY_MEGABYTES,
)
OPTIONS.add_argument(
    "--llm_tokens",
    type=int,
    nargs="*",
    default=[45, 70],
    help="tokens from the language model for each of --talker_counts, end of sentence "
    "included; without numbers: no language model",
)


def check_options(args: argparse.Namespace) -> None:
    """Raise `UserError` for impossible numbers of tokens.

    The last token of each transcript is the end of sentence.
    """
    counts, tokens = args.talker_counts, args.llm_tokens
    if tokens and (len(tokens) != len(counts) or min(tokens) < 2):
        raise UserError(
            f"--llm_tokens {tokens}: give a number from 2 for each of --talker_counts "
            f"{counts}, or none"
        )


def summarize(
    pieces: Dict[str, models.Piece],
    seconds: bench.Seconds,
    audio_seconds: float,
    limits: floors.Limits,
) -> Dict[str, Dict[str, Any]]:
    """Return the figures of each piece; a batch has `audio_seconds`."""
    figures = {}
    for name, piece in pieces.items():
        least = floors.floors_of(piece.work, limits)
        bound = max(least, key=lambda limit: least[limit])
        median = statistics.median(seconds[name])
        figures[name] = {
            "seconds": bench.Ratio(seconds[name], [1.0] * len(seconds[name])),
            "rtf": median / audio_seconds,
            "work": piece.work._asdict(),
            "floors": least,
            "largest_floor": bound,
            "times_the_floor": median / least[bound],
        }
    return figures


def compare(
    seconds: bench.Seconds, figures: Dict[str, Dict[str, Any]], tokens: Dict[int, int]
) -> Dict[int, Dict[str, Any]]:
    """Return language model / encoder-only by talker count, and seconds per token."""
    compared = {}
    for count in tokens:
        llm, ours = models.by_llm(count), models.whole(count)
        if llm not in seconds:
            continue
        before = ("trunk", "talker-count head", f"branch, {count} talkers")
        encoder = sum(figures[name]["seconds"]["median"] for name in before)
        alone = figures[llm]["seconds"]["median"] - encoder
        compared[count] = {
            "times_as_long": bench.Ratio(seconds[llm], seconds[ours]),
            "seconds_per_token": alone / tokens[count],
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
        print_row(models.whole(count), figures[models.whole(count)])
        rest = figures[models.whole(count)]["seconds"]["median"]
        for name, part in models.parts_of(count).items():
            print_row(f"  {part}", figures[name])
            rest -= figures[name]["seconds"]["median"]
        print(f"{'  rest':28}{1e3 * rest:11.3f}")
        if count in compared:
            print_row(models.by_llm(count), figures[models.by_llm(count)])
            token = compared[count]["seconds_per_token"]
            print(f"{'  a token':28}{1e3 * token:11.3f}")
            ratio = compared[count]["times_as_long"]
            print(f"{count} talkers, language model / encoder-only: {ratio}")


def print_row(name: str, figure: Dict[str, Any]) -> None:
    """Print the time of one piece."""
    median, low, high = (1e3 * figure["seconds"][k] for k in ("median", "min", "max"))
    spread = f"({low:.3f} to {high:.3f})"
    bound = figure["largest_floor"].replace("_", " ")
    print(
        f"{name:28}{median:11.3f} {spread:>24}{figure['rtf']:10.5f}   "
        f"{figure['times_the_floor']:.1f} x ({bound})"
    )


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Time all pieces, and compare them with their floors."""
    check_options(args)
    decoding = models.FullSizeDecoding(args)
    limits, limit_seconds = floors.measure_limits(
        args.device,
        args.dtype,
        args.limit_size,
        args.limit_megabytes,
        floors.lstm_size_of(decoding.model.separator),
    )
    print(f"{args.config.stem}, {args.dtype}, {bench.describe(args.device)}")
    print(f"limits: {limits}", flush=True)
    results.seconds = {f"limits, {k}": v for k, v in limit_seconds.items()}
    results.figures = {
        "limits": limits._asdict(),
        "reported": {"source": "arXiv 2603.10587, one H100, batch 1", "rtf": REPORTED},
        "batches": {},
    }
    for rows in args.batch_sizes:
        print(
            f"\nmixtures of {args.seconds:g} s, batch of {rows}, {args.rounds} rounds",
            flush=True,
        )
        pieces = decoding.pieces(rows)
        runs = {name: bench.inference(p.run, args.device) for name, p in pieces.items()}
        if args.device != "cpu":
            bench.measure(runs, 3)  # clocks rise under load
        times = results.measure(runs, f"batch of {rows}, ")
        of_batch = summarize(pieces, times, rows * args.seconds, limits)
        compared = compare(times, of_batch, decoding.tokens)
        print_batch(rows, of_batch, compared, args)
        results.figures["batches"][rows] = {
            "pieces": of_batch,
            "language_model_over_encoder_only": compared,
        }
    print("\nreported by Shi et al. (one H100, batch 1), not measured here:")
    for count in set(args.talker_counts) & set(REPORTED):
        ours, llm = REPORTED[count]
        print(
            f"{count} talkers: RTF {ours:.4f} encoder-only, {llm:.4f} by a LLaMA-1B "
            f"decoder, {llm / ours:.1f} x"
        )


if __name__ == "__main__":
    run_command_line(main)
