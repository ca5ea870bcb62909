"""Mix talkers and noise with LibriMix's arithmetic, and measure overlap.

Source: create_librimix_from_metadata.py of LibriMix (Cosentino et al., arXiv
2005.11262): 32-bit floats, gain, resampling, zero padding or a cut, sum in source
order, noise last, 16 bits. New here: each talker has an onset. render.py mixes a spec.
"""

from functools import lru_cache
from typing import Optional, Sequence, Tuple

import numpy as np

Interval = Tuple[float, float]


def scale(samples: np.ndarray, gain: float) -> np.ndarray:
    """Apply a gain in the precision of the samples, like LibriMix."""
    return samples * samples.dtype.type(gain)


def start_at(noise: np.ndarray, start: int, n: int) -> np.ndarray:
    """Rotate (M,) noise so that it begins at `start`; return at most `n` samples."""
    start %= len(noise)
    return np.concatenate([noise[start : start + n], noise[: min(start, n)]])[:n]


def fit_noise(noise: np.ndarray, n: int, rate: int) -> np.ndarray:
    """Cut noise to `n` samples, or repeat it.

    As in LibriMix, a repetition begins before the end of the previous one, and the two
    are cross-faded with the halves of a Hann window of 1 s. For noise of 0.5 s or less,
    for which LibriMix fails, the fade is half as long as the noise.

    Args:
        noise: (M,) float32, M > 0.
        n: Wanted number of samples.
        rate: Hz.

    Returns:
        (n,): float32 if cut, float64 if repeated (LibriMix's window is float64, and so
        are the following steps).
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
    """Sum parts with their start samples; the noise comes last, at 0.

    Returns:
        (n,) float32; anything beyond `n` is cut. Not clipped.
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
        ValueError: the numbers of sources, gains and onsets differ, an onset is
            negative, or noise has no gain.
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
        intervals: (start, end) of every talker, in any unit.

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
    """Return whether all talkers talk at some time.

    >>> all_at_once([(0, 3), (1, 4), (2, 5)])
    True
    >>> all_at_once([(0, 2), (1, 4), (2, 5)])
    False
    """
    return max(start for start, _ in intervals) < min(end for _, end in intervals)
