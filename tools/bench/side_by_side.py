"""Time things beside each other: alternately, in one process, after a warm-up.

What else the machine does then falls on all of them alike, so ratios can be trusted
where times can't.
"""

import json
import platform
import statistics
import time
from datetime import date
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

import torch


def time_side_by_side(
    candidates: Mapping[str, Callable[[], Any]], repeats: int = 15, warm_up: int = 2
) -> Dict[str, Dict[str, float]]:
    """Return median and quartiles in seconds of each candidate.

    Args:
        candidates: Name to what shall be timed.
        repeats: Timed calls of each.
        warm_up: Calls of each before them.
    """
    seconds: Dict[str, list] = {name: [] for name in candidates}
    for turn in range(warm_up + repeats):
        for name, call in candidates.items():
            begin = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - begin)
    measured = {}
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        measured[name] = dict(median=median, quartile_1=low, quartile_3=high)
    return measured


def report(
    title: str,
    measured: Mapping[str, Mapping[str, float]],
    baseline: str,
    output: Optional[Path] = None,
) -> Dict[str, Any]:
    """Print times and ratios to `baseline`; write them as JSON to `output` if named."""
    print(title)
    ratios = {}
    for name, times in measured.items():
        ratios[name] = measured[baseline]["median"] / times["median"]
        print(
            f"  {name}: {times['median'] * 1e3:.2f} ms (quartiles "
            f"{times['quartile_1'] * 1e3:.2f} to {times['quartile_3'] * 1e3:.2f}), "
            f"{ratios[name]:.2f} times as fast as {baseline}"
        )
    result = dict(
        title=title,
        date=date.today().isoformat(),
        machine=platform.processor() or platform.machine(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        seconds=measured,
        times_as_fast=ratios,
    )
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result
