"""A folder that only one process may use."""

import contextlib
import fcntl
import os
import shlex
import socket
import sys
import time
from pathlib import Path
from typing import Iterator

from espnet_mtasr.errors import UserError


@contextlib.contextmanager
def alone_in(folder: Path, doing: str, name: str = ".lock") -> Iterator[None]:
    """Make a folder and hold its lock, if the file system has locks.

    Args:
        folder: The folder to lock.
        doing: What this process does there, for the other process's message.
        name: Name of the lock file, which is not removed.

    Raises:
        UserError: the folder can't be written, or another process holds the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / name).open("a+")
    except OSError as e:
        raise UserError(
            f"{folder}: can't be written ({e.strerror}); make it a writable folder, or "
            "a link to one"
        ) from e
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            lock.seek(0)
            who = lock.read().strip() or "another process"
            raise UserError(
                f"{folder}: another run is {doing} there ({who}); wait for it, or stop "
                "it"
            ) from e
        except OSError:
            pass  # Some network file systems have none.
        lock.truncate(0)
        since = time.strftime("%F %T")
        command = shlex.join(sys.argv)
        lock.write(f"{os.getpid()} since {since} on {socket.gethostname()}, {command}")
        lock.flush()
        yield
