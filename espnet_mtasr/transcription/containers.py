"""Read audio from containers that libsndfile doesn't know: mp4, m4a, webm and others.

PyAV (`av`), FFmpeg's libraries as a package, reads them.
"""

import contextlib
from typing import (
    Any,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

SUFFIXES = (
    *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".aac", ".ac3", ".amr"),
    *(".webm", ".mkv", ".mka", ".wma", ".wmv", ".avi", ".flv"),
)
# FFmpeg's names. With other formats it guesses too much, and takes texts for pictures.
UNCONTAINED = ("aac", "ac3", "eac3", "amr")
FORMATS = (
    *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "avi", "flv"),
    *UNCONTAINED,
)


class Track(NamedTuple):
    """The first sound track of a container.

    Attributes:
        blocks: `(n, channels)` float32 each; closing the generator closes the file.
        rate: Hz.
        declared: Seconds according to the container; None: unknown.
        tracks: How many sound tracks there are.
        broken: Gets an entry if the container ends within a block.
    """

    blocks: Iterator[np.ndarray]
    rate: int
    declared: Optional[float]
    tracks: int
    broken: List[str]


def open_track(file: Any, formats: Sequence[str] = FORMATS) -> Optional[Track]:
    """Return the audio of a container, or None if it isn't one or has no audio.

    Args:
        file: Its path as bytes, or an object with `read`; `seek` is used if it exists.
        formats: FFmpeg's names of the accepted formats.
    """
    import av

    with contextlib.ExitStack() as stack:
        if isinstance(file, bytes):
            file = stack.enter_context(open(file, "rb"))
        try:
            container = stack.enter_context(av.open(file, "r"))
            tracks = container.streams.audio
            if container.format.name not in formats or not tracks:
                return None
            declared = None
            if container.format.name in UNCONTAINED:
                # FFmpeg guesses it from the first frames.
                pass
            elif tracks[0].duration is not None and tracks[0].time_base is not None:
                declared = float(tracks[0].duration * tracks[0].time_base)
            elif container.duration is not None and len(container.streams) == 1:
                declared = container.duration / av.time_base
            number = len(tracks)
            frames = _decode(container, tracks[0])
            # The declared rate may differ from the decoded one.
            rate, first = next(frames, (0, np.zeros((0, 0))))
        except av.FFmpegError:
            return None
        if rate == 0:
            return None
        broken: List[str] = []
        blocks = _blocks(stack.pop_all(), first, frames, broken)
        # Once begun, closing it closes the file.
        next(blocks)
        return Track(blocks, rate, declared, number, broken)
    return None


def _decode(container: Any, track: Any) -> Iterator[Tuple[int, np.ndarray]]:
    import av

    resampler = av.AudioResampler(format="fltp")
    for frame in container.decode(track):
        for converted in resampler.resample(frame):
            yield converted.sample_rate, converted.to_ndarray().T


def _blocks(
    stack: contextlib.ExitStack,
    first: np.ndarray,
    frames: Iterator[Tuple[int, np.ndarray]],
    broken: List[str],
) -> Iterator[np.ndarray]:
    import av

    with stack:
        yield first[:0]
        yield first
        try:
            yield from (samples for _, samples in frames)
        except av.FFmpegError as e:
            broken.append(str(e))
