"""Mix talkers and noise with LibriMix's arithmetic, and measure overlap.

Source: create_librimix_from_metadata.py of LibriMix (Cosentino et al., arXiv
2005.11262), mode `max`: 32-bit floats, gain, zero padding, sum in source order, noise
last. New here: each talker has an onset.
"""

from math import gcd
from pathlib import Path
from typing import Optional, Sequence, Tuple, Union

import numpy as np

from espnet_mtasr.errors import UserError

Interval = Tuple[float, float]


def read_audio(path: Union[str, Path], rate: int) -> np.ndarray:
    """Read the first channel of a recording and resample it.

    Args:
        path: Anything that soundfile reads.
        rate: Wanted sampling rate in Hz.

    Returns:
        (N,) float32 at `rate`.

    Raises:
        UserError: missing, unreadable or empty file, or values that are not finite.
    """
    import soundfile

    if not Path(path).is_file():
        raise UserError(f"{path}: no such audio file; restore it or drop its mixtures")
    try:
        samples, own_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as e:
        reason = str(e).split(": ", 1)[-1].rstrip(".")
        raise UserError(f"{path}: cannot be read ({reason}); restore it") from None
    samples = samples[:, 0]
    if len(samples) == 0:
        raise UserError(f"{path}: holds no samples; restore it")
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: holds NaN or infinite samples; restore it")
    return resample(samples, own_rate, rate)


def resample(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Resample (N,) float32 from `own_rate` to `rate` Hz with a polyphase filter."""
    if own_rate == rate:
        return samples
    from scipy.signal import resample_poly

    common = gcd(own_rate, rate)
    return resample_poly(samples, rate // common, own_rate // common).astype(np.float32)


def fit_noise(noise: np.ndarray, n: int, rate: int) -> np.ndarray:
    """Cut noise to `n` samples, or repeat it.

    As in LibriMix, a repetition begins before the end of the one before and the two
    are cross-faded with the halves of a Hann window, 0.5 s long or, for noise of under
    1 s, half as long as the noise.

    Args:
        noise: (M,) float32, M > 0.
        n: Wanted number of samples.
        rate: Hz.

    Returns:
        (n,) float32.
    """
    if len(noise) == 0:
        raise ValueError("noise of 0 samples cannot be repeated")
    if len(noise) >= n:
        return noise[:n]
    fade = min(rate // 2, len(noise) // 2)
    # The first half of a Hann window of 2 * fade points and its complement.
    rise = (0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / max(fade, 1))).astype("f4")
    step = len(noise) - fade
    repeated = np.zeros(n + len(noise), dtype=np.float32)
    for start in range(0, n, step):
        piece = noise.copy()
        if start > 0:
            piece[:fade] *= rise
        if start + step < n:
            piece[step:] *= 1 - rise
        repeated[start : start + len(piece)] += piece
    return repeated[:n]


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
    mixture = np.zeros(n, dtype=np.float32)
    for source, gain, onset in zip(sources, gains, onsets):
        mixture[onset : onset + len(source)] += source * np.float32(gain)
    if noise is not None:
        if noise_gain is None:
            raise ValueError("noise needs noise_gain")
        mixture += fit_noise(noise * np.float32(noise_gain), n, rate)
    return mixture


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
