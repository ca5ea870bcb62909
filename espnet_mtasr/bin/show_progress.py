"""Follow a command's log files: a progress line with the time left, on a terminal only.

A training's warnings of silent streams are also printed without a terminal. mtasr.sh
starts it beside the jobs of its long stages. SIGTERM means that the command has
succeeded: the final line is drawn and stays. SIGUSR1 means that it has failed: the line
is erased. So do SIGHUP, SIGINT and the end of the process that started it. It looks for
log lines of espnet2/train/trainer.py, espnet2/tasks/abs_task.py and this package's
command lines. It only imports the standard library, so that it starts at once and costs
almost nothing.
"""

import argparse
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.progress import TerminalLine

# A batch of validation has no backward pass.
VALID_BATCH = 1 / 3

N_BATCH = re.compile(r"\[(train|valid)\] mini-batch sizes summary: N-batch=(\d+)")
CONFIG = re.compile(r"Saving the configuration in (.+)$")
EPOCH = re.compile(r"INFO: (\d+)/(\d+)epoch started")
BATCHES = re.compile(r"INFO: (\d+)epoch:train:\d+-(\d+)batch: ")
LOSS = re.compile(r"\bloss=([^,\s]+)")
WARNING = re.compile(r"WARNING: (stream \d+ of \d+ talkers writes nothing.*)$")
RESULTS = re.compile(r"INFO: (\d+)epoch results: ")


class LogFile:
    """A growing file. Lines of an earlier run are skipped."""

    def __init__(self, path: Union[str, Path]):
        self.path = Path(path)
        self.old = self._identity()
        self.inode, self.offset, self.rest = 0, 0, b""

    def _identity(self) -> Optional[Tuple[int, int, int]]:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def read(self) -> Tuple[bool, List[str]]:
        """Return whether the file was started again, and its new complete lines."""
        identity = self._identity()
        if identity is None or identity == self.old:
            return False, []
        self.old = None
        inode, _, size = identity
        anew = inode != self.inode or size < self.offset
        if anew:
            self.inode, self.offset, self.rest = inode, 0, b""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                new = stream.read()
        except OSError:
            return anew, []
        self.offset += len(new)
        *lines, self.rest = (self.rest + new).split(b"\n")
        return anew, [line.decode("utf-8", "replace") for line in lines]


class Pace:
    """Time left, by the mean pace since the first progress.

    The time before that, for instance to load a model, doesn't count.
    """

    def __init__(self):
        self.first: Optional[Tuple[float, float]] = None
        self.last = (0.0, 0.0)
        self.gap = 0.0

    def update(self, done: float, now: float) -> None:
        """Record that `done` units are finished at the time `now` (seconds)."""
        if self.first is None:
            self.first = self.last = (done, now)
        elif done > self.last[0]:
            self.gap = now - self.last[1]
            self.last = (done, now)

    def left(self, total: float, now: float) -> Optional[float]:
        """Seconds until `total` units are done; None before the pace is known.

        Between two updates it counts down, but not for longer than the last interval:
        work that hangs must not seem to finish.
        """
        if self.first is None:
            return None
        (begun, start), (done, at) = self.first, self.last
        if done <= begun or at <= start:
            return None
        left = (total - done) * (at - start) / (done - begun)
        return max(left - min(now - at, self.gap), 0.0)


class Training:
    """Progress of ESPnet's trainer: epochs and their batches."""

    def __init__(self, log: Union[str, Path]):
        self.log = LogFile(log)
        self._reset()

    def _reset(self) -> None:
        self.pace = Pace()
        self.batches = {"train": 0, "valid": 0}
        self.config: Optional[Path] = None
        self.epoch = self.max_epoch = 0
        self.done = 0.0
        self.loss = ""
        self.warnings: List[str] = []

    def poll(self, now: float) -> None:
        """Read what is new; `now` in seconds, from any start."""
        anew, lines = self.log.read()
        if anew:
            self._reset()
        for line in lines:
            self._read_line(line, now)

    def _read_line(self, line: str, now: float) -> None:
        if found := BATCHES.search(line):
            self._set_done(int(found[1]), int(found[2]), now)
            if loss := LOSS.search(line):
                self.loss = loss[1]
        elif found := EPOCH.search(line):
            self.epoch, self.max_epoch = int(found[1]), int(found[2])
            self._read_config()
            self._set_done(self.epoch, 0, now)
        elif found := RESULTS.search(line):
            self._set_done(int(found[1]) + 1, 0, now)
        elif found := N_BATCH.search(line):
            self.batches[found[1]] = int(found[2])
        elif found := CONFIG.search(line):
            self.config = Path(found[1])
        elif found := WARNING.search(line):
            self.warnings.append(f"warning: {found[1]}")

    def _read_config(self) -> None:
        # An epoch need not be one pass over the data, and the log doesn't say it.
        try:
            text = self.config.read_text(encoding="utf-8") if self.config else ""
        except OSError:
            return
        if found := re.search(r"^num_iters_per_epoch: (\d+)$", text, re.MULTILINE):
            self.batches["train"] = int(found[1])

    def _set_done(self, epoch: int, batch: int, now: float) -> None:
        # More batches than announced: an iterator of unknown length.
        train = max(self.batches["train"], batch)
        whole = train + VALID_BATCH * self.batches["valid"]
        self.done = epoch - 1 + (batch / whole if self.batches["train"] else 0.0)
        self.pace.update(self.done, now)

    def state(self, now: float) -> Tuple[float, str, Optional[float]]:
        """Return the finished share, a detail, and the seconds left if known."""
        if self.max_epoch == 0:
            return 0.0, "starting", None
        detail = f"epoch {self.epoch}/{self.max_epoch}"
        if self.loss:
            detail += f", loss {self.loss}"
        share = min(self.done / self.max_epoch, 1.0)
        return share, detail, self.pace.left(self.max_epoch, now)

    def succeeded(self) -> Tuple[float, str]:
        """Share and detail after the end; a training may stop early."""
        if self.max_epoch == 0:
            return 1.0, "was finished before"
        return self.state(0.0)[:2]


class Count:
    """How many of `total` items the files of parallel jobs tell of.

    Args:
        total: Items of all files; None: the pattern has a second group.
        files: Logs or lists that the jobs write.
        pattern: A line where it is found stands for an item, or for as many as its
            group says. With two groups, the file has so far done the first's number of
            items, and will do the second's.
    """

    def __init__(
        self, total: Optional[int], files: Sequence[Union[str, Path]], pattern: str
    ):
        self.total = total or 0
        self.files = [LogFile(path) for path in files]
        self.totals = [0] * len(self.files)
        self.counts = [0] * len(self.files)
        self.pattern = re.compile(pattern)
        self.pace = Pace()

    def poll(self, now: float) -> None:
        """Read what is new; `now` in seconds, from any start."""
        for k, file in enumerate(self.files):
            anew, lines = file.read()
            if anew:
                self.counts[k] = self.totals[k] = 0
            for found in map(self.pattern.search, lines):
                if found and self.pattern.groups > 1:
                    self.counts[k], self.totals[k] = int(found[1]), int(found[2])
                    self.total = sum(self.totals)
                elif found:
                    self.counts[k] += int(found[1]) if self.pattern.groups else 1
        if sum(self.counts) > 0:
            self.pace.update(sum(self.counts), now)

    def state(self, now: float) -> Tuple[float, str, Optional[float]]:
        """Return the finished share, a detail, and the seconds left if known."""
        done = min(sum(self.counts), self.total)
        if done == 0:
            return 0.0, "starting", None
        return (
            done / self.total,
            f"{done}/{self.total}",
            self.pace.left(self.total, now),
        )

    def succeeded(self) -> Tuple[float, str]:
        """Share and detail after the end: all is done, whatever the logs have told."""
        return 1.0, f"{self.total}/{self.total}" if self.total else ""


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--label", default="Progress", help="First word of the line")
    modes = parser.add_subparsers(dest="mode", required=True)
    training = modes.add_parser("training", help="ESPnet's training")
    training.add_argument("log", help="Its log; need not exist yet")
    count = modes.add_parser("count", help="Jobs that say what they have finished")
    count.add_argument(
        "--total", type=int, help="Items of all jobs; not with two groups"
    )
    count.add_argument(
        "--pattern",
        default="",
        help="Regular expression: a line with it is an item, or as many as its group "
        "says (default: every line); two groups are the items done so far and all",
    )
    count.add_argument("files", nargs="+", help="Logs or lists; need not exist yet")
    return parser


def follow(source: Union[Training, Count], label: str) -> None:
    """Draw, and print warnings, until a signal comes or the parent goes."""
    line = TerminalLine()
    signals: List[int] = []
    told = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)
    for number in told:
        # nohup ignores a hang-up.
        if sys.stderr.isatty() or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: signals.append(number))
    parent = os.getppid()
    ticks = 0
    while not signals and os.getppid() == parent:
        if ticks % 10 == 0:
            now = time.monotonic()
            _poll(source, line, now)
            line.draw(label, *source.state(now))
        ticks += 1
        time.sleep(0.1)
    _poll(source, line, time.monotonic())
    if signals and signals[0] == signal.SIGTERM:
        line.finish(label, *source.succeeded())
    else:
        line.erase()


def _poll(source: Union[Training, Count], line: TerminalLine, now: float) -> None:
    """Read what is new, and print its warnings."""
    source.poll(now)
    if isinstance(source, Training) and source.warnings:
        line.erase()
        print("\n".join(source.warnings), file=sys.stderr, flush=True)
        source.warnings.clear()


def main(cmd=None) -> None:
    """Follow the logs that the command line names."""
    args = get_parser().parse_args(cmd)
    if args.mode == "training":
        source: Union[Training, Count] = Training(args.log)
    else:
        if args.total is not None and args.total < 1:
            raise UserError(f"--total {args.total}: give a number from 1")
        try:
            source = Count(args.total, args.files, args.pattern)
        except re.error as e:
            raise UserError(f"--pattern {args.pattern}: {e}; fix it") from e
        if (args.total is None) != (source.pattern.groups == 2):
            raise UserError("give either --total or a --pattern with two groups")
    if sys.stderr.isatty() or isinstance(source, Training):
        follow(source, args.label)


if __name__ == "__main__":
    run_command_line(main)
