"""Detect truncated recordings by comparing the header with the file.

libsndfile reads truncated files without an error: for WAV, AIFF, W64, CAF and AU it
reduces the number of samples, and Ogg and MP3 it reads up to the last whole page or
frame.
"""

import math
import struct
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Iterator, NamedTuple, Optional, Tuple, Union

# Programs that write to a pipe don't know the size, and write 0 or the largest number.
LARGEST_SIZE = 0x7FFFF000
OGG_PAGE = 65307
END_OF_STREAM = 4


# Samples by which the length in an MP3 file's header may differ from what is decoded.
MPEG_SLACK = 4 * 1152


def in_words(missing: float, there: float) -> str:
    """Say how much of a recording is missing, in seconds.

    >>> in_words(0.5, 1.0), in_words(float("nan"), 1.0)
    ('0.50 of 1.50 s are missing', 'what comes after 1.00 s is missing')
    """
    if math.isnan(missing):
        return f"what comes after {there:.2f} s is missing"
    return f"{missing:.2f} of {missing + there:.2f} s are missing"


class DataChunk(NamedTuple):
    """The samples of a file: where they begin, and their declared bytes."""

    start: int
    declared: int


def missing_seconds(source: Union[str, bytes, Path, BinaryIO]) -> Optional[float]:
    """Seconds that are missing at a recording's end.

    Args:
        source: Path, or an open file, whose position is restored.

    Returns:
        None: nothing is known to be missing. NaN: an unknown part is missing.
    """
    import soundfile

    if isinstance(source, (str, bytes, Path)):
        with open(source, "rb") as file:
            return missing_seconds(file)
    place = source.tell()
    try:
        size = source.seek(0, 2)
        source.seek(place)
        head = source.read(16)
        if head[:4] == b"OggS":
            return None if _ogg_ends(source, place, size) else float("nan")
        chunk = _data_chunk(source, place, head)
        if chunk is None:
            return None
        there = size - chunk.start
        # Chunks of odd size are padded, but some programs forget it.
        if not 0 < there < chunk.declared - 1:
            return None
        source.seek(place)
        info = soundfile.info(source)
        return info.frames / info.samplerate * (chunk.declared - there) / there
    except (struct.error, soundfile.LibsndfileError):
        # A truncated header is reported when the samples are read.
        return None
    finally:
        source.seek(place)


def lacks_bytes(head: bytes, size: int) -> bool:
    """Return whether a file of `size` bytes is shorter than its header declares.

    Args:
        head: Its first bytes, beyond the header.
        size: Actual size.
    """
    try:
        chunk = _data_chunk(BytesIO(head), 0, head[:16])
    except struct.error:
        return False
    return chunk is not None and size - chunk.start < chunk.declared - 1


def _data_chunk(file: BinaryIO, place: int, head: bytes) -> Optional[DataChunk]:
    """Find the samples; None: another format, or an unknown size."""
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        order = ">" if head[:4] == b"RIFX" else "<"
        chunks = _chunks(file, place + 12, f"{order}4sI", pad=2)
        return _riff_data(file, chunks)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        chunks = _chunks(file, place + 12, ">4sI", pad=2)
        return _known(next((c for name, c in chunks if name == b"SSND"), None))
    if head[:4] == b"riff" and head[4:8] == b"\x2e\x91\xcf\x11":
        # W64: names of 16 bytes, sizes that include the header.
        chunks = _chunks(file, place + 40, "<16sQ", pad=8, with_header=True)
        return _known(next((c for name, c in chunks if name[:4] == b"data"), None))
    if head[:4] == b"caff":
        chunks = _chunks(file, place + 8, ">4sq", pad=1)
        return _known(next((c for name, c in chunks if name == b"data"), None))
    if head[:4] == b".snd":
        start, declared = struct.unpack(">II", head[4:12])
        return _known(DataChunk(place + start, declared))
    return None


def _chunks(
    file: BinaryIO, start: int, form: str, pad: int, with_header: bool = False
) -> Iterator[Tuple[bytes, DataChunk]]:
    """Names and places of a file's chunks."""
    length = struct.calcsize(form)
    while True:
        file.seek(start)
        header = file.read(length)
        if len(header) < length:
            return
        name, size = struct.unpack(form, header)
        if with_header:
            size -= length
        yield name, DataChunk(start + length, size)
        if size < 0:
            return
        start += length + -(-size // pad) * pad


def _riff_data(
    file: BinaryIO, chunks: Iterator[Tuple[bytes, DataChunk]]
) -> Optional[DataChunk]:
    wide = None
    for name, chunk in chunks:
        if name == b"ds64":
            file.seek(chunk.start)
            _, wide = struct.unpack("<QQ", file.read(16))
        if name == b"data":
            if wide is not None and chunk.declared == 0xFFFFFFFF:
                return DataChunk(chunk.start, wide)
            return _known(chunk)
    return None


def _known(chunk: Optional[DataChunk]) -> Optional[DataChunk]:
    known = chunk is not None and 0 < chunk.declared < LARGEST_SIZE
    return chunk if known else None


def _ogg_ends(file: BinaryIO, place: int, size: int) -> bool:
    """Return whether the last page is complete and marked as the last."""
    start = max(place, size - OGG_PAGE)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return False
    segments = tail[at + 27 : at + 27 + tail[at + 26]]
    whole = len(segments) == tail[at + 26]
    whole = whole and len(tail) >= at + 27 + len(segments) + sum(segments)
    return whole and bool(tail[at + 5] & END_OF_STREAM)
