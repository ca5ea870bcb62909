"""Time from start to answer of a fresh process, compared with Python and torch alone.

Each command runs in its own processes, one after another, in a rotating order: `import
espnet_mtasr`, `espnet-mtasr --help`, bad arguments, and the first text that
`espnet-mtasr transcribe` writes; and for comparison `python -c pass` and importing
torch. The first round, which is left out, unpacks the model and brings files into
memory. Processor time (user and system, all threads) depends less on other load of the
machine than seconds do.

Example:
    OMP_NUM_THREADS=2 python -m tools.bench.startup --rounds 7 --json startup.json
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Dict, List, NamedTuple, Optional, Sequence

from espnet_mtasr.errors import run_command_line
from tools.bench import side_by_side as bench

SAMPLE = bench.ROOT / "egs2" / "mini_librimix" / "samples" / "two_talkers_1_clean.flac"
MAIN = ("-m", "espnet_mtasr.bin.main")
PYTHON, TORCH = "python -c pass", "import torch"


class Command(NamedTuple):
    """What a fresh process runs.

    Attributes:
        words: Python's arguments.
        code: Expected exit code.
        goal: Seconds until the answer; None: only for comparison.
    """

    words: Sequence[str]
    code: int = 0
    goal: Optional[float] = None


class Start(NamedTuple):
    """Times and output of one process.

    Attributes:
        answer: Seconds until its first line, or until its end if it writes none.
        cpu: Seconds of processor time.
        text: What it wrote to standard output.
    """

    answer: float
    cpu: float
    text: bytes


def commands(model: str, recording: str) -> Dict[str, Command]:
    """Return the commands to measure, by name."""
    transcribe = (*MAIN, "transcribe", "--device", "cpu", "--model", model)
    return {
        PYTHON: Command(("-c", "pass")),
        TORCH: Command(("-c", "import torch")),
        "import espnet_mtasr": Command(("-c", "import espnet_mtasr"), goal=0.5),
        "espnet-mtasr --help": Command((*MAIN, "--help"), goal=1.0),
        "bad arguments": Command(
            (*transcribe, "--batch_seconds", "0", recording), code=2, goal=0.5
        ),
        "no such model": Command(
            (*transcribe[:-1], "no-such-model.zip", recording), code=2, goal=0.5
        ),
        "first text": Command((*transcribe, recording), goal=6.0),
    }


OPTIONS = bench.Options(
    __doc__,
    model=("mini", "of the first text"),
    recording=SAMPLE,
    commands=(list(commands("", "")), f"these, {PYTHON} and {TORCH}", commands("", "")),
    rounds=7,
)


def start(command: Command) -> Start:
    """Run a fresh process to its end.

    Raises:
        RuntimeError: it exits with an unexpected code.
    """
    # A pipe's buffer is small: a process would stop if nobody read its output.
    with tempfile.TemporaryFile() as errors:
        begin = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *command.words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process:
            first = process.stdout.readline()
            answer = time.perf_counter() - begin
            rest = process.stdout.read()
            # Not process.wait, to get the processor time of just this child.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        problem = errors.read().decode(errors="replace")
    if process.returncode != command.code:
        raise RuntimeError(
            f"{' '.join(command.words)}: ended with code {process.returncode}, not "
            f"{command.code}: {problem[-500:]}"
        )
    return Start(answer, usage.ru_utime + usage.ru_stime, first + rest)


def count_modules(command: Command) -> int:
    """Return how many modules a process imports, including Python's own."""
    words = [sys.executable, "-X", "importtime", *command.words]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True)
    lines = done.stderr.splitlines()
    # The first line is a heading.
    return sum(line.startswith(b"import time:") for line in lines) - 1


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Run the commands and compare their times."""
    known = commands(args.model, str(args.recording)).items()
    chosen = (PYTHON, TORCH, *args.commands)
    measured = {name: command for name, command in known if name in chosen}
    starts: Dict[str, List[Start]] = {name: [] for name in measured}
    runs = {
        name: lambda own=starts[name], command=command: own.append(start(command))
        for name, command in measured.items()
    }
    # Of the whole process, which may continue after its answer.
    seconds = bench.measure(runs, args.rounds)
    kept = results.seconds
    for name, found in starts.items():
        if len({s.text for s in found}) != 1:
            raise RuntimeError(f"{name}: two processes wrote different texts")
        kept[f"{name}, answer"] = [s.answer for s in found[1:]]
        kept[f"{name}, processor"] = [s.cpu for s in found[1:]]
        kept[f"{name}, process"] = seconds[name]
    for name, command in measured.items():
        answers = kept[f"{name}, answer"]
        results.figures[name] = figure = {
            "seconds": median(answers),
            "cpu_seconds": median(kept[f"{name}, processor"]),
            "modules": count_modules(command),
            "goal_seconds": command.goal,
            "times_as_long_as_python": bench.Ratio(answers, kept[f"{PYTHON}, answer"]),
            "times_as_long_as_torch": bench.Ratio(answers, kept[f"{TORCH}, answer"]),
        }
        print(describe(name, figure, answers))


def describe(name: str, figure: dict, answers: Sequence[float]) -> str:
    """Return a command's figures in one line."""
    said = [
        f"{name}: {figure['seconds']:.2f} s ({min(answers):.2f} to {max(answers):.2f})",
        f"processor {figure['cpu_seconds']:.2f} s, {figure['modules']} modules",
        f"{figure['times_as_long_as_python']} as long as {PYTHON}",
        f"{figure['times_as_long_as_torch']} as long as {TORCH}",
    ]
    goal = figure["goal_seconds"]
    if goal is not None:
        reached = "met" if max(answers) <= goal else "missed"
        said.append(f"goal {goal:g} s: {reached}")
    return ", ".join(said)


if __name__ == "__main__":
    run_command_line(main)
