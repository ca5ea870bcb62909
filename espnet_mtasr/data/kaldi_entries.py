"""Entries of Kaldi's wav.scp that are not files: commands, and offsets in archives.

The shell runs `flac -c -d x.flac |`, as in Kaldi and ESPnet, and its output is the
recording. `x.ark:42` is a recording within an archive: WAV as Kaldi's `wav-copy` writes
it, or any format as kaldiio does (`AUDIO`, then the length).
"""

import re
import subprocess
from pathlib import Path
from typing import BinaryIO, Optional

from espnet_mtasr.errors import UserError

IN_ARCHIVE = re.compile(r"(.+):(\d+)")


def held_by(entry: str, whose: str = "") -> Optional[bytes]:
    """Return the content of an entry's recording; None if the entry names a file.

    Args:
        entry: As wav.scp has it.
        whose: For messages, after the entry.

    Raises:
        UserError: the command fails or writes nothing, or the archive is missing,
            truncated, or has something else there.
    """
    if entry.endswith("|"):
        return _written_by(entry, whose)
    place = IN_ARCHIVE.fullmatch(entry)
    if place is None or Path(entry).is_file():
        return None
    name = f"{entry}{whose}"
    try:
        with open(place[1], "rb") as archive:
            archive.seek(int(place[2]))
            return _within(archive, name)
    except OSError as e:
        raise UserError(
            f"{name}: the archive can't be read ({e.strerror}); restore it or remove it"
        ) from e


def _written_by(entry: str, whose: str) -> bytes:
    done = subprocess.run(
        entry[:-1], shell=True, stdin=subprocess.DEVNULL, capture_output=True
    )
    if done.returncode == 0 and done.stdout:
        return done.stdout
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    why = f"ended with code {done.returncode}" if done.returncode else "wrote nothing"
    raise UserError(
        f"{entry}{whose}: the command {': '.join([why, *said])}; fix it, or install "
        "the program that it calls"
    )


def _within(archive: BinaryIO, name: str) -> bytes:
    """Return the file that begins at the archive's current position."""
    place = archive.tell()
    start = archive.read(8)
    archive.seek(place)
    length = -1
    if start[:5] == b"AUDIO" and len(start) == 8:
        archive.seek(place + 6)
        length = int.from_bytes(archive.read(start[5]), "little")
    elif start[:4] == b"RIFF" and len(start) == 8:
        length = 8 + int.from_bytes(start[4:], "little")
    elif start[:4] == b"fLaC":
        return archive.read()
    if length < 0:
        raise UserError(
            f"{name}: the archive has no recording there; give an archive of audio"
        )
    content = archive.read(length)
    if len(content) < length:
        raise UserError(f"{name}: the archive is truncated; restore it or remove it")
    return content
