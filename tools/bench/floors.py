"""What the machine can do at best, and so the least time that a piece of work takes.

Measured for a device and a floating-point type: operations per second of a large matrix
product, bytes per second of a large copy, and seconds per step of an LSTM of the
separator's size (a step waits for the one before it, however fast the device). A piece
of work, given as `Work`, has a floor for each; the largest is what no implementation of
this work can undercut. From anywhere, after `. ./path.sh` of a recipe:

    python -m tools.bench.floors --device cuda --dtypes float32 bfloat16 --json out.json

On a GPU, float32 is what torch makes of it by default: convolutions and LSTMs may use
TF32, whose rate is above that of the matrix product measured here.
"""

import argparse
import functools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, NamedTuple, Tuple

from espnet_mtasr.errors import run_command_line
from tools.bench.devices import DEVICES, DTYPES, check_device, describe, wait_for
from tools.bench.side_by_side import Seconds, check_positive, measure, write_figures

MIB = 2**20


class Work(NamedTuple):
    """A piece of work.

    Attributes:
        operations: Floating-point operations; a multiplication and an addition are two.
        bytes: Those that must be read from memory, or written, at least once.
        lstm_steps: Frames x layers, one after the other.
    """

    operations: float = 0.0
    bytes: float = 0.0
    lstm_steps: float = 0.0

    def plus(self, other: "Work") -> "Work":
        """Both, one after the other."""
        return Work(*(a + b for a, b in zip(self, other)))


@dataclass(frozen=True)
class Limits:
    """What a device does at best in one floating-point type.

    Attributes:
        operations_per_second: Of a large matrix product.
        bytes_per_second: Of a large copy (read and written) or of a large
            matrix-vector product (read), whichever is more.
        seconds_per_lstm_step: Of one frame in one layer, batch of 1.
    """

    operations_per_second: float
    bytes_per_second: float
    seconds_per_lstm_step: float

    def __str__(self) -> str:
        return (
            f"{self.operations_per_second / 1e9:,.0f} GFLOP/s, "
            f"{self.bytes_per_second / 1e9:,.1f} GB/s, "
            f"{self.seconds_per_lstm_step * 1e6:,.1f} us an LSTM step"
        )


@dataclass(frozen=True)
class Floors:
    """Least seconds of a piece of work, by each limit.

    >>> Floors(operations=0.2, bytes=0.1, lstm_steps=0.0).largest
    ('operations', 0.2)
    """

    operations: float
    bytes: float
    lstm_steps: float

    @property
    def largest(self) -> Tuple[str, float]:
        """Name and seconds of the one that bounds the work."""
        return max(asdict(self).items(), key=lambda item: item[1])


def floors_of(work: Work, limits: Limits) -> Floors:
    """Turn a piece of work into its floors.

    >>> floors_of(Work(2e9, 3e6, 500), Limits(1e9, 1e6, 0.004))
    Floors(operations=2.0, bytes=3.0, lstm_steps=2.0)
    """
    return Floors(
        operations=work.operations / limits.operations_per_second,
        bytes=work.bytes / limits.bytes_per_second,
        lstm_steps=work.lstm_steps * limits.seconds_per_lstm_step,
    )


class Sizes(NamedTuple):
    """What the limits are measured with.

    Attributes:
        matrix: Rows and columns of the matrices.
        copy_bytes: Of what is copied; more than the caches hold.
        frames: Of the LSTM's input.
        layers: Of the LSTM.
        input_size: Of the LSTM: WavLM-Large's width.
        hidden_size: Of the LSTM.
    """

    matrix: int
    copy_bytes: int
    frames: int = 500
    layers: int = 2
    input_size: int = 1024
    hidden_size: int = 896


CPU_SIZES = Sizes(matrix=2048, copy_bytes=1024 * MIB)
CUDA_SIZES = Sizes(matrix=8192, copy_bytes=4096 * MIB)
COLUMNS = 4096


def sizes_for(device: str) -> Sizes:
    """Large enough for the device, and done in seconds."""
    return CPU_SIZES if device == "cpu" else CUDA_SIZES


def with_lstm_of(sizes: Sizes, module: Any) -> Sizes:
    """The sizes, with those of the first `torch.nn.LSTM` in a module."""
    import torch

    for lstm in module.modules():
        if isinstance(lstm, torch.nn.LSTM):
            return sizes._replace(
                layers=lstm.num_layers,
                input_size=lstm.input_size,
                hidden_size=lstm.hidden_size,
            )
    return sizes


def measure_limits(
    device: str, dtype: str, sizes: Sizes, rounds: int = 10
) -> Tuple[Limits, Seconds]:
    """Return the limits, of the fastest rounds, and all that was measured.

    Args:
        device: `cpu`, `cuda`.
        dtype: Name of a floating-point type.
        sizes: What to measure with.
        rounds: Besides those that warm up.
    """
    import torch

    options: Dict[str, Any] = dict(device=device, dtype=getattr(torch, dtype))
    torch.manual_seed(0)
    left, right, product = torch.randn(3, sizes.matrix, sizes.matrix, **options)
    itemsize = product.element_size()
    rows = max(1, sizes.copy_bytes // itemsize // COLUMNS)
    source = torch.randn(COLUMNS, **options).repeat(rows, 1)
    target = torch.empty_like(source)
    vector = torch.randn(COLUMNS, **options)
    lstm = torch.nn.LSTM(
        sizes.input_size, sizes.hidden_size, sizes.layers, batch_first=True
    ).to(**options)
    frames = torch.randn(1, sizes.frames, sizes.input_size, **options)

    @torch.no_grad()
    def finished(call, *arguments) -> None:
        call(*arguments)
        wait_for(device)

    runs = {
        "matrix product": lambda: finished(
            functools.partial(torch.mm, left, right, out=product)
        ),
        "copy": lambda: finished(target.copy_, source),
        "matrix-vector product": lambda: finished(torch.mv, source, vector),
        "LSTM": lambda: finished(lstm, frames),
    }
    if device != "cpu":
        measure(runs, 3)  # clocks rise under load
    seconds = measure(runs, rounds)
    best = {name: min(times) for name, times in seconds.items()}
    size = float(source.numel() * itemsize)
    limits = Limits(
        operations_per_second=2.0 * sizes.matrix**3 / best["matrix product"],
        bytes_per_second=max(
            2.0 * size / best["copy"], size / best["matrix-vector product"]
        ),
        seconds_per_lstm_step=best["LSTM"] / (sizes.frames * sizes.layers),
    )
    return limits, seconds


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=DTYPES)
    parser.add_argument("--matrix_size", type=int, help="rows and columns")
    parser.add_argument("--copy_megabytes", type=int, help="MiB; more than caches hold")
    parser.add_argument("--frames", type=int, default=CPU_SIZES.frames)
    parser.add_argument("--num_layers", type=int, default=CPU_SIZES.layers)
    parser.add_argument("--width", type=int, default=CPU_SIZES.input_size)
    parser.add_argument("--hidden_size", type=int, default=CPU_SIZES.hidden_size)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path, help="gets the figures")
    return parser


def sizes_of(args: argparse.Namespace) -> Sizes:
    """The sizes that the options ask for.

    Raises:
        UserError: one is not above 0.
    """
    usual = sizes_for(args.device)
    if args.matrix_size is None:
        args.matrix_size = usual.matrix
    if args.copy_megabytes is None:
        args.copy_megabytes = usual.copy_bytes // MIB
    check_positive(args, "matrix_size", "copy_megabytes", "frames", "num_layers")
    check_positive(args, "width", "hidden_size", "rounds")
    return Sizes(
        matrix=args.matrix_size,
        copy_bytes=args.copy_megabytes * MIB,
        frames=args.frames,
        layers=args.num_layers,
        input_size=args.width,
        hidden_size=args.hidden_size,
    )


def main(cmd=None) -> None:
    """Measure and print."""
    args = get_parser().parse_args(cmd)
    sizes = sizes_of(args)
    check_device(args.device)
    seconds: Seconds = {}
    figures: Dict[str, Any] = {}
    print(describe(args.device))
    for dtype in args.dtypes:
        limits, measured = measure_limits(args.device, dtype, sizes, args.rounds)
        print(f"{dtype}: {limits}")
        seconds.update({f"{dtype}, {name}": t for name, t in measured.items()})
        figures[dtype] = asdict(limits)
    if args.json is not None:
        write_figures(args.json, vars(args), seconds, figures)


if __name__ == "__main__":
    run_command_line(main)
