"""Mix talkers and noise with LibriMix's arithmetic, and measure overlap.

Source: create_librimix_from_metadata.py of LibriMix (Cosentino et al., arXiv
2005.11262): 32-bit floats, gain, resampling, zero padding or a cut, sum in source
order, noise last, 16 bits. New here: each talker has an onset. render.py mixes what a
recipe says.
"""

from fractions import Fraction
from functools import lru_cache
from math import gcd
from pathlib import Path
from typing import Callable, Optional, Sequence, Tuple, Union

import numpy as np

from espnet_mtasr.errors import UserError

Interval = Tuple[float, float]
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
        needed: Rate in Hz to number of samples that are wanted, where not all are. Of
            a recording of another speed all are read.

    Returns:
        (N,) float32 and its own rate in Hz.

    Raises:
        UserError: missing, unreadable or empty file, or values that are not finite.
    """
    import soundfile

    if not Path(path).is_file():
        raise UserError(f"{path}: no such audio file; restore it or drop its mixtures")
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
    """Play (N,) float32 `speed` times as fast, and so higher, as `sox speed` does.

    LibriMix stores such noise with 16 bits and reads it again, so 16 bits it has here.
    The filter is not sox's: the samples are near those of sox, not equal.

    Returns:
        (ceil(N / speed),) float32.
    """
    from scipy.signal import resample_poly

    ratio = (1 / Fraction(str(speed))).limit_denominator(100)
    samples = resample_poly(samples, ratio.numerator, ratio.denominator)
    return from_int16(to_int16(samples))


def scale(samples: np.ndarray, gain: float) -> np.ndarray:
    """Apply a gain in the precision of the samples, as LibriMix does."""
    return samples * samples.dtype.type(gain)


def start_at(noise: np.ndarray, start: int, n: int) -> np.ndarray:
    """Turn (M,) noise round so that it begins at `start`; the first `n` at most."""
    start %= len(noise)
    return np.concatenate([noise[start : start + n], noise[: min(start, n)]])[:n]


def fit_noise(noise: np.ndarray, n: int, rate: int) -> np.ndarray:
    """Cut noise to `n` samples, or repeat it.

    As in LibriMix, a repetition begins before the end of the one before and the two
    are cross-faded with the halves of a Hann window of 1 s. For noise of 0.5 s or less,
    where LibriMix fails, the fade is half as long as the noise.

    Args:
        noise: (M,) float32, M > 0.
        n: Wanted number of samples.
        rate: Hz.

    Returns:
        (n,): float32 if cut, float64 if repeated (LibriMix's window is float64, and
        what follows is computed in it).
    """
    if len(noise) == 0:
        raise ValueError("noise of 0 samples cannot be repeated")
    if len(noise) >= n:
        return noise[:n]
    fade = rate // 2 + 1
    if len(noise) <= fade:
        fade = len(noise) // 2 if len(noise) > 3 else 0
    rise = _half_hann(fade)
    repeated = np.empty(n + len(noise))
    end = len(noise)
    repeated[:end] = noise
    while end < n:
        faded = repeated[end - fade : end] * rise[::-1] + noise[:fade] * rise
        repeated[end - fade : end] = faded
        repeated[end : end + len(noise) - fade] = noise[fade:]
        end += len(noise) - fade
    return repeated[:n]


@lru_cache(maxsize=16)
def _half_hann(n: int) -> np.ndarray:
    rise = np.hanning(2 * n - 1)[:n]
    rise.flags.writeable = False
    return rise


def add_up(
    parts: Sequence[np.ndarray],
    starts: Sequence[int],
    n: int,
    noise: Optional[np.ndarray] = None,
) -> np.ndarray:
    """Sum parts that start at samples of their own; the noise comes last, at 0.

    Returns:
        (n,) float32; what reaches beyond `n` is cut. Not clipped.
    """
    mixture = np.zeros(n, dtype=np.float32)
    for part, start in zip(parts, starts):
        # Each sum is rounded to 32 bits before the next one, as in LibriMix.
        mixture[start : start + len(part)] += part[: max(0, n - start)]
    if noise is not None:
        mixture[: len(noise)] += noise[:n]
    return mixture


def mix(
    sources: Sequence[np.ndarray],
    gains: Sequence[float],
    onsets: Sequence[int],
    noise: Optional[np.ndarray] = None,
    noise_gain: Optional[float] = None,
    rate: int = 16000,
) -> np.ndarray:
    """Mix talkers; the mixture ends with the last talker (LibriMix's mode `max`).

    Args:
        sources: (N_k,) float32 each.
        gains: Linear factors.
        onsets: In samples: `int(seconds * rate)`.
        noise: (M,) float32, cut or repeated to the mixture's length.
        noise_gain: Linear factor.
        rate: Hz; only the cross-fade of repeated noise depends on it.

    Returns:
        (max(onset_k + N_k),) float32. Not clipped.

    Raises:
        ValueError: unequal numbers of sources, gains and onsets, a negative onset, or
            noise without a gain.
    """
    if not len(sources) == len(gains) == len(onsets) > 0:
        raise ValueError(
            f"{len(sources)} sources, {len(gains)} gains, {len(onsets)} onsets"
        )
    if min(onsets) < 0:
        raise ValueError(f"negative onset in {list(onsets)}")
    n = max(onset + len(source) for source, onset in zip(sources, onsets))
    if noise is not None:
        if noise_gain is None:
            raise ValueError("noise needs noise_gain")
        noise = scale(fit_noise(noise, n, rate), noise_gain)
    parts = [scale(source, gain) for source, gain in zip(sources, gains)]
    return add_up(parts, onsets, n, noise)


def pcm16(samples: np.ndarray) -> np.ndarray:
    """Convert (N,) float32 to int16 as soundfile does when it writes a WAV file.

    It rounds to 32 bits and cuts these to 16, where for FLAC it rounds to 16: converted
    here, both formats hold the same samples, which are those of LibriMix's WAV files.
    """
    # Exact in 32-bit floats: the factors are powers of two.
    values = samples * np.float32(2.0**31)
    np.rint(values, out=values)
    values *= np.float32(2.0**-16)
    np.floor(values, out=values)
    return np.clip(values, -INT16, INT16 - 1, out=values).astype(np.int16)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Round (N,) floats to the nearest of int16; what is too loud is clipped."""
    return np.clip(np.rint(samples * INT16), -INT16, INT16 - 1).astype(np.int16)


def from_int16(samples: np.ndarray) -> np.ndarray:
    """Return (N,) int16 as float32 within [-1, 1)."""
    # In one pass; exact, for the factor is a power of two.
    return np.multiply(samples, np.float32(1 / INT16), dtype=np.float32)


def _depths(intervals: Sequence[Interval]) -> Sequence[Tuple[int, float]]:
    """Return (number of talkers, duration) of each stretch between two events."""
    # Ends sort before starts at the same time: touching talkers do not overlap.
    events = sorted(
        [(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals]
    )
    stretches, depth = [], 0
    for (time, change), (following, _) in zip(events, events[1:]):
        depth += change
        stretches.append((depth, following - time))
    return stretches


def overlap_ratio(intervals: Sequence[Interval]) -> float:
    """Return (time with two or more talking) / (time with speech).

    Args:
        intervals: (start, end) of every talker, in any one unit.

    >>> overlap_ratio([(0, 3), (1, 4)])
    0.5
    >>> overlap_ratio([(0, 1), (2, 3)])
    0.0
    """
    stretches = _depths(intervals)
    speech = sum(duration for depth, duration in stretches if depth > 0)
    overlap = sum(duration for depth, duration in stretches if depth > 1)
    return overlap / speech if speech > 0 else 0.0


def all_at_once(intervals: Sequence[Interval]) -> bool:
    """Return whether at some time all the talkers talk.

    >>> all_at_once([(0, 3), (1, 4), (2, 5)])
    True
    >>> all_at_once([(0, 2), (1, 4), (2, 5)])
    False
    """
    return max(start for start, _ in intervals) < min(end for _, end in intervals)
