"""Processes that end with their parent, however it ends: SIGKILL leaves no orphans."""

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Iterator

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

# The calling script (mtasr.sh, local/data.sh); its commands end when it is killed.
CALLER = "MTASR_CALLER"
PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Make the kernel send SIGTERM to this process when its parent ends; Linux only."""
    if not sys.platform.startswith("linux"):
        return
    # Every command line imports this module, but few need it.
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # The parent has already ended.
        os.kill(os.getpid(), signal.SIGTERM)


def end_with_caller() -> None:
    """Do so only for a command that was called by a recipe's script."""
    caller = os.getppid()
    if os.environ.get(CALLER) == str(caller):
        end_with(caller)


@contextlib.contextmanager
def worker_pool(nj: int) -> Iterator["ProcessPoolExecutor"]:
    """Run `nj` processes, at least one, which end with this one.

    An error cancels the work that hasn't begun.
    """
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(
        max(1, nj), initializer=end_with, initargs=(os.getpid(),)
    ) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
