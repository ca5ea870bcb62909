"""Limits of the machine, and so the minimum time of a piece of work.

For a device and a floating-point type, it measures operations per second of a large
matrix product, bytes per second of a large copy, and seconds per step of an LSTM of the
separator's size (a step waits for the previous one, however fast the device is). Each
limit gives a floor for a piece of work. No implementation of the work can be faster
than the largest one. From anywhere, after `. ./path.sh` of a recipe:

    python -m tools.bench.floors --device cuda --dtypes float32 bfloat16 --json out.json

On a GPU, float32 means torch's default: convolutions and LSTMs may use TF32, which is
faster than the matrix product measured here.

torch.utils.flop_counter counts the operations (matrix products and convolutions,
including attention). For LSTMs there is a closed form, because the counter doesn't know
them. Bytes are the weights, once per pass. Activations could stay in a cache, so they
are left out.
"""

import argparse
import functools
from typing import Any, Callable, Dict, NamedTuple, Tuple
from unittest import mock

from espnet_mtasr.errors import run_command_line
from tools.bench import side_by_side as bench

MIB = 2**20
COLUMNS = 4096
FRAMES = 500
# Width of the input, units and layers of the separator's LSTM, by default.
LSTM_SIZE = (1024, 896, 2)
MATRIX_SIZE = bench.Option(2048, "rows and columns of the matrices", on_gpu=8192)
COPY_MEGABYTES = bench.Option(1024, "MiB; must be larger than the caches", on_gpu=4096)
OPTIONS = bench.Options(
    __doc__,
    device=bench.DEVICE,
    dtypes=bench.Option(["float32"], choices=bench.DTYPES),
    matrix_size=MATRIX_SIZE,
    copy_megabytes=COPY_MEGABYTES,
    rounds=10,
)


class Work(NamedTuple):
    """A piece of work.

    Attributes:
        operations: Floating-point operations; a multiplication and an addition are two.
        bytes: Bytes that must be read from memory or written at least once.
        lstm_steps: Frames x layers, one after the other.
    """

    operations: float = 0.0
    bytes: float = 0.0
    lstm_steps: float = 0.0

    def plus(self, other: "Work") -> "Work":
        """Return the work of both, one after the other."""
        return Work(*(a + b for a, b in zip(self, other)))

    def of_batch(self, rows: int) -> "Work":
        """Return the work of `rows` at once; weights are read and steps made once."""
        return self._replace(operations=rows * self.operations)


class Limits(NamedTuple):
    """Limits of a device for one floating-point type.

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
            f"{self.seconds_per_lstm_step * 1e6:,.1f} us per LSTM step"
        )


def floors_of(work: Work, limits: Limits) -> Dict[str, float]:
    """Return the minimum seconds of a piece of work, by limit.

    >>> floors_of(Work(2e9, 3e6, 500), Limits(1e9, 1e6, 0.004))
    {'operations': 2.0, 'bytes': 3.0, 'lstm_steps': 2.0}
    """
    return {
        "operations": work.operations / limits.operations_per_second,
        "bytes": work.bytes / limits.bytes_per_second,
        "lstm_steps": work.lstm_steps * limits.seconds_per_lstm_step,
    }


def count_work(run: Callable[[], Any], *modules: Any) -> Work:
    """Run something once and count its work.

    Args:
        run: Forward pass of any implementation. Compiled parts run uncompiled here, and
            attention as matrix products, so that the counter sees them.
        modules: Modules whose weights it reads.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    lstms = Work()

    def forward(lstm: torch.nn.LSTM, xs: torch.Tensor, *state: Any):
        nonlocal lstms
        assert lstm.batch_first
        rows, frames, _ = xs.shape
        matrices = [p for name, p in lstm.named_parameters() if "weight" in name]
        operations = 2.0 * rows * frames * sum(m.numel() for m in matrices)
        # The two directions of a bidirectional LSTM count as running at once.
        steps = frames * lstm.num_layers
        lstms = lstms.plus(Work(operations=operations, lstm_steps=steps))
        width = lstm.hidden_size * (2 if lstm.bidirectional else 1)
        return xs.new_zeros(*xs.shape[:-1], width), None

    counter = FlopCounterMode(display=False)
    with (
        torch.no_grad(),
        mock.patch.object(torch.nn.LSTM, "forward", forward),
        torch.compiler.set_stance("force_eager"),
        sdpa_kernel(SDPBackend.MATH),
        counter,
    ):
        run()
    return lstms.plus(Work(counter.get_total_flops(), weight_bytes(*modules)))


def weight_bytes(*modules: Any) -> float:
    """Return the bytes of the modules' parameters, each once."""
    parameters = {id(p): p for module in modules for p in module.parameters()}
    return float(sum(p.numel() * p.element_size() for p in parameters.values()))


def lstm_size_of(module: Any) -> Tuple[int, int, int]:
    """Return input, units and layers of the first `torch.nn.LSTM` in a module."""
    import torch

    for lstm in module.modules():
        if isinstance(lstm, torch.nn.LSTM):
            return lstm.input_size, lstm.hidden_size, lstm.num_layers
    return LSTM_SIZE


def measure_limits(
    device: str,
    dtype: str,
    matrix_size: int,
    copy_megabytes: int,
    lstm_size: Tuple[int, int, int] = LSTM_SIZE,
    rounds: int = 10,
) -> Tuple[Limits, bench.Seconds]:
    """Return the limits, from the fastest rounds, and all measurements.

    The matrices have `matrix_size` rows and columns. The LSTM has the sizes input,
    units and layers. Some extra rounds warm up.
    """
    import torch

    options: Dict[str, Any] = dict(device=device, dtype=getattr(torch, dtype))
    torch.manual_seed(0)
    left, right, product = torch.randn(3, matrix_size, matrix_size, **options)
    itemsize = product.element_size()
    rows = max(1, copy_megabytes * MIB // itemsize // COLUMNS)
    source = torch.randn(COLUMNS, **options).repeat(rows, 1)
    target = torch.empty_like(source)
    vector = torch.randn(COLUMNS, **options)
    lstm = torch.nn.LSTM(*lstm_size, batch_first=True).to(**options)
    frames = torch.randn(1, FRAMES, lstm_size[0], **options)
    calls = {
        "matrix product": functools.partial(torch.mm, left, right, out=product),
        "copy": functools.partial(target.copy_, source),
        "matrix-vector product": functools.partial(torch.mv, source, vector),
        "LSTM": functools.partial(lstm, frames),
    }
    runs = {name: bench.inference(call, device) for name, call in calls.items()}
    if device != "cpu":
        bench.measure(runs, 3)  # clocks rise under load
    seconds = bench.measure(runs, rounds)
    best = {name: min(times) for name, times in seconds.items()}
    size = float(source.numel() * itemsize)
    limits = Limits(
        operations_per_second=2.0 * matrix_size**3 / best["matrix product"],
        bytes_per_second=max(
            2.0 * size / best["copy"], size / best["matrix-vector product"]
        ),
        seconds_per_lstm_step=best["LSTM"] / (FRAMES * lstm_size[-1]),
    )
    return limits, seconds


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Measure the limits of each type."""
    print(bench.describe(args.device))
    for dtype in args.dtypes:
        limits, seconds = measure_limits(
            args.device,
            dtype,
            args.matrix_size,
            args.copy_megabytes,
            rounds=args.rounds,
        )
        print(f"{dtype}: {limits}")
        results.seconds.update({f"{dtype}, {k}": v for k, v in seconds.items()})
        results.figures[dtype] = limits._asdict()


if __name__ == "__main__":
    run_command_line(main)
