"""Render a mixture from its spec: the only place where recordings are mixed.

The generator writes its result, and training that mixes while loading gets the same
samples. Order and precision of the steps are LibriMix's (mixing.py).
"""

from math import ceil
from typing import Callable, Optional, Tuple

import numpy as np

from espnet_mtasr.data.audio import from_int16, pcm16, read_recording, resample
from espnet_mtasr.mixture.mixing import add_up, fit_noise, scale, start_at
from espnet_mtasr.mixture.spec import (
    MixtureSpec,
    Source,
    samples_of_span,
    samples_until,
)

# Takes a path, a speed and, if not all samples are needed, how many at which rate in
# Hz; returns (N,) float32, maybe more than needed, and its rate.
Reader = Callable[[str, float, Optional[Callable[[int], int]]], Tuple[np.ndarray, int]]


def mix_spec(spec: MixtureSpec, read: Reader = read_recording) -> np.ndarray:
    """Mix a spec.

    Args:
        spec: Sources, onsets, noise, rate, mode.
        read: Reads a recording; may be a cache.

    Returns:
        (N,) float32 at `spec.rate`. Not clipped.

    Raises:
        UserError: see `read_recording`.
    """
    rate = spec.rate
    recordings = [_read_source(source, read) for source in spec.sources]
    parts = [
        resample(scale(samples, source.gain), own_rate, rate)
        for source, (samples, own_rate) in zip(spec.sources, recordings)
    ]
    starts = [int(onset * rate) for onset in spec.onsets]
    ends = [start + len(part) for start, part in zip(starts, parts)]
    ends += [samples_until(end, rate) for end in spec.left_out]
    n = max(ends) if spec.mode == "max" else min(ends)
    if spec.noise is None:
        return add_up(parts, starts, n)

    def longest(noise_rate: int) -> int:
        # LibriMix cuts the noise to the longest source before resampling it, also in
        # mode `min`.
        return max(
            [
                int(onset * noise_rate) + ceil(len(samples) * noise_rate / own_rate)
                for onset, (samples, own_rate) in zip(spec.onsets, recordings)
            ]
            + [samples_until(end, noise_rate) for end in spec.left_out]
        )

    noise, noise_rate = read(
        spec.noise.path, spec.noise.speed, None if spec.noise.start else longest
    )
    needed = longest(noise_rate)
    if spec.noise.start:
        noise = start_at(noise, int(spec.noise.start * noise_rate), needed)
    noise = scale(fit_noise(noise, needed, noise_rate), spec.noise.gain)
    return add_up(parts, starts, n, resample(noise, noise_rate, rate))


def _read_source(source: Source, read: Reader) -> Tuple[np.ndarray, int]:
    samples, rate = read(source.path, source.speed, None)
    if source.span is not None:
        first, last = samples_of_span(source.span, rate / source.speed)
        samples = samples[first:last]
    return samples, rate


def render(spec: MixtureSpec, read: Reader = read_recording) -> np.ndarray:
    """Return the samples of a spec's generated 16-bit file, as float32.

    Returns:
        (N,) float32 at `spec.rate`, within [-1, 1).
    """
    return from_int16(pcm16(mix_spec(spec, read)))
