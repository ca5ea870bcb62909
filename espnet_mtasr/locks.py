"""A folder that one process has for itself."""

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
    """Make a folder and hold its lock, where the file system has locks.

    Args:
        folder: To be held.
        doing: What is done there, for the other's message.
        name: Of the lock's file, which stays.

    Raises:
        UserError: the folder can't be written, or another process holds the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / name).open("a+")
    except OSError as e:
        raise UserError(
            f"{folder}: can't be written ({e.strerror}); make it a folder, or a link "
            f"to one, that can be"
        ) from e
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            lock.seek(0)
            who = lock.read().strip() or "another process"
            raise UserError(
                f"{folder}: another run is {doing} there ({who}); wait for it to end, "
                f"or end it"
            ) from e
        except OSError:
            pass  # Some network file systems have none.
        lock.truncate(0)
        since = time.strftime("%F %T")
        command = shlex.join(sys.argv)
        lock.write(f"{os.getpid()} since {since} on {socket.gethostname()}, {command}")
        lock.flush()
        yield
