"""Read a recording from a pipe as it arrives, with FFmpeg, which needn't seek."""

from io import BytesIO
from typing import BinaryIO, Iterator, Optional

import numpy as np

from espnet_mtasr.data.audio_end import lacks_bytes
from espnet_mtasr.transcription.containers import FORMATS, Track, open_track

# libsndfile must seek; FFmpeg needn't for these.
PIPED = (*FORMATS, "wav", "w64", "aiff", "au", "caf", "flac", "ogg", "mp3")
# The first bytes of a file, which contain its header.
HEAD = 1 << 16


class Pipe:
    """A pipe that can be read again from the beginning until `forget` is called.

    Args:
        pipe: Open for reading.
    """

    def __init__(self, pipe: BinaryIO):
        self._pipe = pipe
        self._kept: Optional[BytesIO] = BytesIO()
        self._head = b""
        self._size = 0

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; fewer if no more have arrived."""
        some: bytes = getattr(self._pipe, "read1", self._pipe.read)(size)
        self._head += some[: HEAD - len(self._head)]
        self._size += len(some)
        if self._kept is not None:
            self._kept.write(some)
        return some

    def forget(self) -> None:
        """Stop keeping what is read."""
        self._kept = None

    def whole(self) -> BytesIO:
        """Read to the end, and return everything from the beginning."""
        assert self._kept is not None, "it was told to forget"
        self._kept.write(self._pipe.read())
        self._kept.seek(0)
        return self._kept

    def breaks_off(self) -> bool:
        """Return whether less was read than the header declares."""
        return lacks_bytes(self._head, self._size)


def open_piped_track(pipe: Pipe) -> Optional[Track]:
    """Return the audio in a pipe, or None if it needs seeking or isn't audio."""
    track = open_track(pipe, PIPED)
    if track is None:
        return None
    pipe.forget()

    def blocks() -> Iterator[np.ndarray]:
        yield from track.blocks
        if pipe.breaks_off():
            track.broken.append("less than its header declares")

    return track._replace(blocks=blocks())
