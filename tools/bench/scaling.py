"""How the cost of decoding grows: seconds per second of audio, and peak memory.

It decodes mixtures of noise (trunk, talker-count head, branch, separator, CTC) for
growing lengths and batch sizes, and prints a table and where the cost stops being
linear. On the CPU each measurement has its own process, and its peak memory counts from
the loaded model on. From anywhere, after `. ./path.sh` of a recipe. The model is a
trained one, or a full-size one with random weights:

    python -m tools.bench.scaling --model mini --json out.json
    python -m tools.bench.scaling --device cuda --dtype bfloat16 --json out.json

Measurements with more audio than --max_audio_seconds are left out, and say why.
"""

import argparse
import functools
import statistics
from dataclasses import asdict
from typing import Any, Dict, List, Optional, Sequence

from espnet_mtasr.errors import run_command_line
from tools.bench import full_size_models as models
from tools.bench import side_by_side as bench
from tools.bench.training import FULL_SIZE_CONFIG

MEASURED, LEFT_OUT, NO_MEMORY = "measured", "left out", "out of memory"
# Excess over the lowest cost that still counts as linear.
TOLERANCE = 0.25
MIB = 2**20
OPTIONS = bench.Options(
    __doc__,
    config=(FULL_SIZE_CONFIG, "training configuration, phase 2, for random weights"),
    device=bench.DEVICE,
    dtype=bench.DTYPE,
    num_talkers=(2, "talker count, which selects the branch"),
    lengths=[2.0, 5.0, 10.0, 20.0, 40.0, 80.0],
    batch_sizes=[1, 4, 16],
    max_audio_seconds=bench.Option(80.0, "maximum audio in a batch", on_gpu=1280.0),
    rounds=bench.Option(2, on_gpu=10),
)
OPTIONS.add_argument("--model", help="a trained one instead: mini, .zip, folder, ...")

Cell = Dict[str, Any]


@models.quietly()
def load_decoder(args: argparse.Namespace) -> Any:
    """Return the model, ready to decode.

    Raises:
        UserError: there is no such model, or it doesn't know `--num_talkers`.
    """
    from espnet_mtasr.inference import Speech2Text
    from espnet_mtasr.model_zoo.model_files import fetch_model

    options = dict(device=args.device, dtype=args.dtype, num_talkers=args.num_talkers)
    if args.model is not None:
        return Speech2Text(**asdict(fetch_model(args.model)), **options)
    model, train_args = models.build_model(args, with_llm=False)
    return models.make_decoder(Speech2Text, model, train_args, **options)


@models.quietly()
def measure_cell(args: argparse.Namespace, cell: Cell, decoder: Any = None) -> Cell:
    """Decode a batch several times; add `times` in seconds and `peak_bytes`.

    The decoder is loaded if none is given.
    """
    import torch

    decoder = decoder or load_decoder(args)
    waves = models.noise(cell["batch"], cell["length"])
    decode = bench.inference(lambda: decoder(waves), args.device)
    try:
        peak = bench.measure_peak(decode, args.device)
        times = bench.measure({"decode": decode}, args.rounds)["decode"]
    except (MemoryError, RuntimeError) as e:
        kinds = (MemoryError, torch.cuda.OutOfMemoryError)
        # On the CPU, torch raises a plain RuntimeError.
        if not isinstance(e, kinds) and "allocate memory" not in str(e):
            raise
        torch.cuda.empty_cache()
        return {**cell, "status": NO_MEMORY}
    return {
        **cell,
        "status": MEASURED,
        "times": times,
        "seconds_per_second": statistics.median(times) / audio_of(cell),
        "peak_bytes": peak,
    }


def audio_of(cell: Cell) -> float:
    """Return the seconds of audio in a cell's batch."""
    return cell["batch"] * cell["length"]


def why_left_out(cell: Cell, most: float) -> Optional[str]:
    """Return why a cell isn't measured; None: it is.

    >>> why_left_out({"batch": 4, "length": 40.0}, 80.0)
    '160 s of audio, over the limit of 80 s'
    """
    if audio_of(cell) <= most:
        return None
    return f"{audio_of(cell):g} s of audio, over the limit of {most:g} s"


def measure_apart(args: argparse.Namespace, cell: Cell) -> Cell:
    """Measure in a new process; one that is killed had too little memory."""
    try:
        return bench.in_own_process(measure_cell, args, cell)
    except MemoryError:
        return {**cell, "status": NO_MEMORY}


def stops_being_linear(
    lengths: Sequence[float], costs: Sequence[float], tolerance: float
) -> Optional[float]:
    """Return the first length whose cost per second isn't within tolerance.

    It is compared with the lowest cost. Shorter lengths than that of the lowest cost
    are ignored: their excess is the fixed cost of a batch.

    >>> stops_being_linear([2, 5, 10, 20], [3.0, 1.0, 1.2, 1.3], 0.25)
    20
    """
    least = min(range(len(costs)), key=lambda k: costs[k])
    for length, cost in zip(lengths[least:], costs[least:]):
        if cost > (1.0 + tolerance) * costs[least]:
            return length
    return None


def describe_growth(cells: List[Cell]) -> Dict[int, Dict[str, Any]]:
    """Return, by batch size, where time and memory stop being linear.

    None: nowhere up to `longest`, the longest measured length.
    """
    growth: Dict[int, Dict[str, Any]] = {}
    for batch in dict.fromkeys(cell["batch"] for cell in cells):
        row = [c for c in cells if c["batch"] == batch and c["status"] == MEASURED]
        if not row:
            continue
        lengths = [cell["length"] for cell in row]
        costs = {"time": [cell["seconds_per_second"] for cell in row]}
        if None not in [cell["peak_bytes"] for cell in row]:
            costs["memory"] = [cell["peak_bytes"] / cell["length"] for cell in row]
        growth[batch] = {"longest": lengths[-1]}
        for what, each in costs.items():
            stop = stops_being_linear(lengths, each, TOLERANCE)
            growth[batch][what] = stop
            where = f"linear up to {lengths[-1]:g} s, the longest measured"
            if stop is not None:
                where = f"stops being linear at {stop:g} s"
            print(f"batch of {batch}: {what} {where} (within {TOLERANCE:.0%})")
    return growth


def print_cell(cell: Cell) -> None:
    """Print a row of the table."""
    begin = f"{cell['batch']:5}{cell['length']:10g}"
    if cell["status"] == LEFT_OUT:
        print(f"{begin}   {LEFT_OUT}: {cell['why']}", flush=True)
        return
    if cell["status"] == NO_MEMORY:
        print(f"{begin}   {NO_MEMORY}", flush=True)
        return
    low, high = (t / audio_of(cell) for t in (min(cell["times"]), max(cell["times"])))
    spread = f"({low:.5f} to {high:.5f})"
    peak = "-" if cell["peak_bytes"] is None else f"{cell['peak_bytes'] / MIB:,.0f}"
    print(
        f"{begin}{cell['seconds_per_second']:12.5f} {spread:>22}{peak:>12}", flush=True
    )


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Measure all batches, and find where the cost stops being linear."""
    measured_by = measure_apart
    if args.device != "cpu":
        measured_by = functools.partial(measure_cell, decoder=load_decoder(args))
    name = args.model or args.config.stem
    machine = bench.describe(args.device)
    print(f"{name}, {args.num_talkers} talkers, {args.dtype}, {machine}")
    print("batch  length s     s per s           (min to max)    peak MiB", flush=True)
    cells = []
    for batch in sorted(set(args.batch_sizes)):
        for length in sorted(set(args.lengths)):
            cell = {"batch": batch, "length": length}
            why = why_left_out(cell, args.max_audio_seconds)
            if why is None:
                cell = measured_by(args, cell)
            else:
                cell.update(status=LEFT_OUT, why=why)
            print_cell(cell)
            cells.append(cell)
    growth = describe_growth(cells)
    results.seconds = {
        f"batch of {c['batch']}, {c['length']:g} s": c.pop("times")
        for c in cells
        if c["status"] == MEASURED
    }
    results.figures = {"cells": cells, "stops": growth}


if __name__ == "__main__":
    run_command_line(main)
