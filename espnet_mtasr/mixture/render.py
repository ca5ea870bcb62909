"""Render a mixture from its recipe: the one place where recordings become a mixture.

The generator writes what this returns, and training that mixes while it loads gets the
same samples. Order and precision of the steps are LibriMix's (mixing.py).
"""

from math import ceil
from typing import Callable, Optional, Tuple

import numpy as np

from espnet_mtasr.data.audio import from_int16, pcm16, read_recording, resample
from espnet_mtasr.mixture.mixing import add_up, fit_noise, scale, start_at
from espnet_mtasr.mixture.recipe import MixtureRecipe, samples_until

# Takes a path, a speed and, where not all samples are wanted, how many at which rate in
# Hz; returns (N,) float32, perhaps more than are wanted, and its rate.
Reader = Callable[[str, float, Optional[Callable[[int], int]]], Tuple[np.ndarray, int]]


def mix_recipe(recipe: MixtureRecipe, read: Reader = read_recording) -> np.ndarray:
    """Mix what a recipe says.

    Args:
        recipe: Sources, onsets, noise, rate, mode.
        read: Reads a recording; a cache may stand here.

    Returns:
        (N,) float32 at `recipe.rate`. Not clipped.

    Raises:
        UserError: see `read_recording`.
    """
    rate = recipe.rate
    recordings = [read(source.path, source.speed, None) for source in recipe.sources]
    parts = [
        resample(scale(samples, source.gain), own_rate, rate)
        for source, (samples, own_rate) in zip(recipe.sources, recordings)
    ]
    starts = [int(onset * rate) for onset in recipe.onsets]
    ends = [start + len(part) for start, part in zip(starts, parts)]
    ends += [samples_until(end, rate) for end in recipe.left_out]
    n = max(ends) if recipe.mode == "max" else min(ends)
    if recipe.noise is None:
        return add_up(parts, starts, n)

    def longest(noise_rate: int) -> int:
        # LibriMix cuts the noise, before it resamples it, to the longest source: in
        # mode `min` too.
        return max(
            [
                int(onset * noise_rate) + ceil(len(samples) * noise_rate / own_rate)
                for onset, (samples, own_rate) in zip(recipe.onsets, recordings)
            ]
            + [samples_until(end, noise_rate) for end in recipe.left_out]
        )

    noise, noise_rate = read(
        recipe.noise.path, recipe.noise.speed, None if recipe.noise.start else longest
    )
    needed = longest(noise_rate)
    if recipe.noise.start:
        noise = start_at(noise, int(recipe.noise.start * noise_rate), needed)
    noise = scale(fit_noise(noise, needed, noise_rate), recipe.noise.gain)
    return add_up(parts, starts, n, resample(noise, noise_rate, rate))


def render(recipe: MixtureRecipe, read: Reader = read_recording) -> np.ndarray:
    """Return the samples that the generated 16-bit file of a recipe holds, as float32.

    Returns:
        (N,) float32 at `recipe.rate`, within [-1, 1).
    """
    return from_int16(pcm16(mix_recipe(recipe, read)))
