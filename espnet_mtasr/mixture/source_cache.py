"""A cache of recordings in memory, for processes that mix while loading."""

from collections import OrderedDict
from typing import Callable, Optional, Tuple

import numpy as np

from espnet_mtasr.data.audio import (
    change_speed,
    from_int16,
    read_recording,
    resample,
    to_int16,
)
from espnet_mtasr.errors import UserError

Key = Tuple[str, float, Optional[int]]


class SourceCache:
    """Recordings in memory; the least recently used are dropped.

    Args:
        megabytes: Maximum for all recordings; 0 keeps none.

    Raises:
        UserError: `megabytes` isn't a number from 0.
    """

    def __init__(self, megabytes: float):
        if not isinstance(megabytes, (int, float)) or not megabytes >= 0:
            raise UserError(f"cache_megabytes: {megabytes!r}: give a number from 0")
        self.room = megabytes * 1e6
        self._kept: "OrderedDict[Key, Tuple[np.ndarray, int]]" = OrderedDict()

    def read(
        self,
        path: str,
        speed: float = 1.0,
        needed: Optional[Callable[[int], int]] = None,
        rate: Optional[int] = None,
    ) -> Tuple[np.ndarray, int]:
        """Return the same as `read_recording`, or the recording at another rate.

        Args:
            path: Anything that soundfile reads.
            speed: Factor on the recorded speed.
            needed: Rate in Hz to number of needed samples.
            rate: Hz; a recording of another rate is resampled once, to 16 bits. None:
                keep its rate and don't round.

        Returns:
            (N,) float32 and its rate in Hz.
        """
        key = (path, speed, rate)
        if key not in self._kept:
            samples, kept_rate = _load(path, speed, rate)
            packed = _pack(samples)
            self._kept[key] = packed, kept_rate
            self.room -= packed.nbytes
        self._kept.move_to_end(key)
        packed, kept_rate = self._kept[key]
        while self.room < 0:
            self.room += self._kept.popitem(last=False)[1][0].nbytes
        if needed is not None:
            packed = packed[: needed(kept_rate)]
        return _unpack(packed), kept_rate


def _load(path: str, speed: float, rate: Optional[int]) -> Tuple[np.ndarray, int]:
    samples, own_rate = read_recording(path)
    if rate is None:
        rate = own_rate
    if rate != own_rate:
        samples = from_int16(to_int16(resample(samples, own_rate, rate)))
    return (samples if speed == 1.0 else change_speed(samples, speed)), rate


def _pack(samples: np.ndarray) -> np.ndarray:
    """Store (N,) float32 as int16 if they came from int16; otherwise unchanged."""
    packed = to_int16(samples)
    return packed if np.array_equal(from_int16(packed), samples) else samples


def _unpack(packed: np.ndarray) -> np.ndarray:
    return from_int16(packed) if packed.dtype == np.int16 else packed
