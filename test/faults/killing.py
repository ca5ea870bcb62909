"""Commands that are killed before the N-th change of their files, and run again.

A process that has imported torch once is forked for each run, which takes a fraction of
a second instead of ten. It reads requests from standard input, a line of JSON each, and
answers each with a line:

    {"module": "espnet_mtasr.bin.simulate", "words": [...], "folder": "/tmp/x/data",
     "kill_before": 3}                     -> {"code": -9, "changes": ["open a.part"]}
"""

import importlib
import json
import mmap
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Sequence

# Which argument of Python's audit events is the path that changes.
CHANGES = {"os.rename": 1, "os.remove": 0, "os.symlink": 1, "os.mkdir": 0}
# Nothing depends on them.
IGNORED = ("tensorboard", ".lock", ".training.lock")


class Run(NamedTuple):
    """How a run ended: exit code, or less than 0 by a signal; and what it changed."""

    code: int
    changes: List[str]


class Killer:
    """A process that runs commands, on request up to one of their changes of files.

    Args:
        log: Gets what the commands print.
    """

    def __init__(self, log: Path):
        self.log = log
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faults.killing", str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def run(
        self,
        module: str,
        words: Sequence[Any],
        folder: Path,
        kill_before: Optional[int] = None,
    ) -> Run:
        """Run a command of `espnet_mtasr.bin`.

        Args:
            module: Its name.
            words: Its options.
            folder: Whose changes are counted.
            kill_before: Number of the change, from 0, that it doesn't live to make.
        """
        request = dict(
            module=f"espnet_mtasr.bin.{module}",
            words=[str(word) for word in words],
            folder=str(folder),
            kill_before=kill_before,
        )
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return Run(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait(timeout=60)


def _watch(folder: str, kill_before: Optional[int], report: int) -> None:
    # With the processes that the command starts.
    seen = mmap.mmap(-1, 8)

    def hook(event: str, args: Any) -> None:
        if event == "open":
            path, _, flags = args
            if not flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event in CHANGES:
            path = args[CHANGES[event]]
        else:
            return
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        place = os.path.relpath(os.path.abspath(os.fsdecode(path)), folder)
        if place.startswith("..") or any(part in IGNORED for part in place.split("/")):
            return
        number = int.from_bytes(seen[:], "little")
        if number == kill_before:
            os.killpg(0, signal.SIGKILL)
        seen[:] = (number + 1).to_bytes(8, "little")
        os.write(report, f"{event} {place}\n".encode())

    sys.addaudithook(hook)


def _run(request: Dict[str, Any], report: int, log: str) -> NoReturn:
    from espnet_mtasr.errors import run_command_line

    os.setpgid(0, 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    code = 0
    try:
        main = importlib.import_module(request["module"]).main
        _watch(request["folder"], request["kill_before"], report)
        run_command_line(main, request["words"])
    except SystemExit as e:
        code = int(e.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    os._exit(code)


def serve(log: str) -> None:
    """Answer requests until standard input ends."""
    import espnet_mtasr.bin.mtasr_inference  # noqa: F401
    import espnet_mtasr.tasks.mtasr  # noqa: F401
    import espnet_mtasr.transcription.mtasr  # noqa: F401

    for line in sys.stdin:
        receive, report = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(receive)
            _run(json.loads(line), report, log)
        os.close(report)
        with open(receive, encoding="utf-8") as changes:
            found = changes.read().splitlines()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"code": code, "changes": found}), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
