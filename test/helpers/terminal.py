"""Runs a command in a pseudo terminal, for what is printed on a terminal only."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from typing import Sequence, Tuple


def run_in_terminal(
    command,
    columns: int = 80,
    typed: Sequence[Tuple[str, bytes]] = (),
    timeout: float = 30.0,
    **options,
) -> Tuple[int, str]:
    """Return the exit code and all that was printed.

    Args:
        columns: Width of the terminal.
        typed: What to wait for, and what to type then; one after the other.
        options: Of `subprocess.Popen`.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=_take_terminal,
        **options,
    )
    os.close(slave)
    os.set_blocking(master, False)
    text = ""
    waiting = list(typed)
    end = time.monotonic() + timeout
    running, more_reads = True, 10
    while running:
        # Asked before the last read, so that nothing is left unread.
        running = process.poll() is None
        try:
            text += os.read(master, 65536).decode()
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # nobody holds the other end any more
            process.wait(timeout)
            break
        if not running and more_reads > 0:
            # The terminal may pass the last words on after the process has ended.
            running, more_reads = True, more_reads - 1
        if waiting and waiting[0][0] in text:
            os.write(master, waiting.pop(0)[1])
        if time.monotonic() > end:
            process.kill()
            raise TimeoutError(f"{command} still runs; it has printed: {text}")
    os.close(master)
    return process.returncode, text


def _take_terminal() -> None:
    # Ctrl-C reaches the processes of a controlling terminal only; and tests that were
    # begun in the background of a shell would hand on that it is ignored.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def last_screen(text: str) -> str:
    """What is left on the screen: a carriage return begins a line anew."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            if part.startswith("\033[K"):
                shown = ""
            shown = part.replace("\033[K", "") or shown
        lines.append(shown)
    return "\n".join(lines)
