"""A `python` that starts commands in a process that has imported ESPnet already.

Importing ESPnet, torch and transformers takes 8 to 20 s, and a recipe starts dozens of
commands. A server imports them once. For each command it forks, and the fork runs the
command with the caller's arguments, folder, environment and open files. The fork ends
when its caller does. This package itself is imported by each command anew.
"""

import atexit
import contextlib
import fcntl
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Dict, List, NoReturn

COMMANDS = "espnet_mtasr.bin."
IMPORTED = (
    "espnet2.tasks.asr",
    "kaldiio",
    "matplotlib.figure",
    "meeteval.wer",
    "peft",
    "scipy.signal",
    "sentencepiece",
    "soundfile",
    "torch.utils.tensorboard",
    "torchaudio",
    "transformers.models.whisper.modeling_whisper",
)
# Libraries read these when they are imported.
READ_AT_IMPORT = ("HF_", "TRANSFORMERS_", "CUDA_", "MPL", "MKL_", "NUMBA_")
SHIM = """#!{python} -IS
import sys
sys.path.insert(0, {helpers!r})
import warm_python
warm_python.ask({socket!r}, {python!r}, {owner}, sys.argv[1:])
"""


@functools.cache
def warm_python() -> Path:
    """Return a folder whose `python` and `python3` are warm, for the start of PATH.

    The first command starts the server, which ends with the process that called this.
    """
    folder = tempfile.TemporaryDirectory(prefix="warm_python")
    atexit.register(folder.cleanup)
    shim = SHIM.format(
        python=sys.executable,
        helpers=str(Path(__file__).parent),
        socket=f"{folder.name}/socket",
        owner=os.getpid(),
    )
    for name in ("python", "python3"):
        path = Path(folder.name) / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(shim)
        path.chmod(0o755)
    return path.parent


def ask(at: str, python: str, owner: int, arguments: List[str]) -> NoReturn:
    """Run a command in a fork of the server at `at`, anything else in `python`."""
    if arguments[:1] == ["-m"] and arguments[1].startswith(COMMANDS):
        request = {
            "arguments": arguments[1:],
            "folder": os.getcwd(),
            "env": dict(os.environ),
        }
        start_server(at, python, owner)
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(at)
            socket.send_fds(server, [b"."], [0, 1, 2])
            server.sendall(json.dumps(request).encode() + b"\n")
            answer = server.makefile().readline()
        if answer != "cold\n":
            sys.exit(int(answer or 1))
    os.execv(python, [python, *arguments])


def start_server(at: str, python: str, owner: int) -> None:
    """Start the server, unless it runs."""
    with open(f"{at}.lock", "w") as lock, open(f"{at}.log", "a") as log:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(at):
            return
        server = subprocess.Popen(
            [python, __file__, at, str(owner)],
            cwd="/",
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        while not os.path.exists(at):
            if server.poll() is not None:
                sys.exit(f"{at}.log: the server ended, {server.returncode}")
            time.sleep(0.1)


def serve(at: str, owner: int) -> None:
    """Fork for each request, until the process `owner` ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    # A collection in a fork would copy the pages of all modules.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    owner_ended = os.pidfd_open(owner)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{at}.new")
        server.listen(64)
        os.rename(f"{at}.new", at)
        while owner_ended not in select.select([server, owner_ended], [], [])[0]:
            caller, _ = server.accept()
            if os.fork() == 0:
                server.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                answer(caller)
                os._exit(0)
            caller.close()


def answer(caller: socket.socket) -> None:
    """Run one command in a further fork; tell the caller its exit code."""
    _, files, _, _ = socket.recv_fds(caller, 1, 3)
    request = json.loads(caller.makefile().readline())
    if _at_import(request["env"]) != _at_import(dict(os.environ)):
        caller.sendall(b"cold\n")
        return
    command = os.fork()
    if command == 0:
        caller.close()
        become(files, **request)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(command)
    ready, _, _ = select.select([ended, caller], [], [])
    if caller in ready:
        os.kill(command, signal.SIGTERM)
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        caller.sendall(f"{code if code >= 0 else 128 - code}\n".encode())


def _at_import(env: Dict[str, str]) -> Dict[str, str]:
    return {k: v for k, v in env.items() if k.startswith(READ_AT_IMPORT)}


def become(
    files: List[int], arguments: List[str], folder: str, env: Dict[str, str]
) -> NoReturn:
    """Become `python -m ARGUMENTS`, with these files as its standard ones."""
    import torch

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", buffering=1, closefd=False)
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    torch.set_num_threads(int(env.get("OMP_NUM_THREADS", "1")))
    # In place of this file's folder.
    sys.path[0:1] = [folder, *filter(None, env.get("PYTHONPATH", "").split(":"))]
    sys.argv = list(arguments)
    code: object = 0
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    # As Python ends, but without taking every module apart.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
