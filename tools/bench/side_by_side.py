"""Time things side by side in one run, compare them, keep the figures.

A round runs all of them, in an order that rotates; a ratio compares the times of one
round. What else the machine does for a while then slows all of them alike, so that
ratios can be trusted where times can't.
"""

import argparse
import json
import platform
import statistics
import time
from datetime import date
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence

from espnet_mtasr.errors import UserError
from tools.bench.devices import describe

Seconds = Dict[str, List[float]]
ROOT = Path(__file__).resolve().parents[2]


def check_positive(args: argparse.Namespace, *options: str) -> None:
    """Raise `UserError` for an option that is not above 0."""
    for option in options:
        if getattr(args, option) <= 0:
            raise UserError(f"--{option} {getattr(args, option)}: give more than 0")


def measure(runs: Mapping[str, Callable[[], Any]], rounds: int) -> Seconds:
    """Return the seconds of each run in each round.

    One more round comes first, to warm up, and is left out.
    """
    names = list(runs)
    seconds: Seconds = {name: [] for name in names}
    for number in range(rounds + 1):
        for place in range(len(names)):
            name = names[(number + place) % len(names)]
            start = time.perf_counter()
            runs[name]()
            if number > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(dividends: Sequence[float], divisors: Sequence[float]) -> Dict[str, float]:
    """Return median, lowest and highest of the rounds' ratios.

    >>> ratios([4, 4, 6], [2, 4, 2])
    {'median': 2.0, 'min': 1.0, 'max': 3.0}
    """
    each = [a / b for a, b in zip(dividends, divisors)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


def format_ratio(ratio: Mapping[str, float]) -> str:
    """Write what `ratios` returned.

    >>> format_ratio({'median': 2.0, 'min': 1.0, 'max': 3.0})
    '2.00 x (1.00 to 3.00)'
    """
    return f"{ratio['median']:.2f} x ({ratio['min']:.2f} to {ratio['max']:.2f})"


def write_figures(
    path: Path,
    settings: Mapping[str, Any],
    seconds: Seconds,
    figures: Mapping[str, Any],
) -> None:
    """Write a run's figures as JSON, with date, machine and versions.

    The setting `device`, if there is one, says which machine: `cpu` or `cuda`. Of paths
    is written what they are called in any clone: below the repository, or by name.
    """
    import torch

    from espnet_mtasr.files import write_whole

    results = {
        "date": date.today().isoformat(),
        "machine": describe(settings.get("device", "cpu")),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "settings": {
            name: _portable(value)
            for name, value in settings.items()
            if name not in ("json", "folder", "plot")
        },
        "seconds": seconds,
        "figures": figures,
    }
    write_whole(path, json.dumps(results, indent=2) + "\n")


def _portable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_portable(v) for v in value]
    if not isinstance(value, Path):
        return value
    path = value.resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
