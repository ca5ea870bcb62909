"""Samples of recordings: read, resampled, played at another speed, 16 bits and back."""

from fractions import Fraction
from math import gcd
from pathlib import Path
from typing import Callable, Optional, Tuple, Union

import numpy as np

from espnet_mtasr.errors import UserError

INT16 = 32768.0


def read_recording(
    path: Union[str, Path],
    speed: float = 1.0,
    needed: Optional[Callable[[int], int]] = None,
) -> Tuple[np.ndarray, int]:
    """Read the first channel of a recording.

    Args:
        path: Anything that soundfile reads.
        speed: Times as fast as recorded: see `change_speed`.
        needed: Rate in Hz to number of samples, if not all are needed. A recording with
            another speed is read completely.

    Returns:
        (N,) float32 and its own rate in Hz.

    Raises:
        UserError: missing, unreadable or empty file, or values that are not finite.
    """
    import soundfile

    if not Path(path).is_file():
        raise UserError(
            f"{path}: no such audio file; restore it or remove its mixtures"
        )
    try:
        with soundfile.SoundFile(path) as recording:
            rate = recording.samplerate
            frames = -1 if needed is None or speed != 1.0 else needed(rate)
            samples = recording.read(frames, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as e:
        reason = str(e).split(": ", 1)[-1].rstrip(".")
        raise UserError(f"{path}: cannot be read ({reason}); restore it") from None
    samples = samples[:, 0]
    if len(samples) == 0:
        raise UserError(f"{path}: holds no samples; restore it")
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: holds NaN or infinite samples; restore it")
    return (samples if speed == 1.0 else change_speed(samples, speed)), rate


def read_audio(path: Union[str, Path], rate: int) -> np.ndarray:
    """Read the first channel of a recording and resample it.

    Args:
        path: Anything that soundfile reads.
        rate: Wanted sampling rate in Hz.

    Returns:
        (N,) float32 at `rate`.

    Raises:
        UserError: see `read_recording`.
    """
    return resample(*read_recording(path), rate)


def resample(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Resample (N,) floats from `own_rate` to `rate` Hz with a polyphase filter."""
    if own_rate == rate:
        return samples
    from scipy.signal import resample_poly

    common = gcd(own_rate, rate)
    resampled = resample_poly(samples, rate // common, own_rate // common)
    return resampled.astype(samples.dtype)


def change_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """Play (N,) float32 `speed` times as fast, at a higher pitch, like `sox speed`.

    LibriMix stores such noise with 16 bits and reads it again, so it is rounded to 16
    bits here. The filter is not sox's: the samples are close to sox's, not equal.

    Returns:
        (ceil(N / speed),) float32.
    """
    from scipy.signal import resample_poly

    ratio = (1 / Fraction(str(speed))).limit_denominator(100)
    samples = resample_poly(samples, ratio.numerator, ratio.denominator)
    return from_int16(to_int16(samples))


def pcm16(samples: np.ndarray) -> np.ndarray:
    """Convert (N,) float32 to int16 as soundfile does when it writes a WAV file.

    soundfile rounds to 32 bits and truncates these to 16 for WAV, but rounds to 16 for
    FLAC. Converted here, both formats have the same samples as LibriMix's WAV files.
    """
    # Exact in 32-bit floats: the factors are powers of two.
    values = samples * np.float32(2.0**31)
    np.rint(values, out=values)
    values *= np.float32(2.0**-16)
    np.floor(values, out=values)
    return np.clip(values, -INT16, INT16 - 1, out=values).astype(np.int16)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Round (N,) floats to int16, and clip."""
    return np.clip(np.rint(samples * INT16), -INT16, INT16 - 1).astype(np.int16)


def from_int16(samples: np.ndarray) -> np.ndarray:
    """Return (N,) int16 as float32 within [-1, 1)."""
    # In one pass; exact, because the factor is a power of two.
    return np.multiply(samples, np.float32(1 / INT16), dtype=np.float32)
