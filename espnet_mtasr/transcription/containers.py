"""Sound out of containers that libsndfile doesn't know: mp4, m4a, webm and others.

PyAV (`av`), FFmpeg's libraries as a package, reads them.
"""

import math
from typing import BinaryIO, List, NamedTuple, Optional, Union

import numpy as np

SUFFIXES = (
    *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".aac", ".ac3", ".amr"),
    *(".webm", ".mkv", ".mka", ".wma", ".wmv", ".avi", ".flv"),
)
# FFmpeg's names. Of other kinds it guesses too much: it takes texts for pictures.
FORMATS = (
    *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "avi", "flv"),
    *("aac", "ac3", "eac3", "amr"),
)
# Seconds by which a length in a header may differ from what is decoded.
SLACK = 0.5


class Track(NamedTuple):
    """The first sound track of a container.

    Attributes:
        samples: `(N, channels)` float32.
        rate: Hz.
        missing: Seconds that it lacks at its end; NaN: unknown how many; None: it is
            whole.
        tracks: How many sound tracks there are.
    """

    samples: np.ndarray
    rate: int
    missing: Optional[float]
    tracks: int


def read_track(file: Union[bytes, BinaryIO]) -> Optional[Track]:
    """Return the sound of a container, or None if it is none, or has no sound.

    Args:
        file: Its path, or open.
    """
    import av

    if isinstance(file, bytes):
        with open(file, "rb") as opened:
            return read_track(opened)
    file.seek(0)

    blocks: List[np.ndarray] = []
    missing = None
    rate = 0
    try:
        with av.open(file, "r") as container:
            tracks = container.streams.audio
            if container.format.name not in FORMATS or not tracks:
                return None
            declared = None
            if tracks[0].duration is not None and tracks[0].time_base is not None:
                declared = float(tracks[0].duration * tracks[0].time_base)
            elif container.duration is not None and len(container.streams) == 1:
                declared = container.duration / av.time_base
            resampler = av.AudioResampler(format="fltp")
            try:
                for frame in container.decode(tracks[0]):
                    for converted in resampler.resample(frame):
                        rate = converted.sample_rate
                        blocks.append(converted.to_ndarray())
            except av.FFmpegError:
                missing = math.nan
    except av.FFmpegError:
        return None
    if not blocks:
        return None
    samples = np.concatenate(blocks, 1).T
    if declared is not None and declared - len(samples) / rate > SLACK:
        missing = declared - len(samples) / rate
    return Track(samples, rate, missing, len(tracks))
