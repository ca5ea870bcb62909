"""How long does a fresh process take until it answers, beside Python and torch alone?

Each command runs in processes of its own, one after the other and in rotating order:
`import espnet_mtasr`, `espnet-mtasr --help`, bad arguments, and the first text that
`espnet-mtasr transcribe` writes, beside `python -c pass` and one that imports torch.
The first round, which is left out, unpacks the model and brings files into memory.
Processor time (user and system, all threads) is less disturbed by what else the machine
does than the seconds are.

Example:
    OMP_NUM_THREADS=2 python -m tools.bench.startup --rounds 7 --json startup.json
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Dict, List, NamedTuple, Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench.side_by_side import (
    check_positive,
    format_ratio,
    measure,
    ratios,
    write_figures,
)

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "egs2" / "mini_librimix" / "samples" / "two_talkers_1_clean.flac"
MAIN = ("-m", "espnet_mtasr.bin.main")
PYTHON, TORCH = "python -c pass", "import torch"


class Command(NamedTuple):
    """What a fresh process runs.

    Attributes:
        words: Python's arguments.
        code: Exit code to expect.
        goal: Seconds until the answer; None: only for comparison.
    """

    words: Sequence[str]
    code: int = 0
    goal: Optional[float] = None


class Start(NamedTuple):
    """What one process took.

    Attributes:
        answer: Seconds until its first line, or its end if it writes none.
        cpu: Seconds of processor time.
        text: What it wrote to standard output.
    """

    answer: float
    cpu: float
    text: bytes


def commands(model: str, recording: str) -> Dict[str, Command]:
    """Return what is measured, by name."""
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


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--commands",
        nargs="+",
        help=f"these only, beside {PYTHON!r}; default: {', '.join(commands('', ''))}",
    )
    parser.add_argument("--model", default="mini", help="of the first text")
    parser.add_argument("--recording", type=Path, default=SAMPLE)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="gets the figures")
    return parser


def start(command: Command) -> Start:
    """Run a fresh process to its end.

    Raises:
        RuntimeError: it ends with another code than it should.
    """
    # What a pipe holds is little: a process that nobody reads would stop.
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
            # Not process.wait: the processor time of this child alone.
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
    """Return how many modules a process imports, Python's own ones included."""
    words = [sys.executable, "-X", "importtime", *command.words]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True)
    lines = done.stderr.splitlines()
    # The first line is a heading.
    return sum(line.startswith(b"import time:") for line in lines) - 1


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run, print and keep."""
    args = get_parser().parse_args(cmd)
    check_positive(args, "rounds")
    if not args.recording.is_file():
        raise UserError(f"--recording {args.recording}: no such file; name another")
    measured = commands(args.model, str(args.recording))
    for name in args.commands or ():
        if name not in measured:
            raise UserError(
                f"--commands {name!r}: choose from {', '.join(map(repr, measured))}"
            )
    if args.commands is not None:
        measured = {n: c for n, c in measured.items() if n in (PYTHON, *args.commands)}

    starts: Dict[str, List[Start]] = {name: [] for name in measured}

    def run(name: str) -> None:
        starts[name].append(start(measured[name]))

    # Of the whole process, which may go on after its answer.
    seconds = measure({name: lambda n=name: run(n) for name in measured}, args.rounds)
    answers, cpu = {}, {}
    for name, found in starts.items():
        if len({s.text for s in found}) != 1:
            raise RuntimeError(f"{name}: two processes wrote different texts")
        answers[name] = [s.answer for s in found[1:]]
        cpu[name] = [s.cpu for s in found[1:]]
    figures = {}
    for name, command in measured.items():
        figures[name] = figure = {
            "seconds": median(answers[name]),
            "cpu_seconds": median(cpu[name]),
            "modules": count_modules(command),
            "goal_seconds": command.goal,
            "times_as_long_as_python": ratios(answers[name], answers[PYTHON]),
        }
        if TORCH in measured:
            figure["times_as_long_as_torch"] = ratios(answers[name], answers[TORCH])
        print(describe(name, figure, answers[name]))
    if args.json is not None:
        kept = {"answer": answers, "processor": cpu, "process": seconds}
        flat = {f"{n}, {what}": t for what, s in kept.items() for n, t in s.items()}
        write_figures(args.json, vars(args), flat, figures)


def describe(name: str, figure: dict, answers: Sequence[float]) -> str:
    """Return one line of a command's figures."""
    goal = figure["goal_seconds"]
    if goal is None:
        reached = ""
    else:
        reached = f"; goal {goal:g} s: " + ("met" if max(answers) <= goal else "missed")
    torch = figure.get("times_as_long_as_torch")
    beside = "" if torch is None else f", {format_ratio(torch)} as long as {TORCH}"
    return (
        f"{name}: {figure['seconds']:.2f} s ({min(answers):.2f} to {max(answers):.2f}),"
        f" processor {figure['cpu_seconds']:.2f} s, {figure['modules']} modules, "
        f"{format_ratio(figure['times_as_long_as_python'])} as long as {PYTHON}"
        f"{beside}{reached}"
    )


if __name__ == "__main__":
    run_command_line(main)
