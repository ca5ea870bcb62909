"""Common code of the benchmarks: options, rounds side by side, peak memory, JSON.

A round runs everything that is compared, in a rotating order, and a ratio compares the
times of one round. Other load on the machine then slows all of them equally, so ratios
can be trusted when times can't.
"""

import argparse
import ctypes
import functools
import json
import multiprocessing
import platform
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from espnet_mtasr.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SAMPLING_RATE = 16000
DEVICES = ("cpu", "cuda")
DTYPES = ("float32", "bfloat16")
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
# Linux: resets the peak to the current usage.
RESET_PEAK = "5"
GIB = 2.0**30
Seconds = Dict[str, List[float]]
Runs = Dict[str, Callable[..., Any]]


class Option(NamedTuple):
    """An option of a benchmark.

    Attributes:
        default: If it is a list, the option takes several values.
        help: Its description.
        choices: All values, if they are few.
        on_gpu: Default with `--device cuda`, if different.
    """

    default: Any
    help: str = ""
    choices: Any = None
    on_gpu: Any = None


DEVICE = Option("cpu", choices=DEVICES)
DTYPE = Option("float32", choices=DTYPES)
SCRATCH = Option(Path(tempfile.gettempdir()), "for scratch files")


class Options(argparse.ArgumentParser):
    """Options of a benchmark, including `--json`; bad ones are a `UserError`.

    Numbers must be above 0, or may be 0 if that is the default. Files and the GPU must
    exist.

    Args:
        doc: Docstring of the benchmark. Its first line is the description.
        options: By name, each as `Option`, as a tuple of its first attributes, or just
            as its default.
    """

    def __init__(self, doc: str, **options: Any):
        super().__init__(description=doc.splitlines()[0])
        self.defaults: Dict[str, Option] = {}
        self.add_argument("--json", type=Path, help="file to write the figures to")
        for name, option in options.items():
            if not isinstance(option, Option):
                option = Option(*option if isinstance(option, tuple) else (option,))
            self.defaults[name] = option
            several = isinstance(option.default, list)
            gpu = "" if option.on_gpu is None else f", on a GPU {option.on_gpu}"
            self.add_argument(
                f"--{name}",
                type=type(option.default[0] if several else option.default),
                nargs="+" if several else None,
                choices=option.choices,
                help=f"{option.help} [{option.default}{gpu}]".strip(),
            )

    def parse_args(self, args=None, namespace=None) -> argparse.Namespace:
        """Read the command line, fill in the defaults, and check.

        Raises:
            UserError: a number, a file or the device can't be used.
        """
        found = super().parse_args(args, namespace)
        on_gpu = getattr(found, "device", None) == "cuda"
        for name, option in self.defaults.items():
            if getattr(found, name) is None:
                gpu = on_gpu and option.on_gpu is not None
                setattr(found, name, option.on_gpu if gpu else option.default)
        for action in self._actions:
            value = getattr(found, action.dest, None)
            zero = action.dest in self.defaults and not self.defaults[action.dest][0]
            for each in value if isinstance(value, list) else [value]:
                _check(action, each, zero)
        if on_gpu:
            check_gpu()
        return found

    def benchmark(self, compare: Callable) -> Callable:
        """Turn `compare(args, results)` into `main(cmd)`: options first, JSON last."""

        @functools.wraps(compare)
        def main(cmd=None) -> None:
            args = self.parse_args(cmd)
            results = Results(args)
            compare(args, results)
            results.write()

        return main


def _check(action: argparse.Action, value: Any, zero: bool) -> None:
    given = f"{action.option_strings[0]} {value}"
    if isinstance(value, Path) and action.dest != "json" and not value.exists():
        raise UserError(f"{given}: no such file; give another one")
    if isinstance(value, (int, float)) and not (value > 0 or zero and value == 0):
        least = "0 or more" if zero else "more than 0"
        raise UserError(f"{given}: give {least}")


def check_same_texts(name: str, found: Sequence, other: str, wanted: Sequence) -> None:
    """Raise `UserError` unless the found texts are those of `other`."""
    different = sum(a != b for a, b in zip(found, wanted, strict=True))
    if different:
        raise UserError(
            f"{name}: {different} of {len(wanted)} mixtures have different texts than "
            f"{other}; the times of different results aren't compared"
        )


def check_same_output(what: str, found: Any, wanted: Any, tolerance: float) -> float:
    """Print and return the largest difference of outputs, in standard deviations.

    Args:
        what: The option or model of the outputs, for the message.
        found: Tensor.
        wanted: Tensor of the same shape; differences are relative to its values.
        tolerance: Outputs with larger differences aren't equal.

    Raises:
        UserError: they differ by more than the tolerance.
    """
    difference = float((found - wanted).abs().max() / wanted.std())
    print(f"largest difference {difference:.1e} of the outputs' standard deviation")
    if not difference < tolerance:
        raise UserError(
            f"{what}: the outputs differ by {difference:.1e}, more than "
            f"{tolerance:g}; see test/espnet_mtasr/asr/encoder"
        )
    return difference


def check_gpu() -> None:
    """Raise `UserError` if torch can't use a GPU."""
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            "--device cuda: torch finds no GPU; needed are an NVIDIA GPU, its driver "
            "and a build of torch with CUDA; use --device cpu without"
        )


def wait_for(device: str) -> None:
    """Wait until the device has finished all work."""
    import torch

    if device != "cpu":
        torch.cuda.synchronize(device)


def inference(run: Callable[[], Any], device: str) -> Callable[[], Any]:
    """Return `run` without gradients; it returns when the device is done."""
    import torch

    def call() -> Any:
        with torch.no_grad():
            result = run()
        wait_for(device)
        return result

    return call


def rotate(names: Sequence[str], rounds: int) -> Iterator[tuple]:
    """Yield the number of a round and what to run, in a rotating order.

    >>> list(rotate("ab", 2))
    [(0, 'a'), (0, 'b'), (1, 'b'), (1, 'a')]
    """
    for number in range(rounds):
        for place in range(len(names)):
            yield number, names[(number + place) % len(names)]


def measure(runs: Runs, rounds: int) -> Seconds:
    """Return the seconds of each run in each round.

    One extra round comes first to warm up, and is left out.
    """
    seconds: Seconds = {name: [] for name in runs}
    for number, name in rotate(list(runs), rounds + 1):
        start = time.perf_counter()
        runs[name]()
        if number > 0:
            seconds[name].append(time.perf_counter() - start)
    return seconds


def in_own_process(run: Callable, *args: Any) -> Any:
    """Return what `run(*args)` returns in a new process, or raise what it raises.

    Raises:
        MemoryError: the process was killed.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(run, *args).result()
        except BrokenProcessPool:
            raise MemoryError("killed: too little memory?") from None


class Ratio(Dict[str, float]):
    """Median, lowest and highest of the rounds' ratios, in a readable form.

    >>> Ratio([4, 4, 6], [2, 4, 2])
    {'median': 2.0, 'min': 1.0, 'max': 3.0}
    >>> print(Ratio([4, 4, 6], [2, 4, 2]))
    2.00 x (1.00 to 3.00)
    """

    def __init__(self, dividends: Sequence[float], divisors: Sequence[float]):
        each = [a / b for a, b in zip(dividends, divisors)]
        super().__init__(median=statistics.median(each), min=min(each), max=max(each))

    def __str__(self) -> str:
        return f"{self['median']:.2f} x ({self['min']:.2f} to {self['max']:.2f})"


@dataclass
class Results:
    """Options of a run, seconds of all rounds by name, and the figures from them."""

    args: argparse.Namespace
    seconds: Seconds = field(default_factory=dict)
    figures: Dict[str, Any] = field(default_factory=dict)

    def measure(self, runs: Runs, where: str = "") -> Seconds:
        """Call `measure` with `--rounds`; store times, with `where` before names."""
        times = measure(runs, self.args.rounds)
        self.seconds.update({where + name: each for name, each in times.items()})
        return times

    def write(self) -> None:
        """Write JSON to `--json`, if given, with date, machine and versions.

        The settings are the options. Paths are written as they are in any clone: below
        the repository, or just the name.
        """
        if self.args.json is None:
            return
        import torch

        from espnet_mtasr.files import write_whole

        settings = {**vars(self.args)}
        del settings["json"]
        settings.pop("folder", None)
        results = {
            "date": date.today().isoformat(),
            "machine": describe(settings.get("device", "cpu")),
            "versions": dict(python=platform.python_version(), torch=torch.__version__),
            "settings": {name: _portable(value) for name, value in settings.items()},
            "seconds": self.seconds,
            "figures": self.figures,
        }
        write_whole(self.args.json, json.dumps(results, indent=2) + "\n")


def _portable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_portable(v) for v in value]
    # An option that takes names too, as --model does, is a string.
    if isinstance(value, str) and Path(value).is_absolute():
        value = Path(value)
    if not isinstance(value, Path):
        return value
    path = value.resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def describe(device: str) -> str:
    """Return the name of the processor or the GPU."""
    import torch

    if device != "cpu":
        return torch.cuda.get_device_name(device)
    cpuinfo, name = Path("/proc/cpuinfo"), platform.processor() or platform.machine()
    for line in cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []:
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def reset_peak_memory(device: str) -> None:
    """Reset `peak_memory` on a GPU; a process's peak covers its whole life."""
    import torch

    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: str, reserved: bool = False) -> float:
    """Return the peak in GiB: of tensors on the GPU, or of the process so far.

    With `reserved`, memory that the GPU's allocator reserves also counts.
    """
    import torch

    if device != "cpu":
        cuda = torch.cuda
        most = cuda.max_memory_reserved if reserved else cuda.max_memory_allocated
        return most(device) / GIB
    # Not ru_maxrss, which begins with the peak of the process that started this one.
    return _status("VmHWM") / GIB


def measure_peak(run: Callable[[], Any], device: str) -> Optional[int]:
    """Run something; return its peak in bytes.

    On the CPU this is the process's resident memory, which is only known on Linux
    (elsewhere: None). Measure each thing in its own process, because freed memory may
    stay with the process. On a GPU it is what torch's allocator handed out.
    """
    import torch

    if device != "cpu":
        before = torch.cuda.memory_allocated(device)
        reset_peak_memory(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # Otherwise freed memory that `run` reuses wouldn't count. Only glibc can do this.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        run()
        return None
    before = _status("VmRSS")
    run()
    return max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    """Return an entry of /proc/self/status in bytes."""
    entries = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(entries[name].split()[0]) * 1024
