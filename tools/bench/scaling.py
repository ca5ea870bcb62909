"""How the cost of decoding grows: seconds per second of audio, and peak memory.

Encoder-only decoding (trunk, talker-count head, branch, separator, CTC) of mixtures of
noise, for longer and longer ones and larger and larger batches: a table, a plot, and
where it stops being linear. On the CPU each measurement has a process of its own, whose
peak memory is counted from the loaded model on. From anywhere, after `. ./path.sh` of a
recipe; the model is a trained one, or one of full size with random weights:

    python -m tools.bench.scaling --model mini --plot scaling.png --json out.json
    python -m tools.bench.scaling --device cuda --dtype bfloat16 --plot scaling.png

Measurements with more audio than --max_audio_seconds are left out, and listed as such.
"""

import argparse
import multiprocessing
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench.devices import DEVICES, DTYPES, check_device, describe, wait_for
from tools.bench.full_size_models import (
    CONFIG,
    build_model,
    make_decoder,
    noise,
    quietly,
)
from tools.bench.memory import measure_peak
from tools.bench.side_by_side import check_positive, measure, write_figures
from tools.bench.training import check_file

MEASURED, LEFT_OUT, NO_MEMORY = "measured", "left out", "out of memory"
MAX_AUDIO_SECONDS = {"cpu": 80.0, "cuda": 1280.0}
ROUNDS = {"cpu": 2, "cuda": 10}
MIB = 2**20

Cell = Dict[str, Any]


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", help="trained: mini, packed (.zip), folder, ...")
    which.add_argument(
        "--config",
        type=Path,
        default=CONFIG,
        help="training configuration, phase 2, for random weights",
    )
    add("--device", default="cpu", choices=DEVICES)
    add("--dtype", default="float32", choices=DTYPES)
    add("--num_talkers", type=int, default=2, help="whose branch decodes")
    add("--lengths", type=float, nargs="+", default=[2, 5, 10, 20, 40, 80])
    add("--batch_sizes", type=int, nargs="+", default=[1, 4, 16])
    add(
        "--max_audio_seconds",
        type=float,
        help="the most audio in a batch; default: 80, on a GPU 1280",
    )
    add("--tolerance", type=float, default=0.25, help="still called linear")
    add("--rounds", type=int, help="default: 2, on a GPU 10")
    add("--plot", type=Path, help="gets the plot (PNG)")
    add("--json", type=Path, help="gets the figures")
    return parser


def check_options(args: argparse.Namespace) -> None:
    """Fill in what depends on the device; raise `UserError` for what can't be."""
    if args.max_audio_seconds is None:
        args.max_audio_seconds = MAX_AUDIO_SECONDS[args.device]
    args.rounds = ROUNDS[args.device] if args.rounds is None else args.rounds
    check_positive(args, "rounds", "max_audio_seconds", "tolerance", "num_talkers")
    for option in ("lengths", "batch_sizes"):
        values = getattr(args, option)
        if min(values) <= 0:
            raise UserError(f"--{option} {min(values):g}: give more than 0")
        setattr(args, option, sorted(set(values)))
    if args.model is None:
        check_file("config", args.config)
    check_device(args.device)


@quietly()
def load_decoder(args: argparse.Namespace) -> Any:
    """The model, ready to decode.

    Raises:
        UserError: there is no such model, or it doesn't know `--num_talkers`.
    """
    from espnet_mtasr.inference import Speech2Text
    from espnet_mtasr.model_zoo.model_files import fetch_model

    options = dict(device=args.device, dtype=args.dtype, num_talkers=args.num_talkers)
    if args.model is not None:
        return Speech2Text(**asdict(fetch_model(args.model)), **options)
    model, train_args = build_model(
        args.config, args.device, args.dtype, with_llm=False
    )
    return make_decoder(Speech2Text, model, train_args, **options)


@quietly()
def measure_cell(decoder: Any, args: argparse.Namespace, cell: Cell) -> Cell:
    """Decode a batch some times; add `times` in seconds, and `peak_bytes`."""
    waves = noise(cell["batch"], cell["length"])

    def decode() -> None:
        decoder(waves)
        wait_for(args.device)

    try:
        _, peak = measure_peak(decode, args.device)
        times = measure({"decode": decode}, args.rounds)["decode"]
    except (MemoryError, RuntimeError) as e:
        if not _is_out_of_memory(e):
            raise
        _free_memory(args.device)
        return {**cell, "status": NO_MEMORY}
    per_second = statistics.median(times) / (cell["batch"] * cell["length"])
    return {
        **cell,
        "status": MEASURED,
        "times": times,
        "seconds_per_second": per_second,
        "peak_bytes": peak,
    }


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    kinds = (MemoryError, torch.cuda.OutOfMemoryError)
    # On the CPU torch raises a plain RuntimeError.
    return isinstance(error, kinds) or "allocate memory" in str(error)


def _free_memory(device: str) -> None:
    import torch

    if device != "cpu":
        torch.cuda.empty_cache()


def load_and_measure(args: argparse.Namespace, cell: Cell) -> Cell:
    """What a process of its own does."""
    return measure_cell(load_decoder(args), args, cell)


def measure_apart(args: argparse.Namespace, cell: Cell) -> Cell:
    """Measure in a new process; one that is killed had too little memory."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(load_and_measure, args, cell).result()
    except BrokenProcessPool:
        return {**cell, "status": NO_MEMORY}


def measurer(args: argparse.Namespace) -> Callable[[Cell], Cell]:
    """What measures one cell after the other on the device."""
    if args.device == "cpu":
        return lambda cell: measure_apart(args, cell)
    decoder = load_decoder(args)
    return lambda cell: measure_cell(decoder, args, cell)


def stops_being_linear(
    lengths: Sequence[float], costs: Sequence[float], tolerance: float
) -> Optional[float]:
    """First length whose cost per second is too far above the least.

    Shorter ones than that of the least cost are left aside: what they pay more is what
    a batch costs however short it is.

    Args:
        lengths: Ascending.
        costs: Per second of audio.
        tolerance: Share of the least cost.

    >>> stops_being_linear([2, 5, 10, 20], [3.0, 1.0, 1.2, 1.3], 0.25)
    20
    """
    least = min(range(len(costs)), key=lambda k: costs[k])
    for length, cost in zip(lengths[least:], costs[least:]):
        if cost > (1.0 + tolerance) * costs[least]:
            return length
    return None


def describe_growth(cells: List[Cell], tolerance: float) -> Dict[int, Dict[str, Any]]:
    """For each batch size, where time and memory per second of audio stop being even.

    None: nowhere up to `longest`, the longest that was measured.
    """
    growth = {}
    for batch in dict.fromkeys(cell["batch"] for cell in cells):
        row = [c for c in cells if c["batch"] == batch and c["status"] == MEASURED]
        if not row:
            continue
        lengths = [cell["length"] for cell in row]
        costs = [cell["seconds_per_second"] for cell in row]
        growth[batch] = {
            "longest": lengths[-1],
            "time": stops_being_linear(lengths, costs, tolerance),
        }
        if None not in [cell["peak_bytes"] for cell in row]:
            peaks = [cell["peak_bytes"] / cell["length"] for cell in row]
            growth[batch]["memory"] = stops_being_linear(lengths, peaks, tolerance)
    return growth


def print_growth(growth: Dict[int, Dict[str, Any]], tolerance: float) -> None:
    """Say where it stops being linear."""
    for batch, found in growth.items():
        for what in ("time", "memory"):
            if what not in found:
                continue
            where = f"linear up to {found['longest']:g} s, the longest measured"
            if found[what] is not None:
                where = f"stops being linear at {found[what]:g} s"
            print(f"batch of {batch}: {what} {where} (within {tolerance:.0%})")


def print_cell(cell: Cell) -> None:
    """Print a row of the table."""
    begin = f"{cell['batch']:5}{cell['length']:10g}"
    if cell["status"] != MEASURED:
        print(f"{begin}   {cell['status']}", flush=True)
        return
    audio = cell["batch"] * cell["length"]
    low, high = (t / audio for t in (min(cell["times"]), max(cell["times"])))
    spread = f"({low:.5f} to {high:.5f})"
    peak = "-" if cell["peak_bytes"] is None else f"{cell['peak_bytes'] / MIB:,.0f}"
    print(
        f"{begin}{cell['seconds_per_second']:12.5f} {spread:>22}{peak:>12}", flush=True
    )


def draw(path: Path, title: str, cells: List[Cell]) -> None:
    """Draw time and memory against length; what is missing is named below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    figure, (time, memory) = plt.subplots(1, 2, figsize=(11, 5))
    for batch in dict.fromkeys(cell["batch"] for cell in cells):
        row = [c for c in cells if c["batch"] == batch and c["status"] == MEASURED]
        lengths = [cell["length"] for cell in row]
        style = dict(marker="o", label=f"batch of {batch}")
        time.plot(lengths, [cell["seconds_per_second"] for cell in row], **style)
        peaks = [cell["peak_bytes"] for cell in row]
        if None not in peaks:
            memory.plot(lengths, [peak / MIB for peak in peaks], **style)
    for axes, name in (
        (time, "seconds per second of audio"),
        (memory, "peak memory beyond the model (MiB)"),
    ):
        axes.set(xscale="log", xlabel="length (s)", ylabel=name)
        axes.set_xticks(sorted({cell["length"] for cell in cells}))
        axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.grid(alpha=0.3)
        axes.legend()
    time.set_ylim(bottom=0)
    memory.set_yscale("log")
    figure.suptitle(title)
    missing = [
        f"{c['batch']} x {c['length']:g} s {c['status']}"
        for c in cells
        if c["status"] != MEASURED
    ]
    figure.text(0.5, 0.01, ", ".join(missing), ha="center", fontsize=7, wrap=True)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format="png", dpi=120)
    plt.close(figure)
    os.replace(part, path)


def main(cmd=None) -> None:
    """Measure, print and draw."""
    args = get_parser().parse_args(cmd)
    check_options(args)
    measured_by = measurer(args)
    name = args.model or args.config.stem
    title = f"{name}, {args.num_talkers} talkers, {args.dtype}"
    title = f"{title}, {describe(args.device)}"
    print(title)
    print(f"{'batch':>5}{'length s':>10}{'s per s':>12} {'(min to max)':>22}", end="")
    print(f"{'peak MiB':>12}", flush=True)
    cells = []
    for batch in args.batch_sizes:
        for length in args.lengths:
            cell = {"batch": batch, "length": length, "status": LEFT_OUT}
            if batch * length <= args.max_audio_seconds:
                cell = measured_by(cell)
            print_cell(cell)
            cells.append(cell)
    growth = describe_growth(cells, args.tolerance)
    print_growth(growth, args.tolerance)
    if args.plot is not None:
        draw(args.plot, title, cells)
    if args.json is not None:
        seconds = {
            f"batch of {c['batch']}, {c['length']:g} s": c.pop("times")
            for c in cells
            if c["status"] == MEASURED
        }
        figures = {"cells": cells, "stops": growth}
        write_figures(args.json, vars(args), seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
