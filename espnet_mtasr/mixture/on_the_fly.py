"""Mixtures made while loading, in place of recordings of them.

A line of `utt2mixture` (recipe.py) names sources, levels and onsets; render.py makes of
it the samples that a recording of the mixture has, 16-bit rounding included. So every
stage may read lists instead of recordings.
"""

import json
from collections import OrderedDict
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Callable, List, Mapping, Optional, Tuple

import numpy as np

from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.mixing import from_int16, read_recording, to_int16
from espnet_mtasr.mixture.recipe import MixtureRecipe, parse_recipe

# Frames and Hz of a recording.
Header = Tuple[int, int]


class SourceCache:
    """Recordings in memory, the least recently used thrown out; nothing is rounded.

    Args:
        megabytes: What all may take; 0 keeps none.

    Raises:
        UserError: `megabytes` is no number from 0.
    """

    def __init__(self, megabytes: float):
        if not isinstance(megabytes, (int, float)) or not megabytes >= 0:
            raise UserError(f"cache_megabytes: {megabytes!r}: give a number from 0")
        self.room = megabytes * 1e6
        self._kept: "OrderedDict[Tuple[str, float], Tuple[np.ndarray, int]]" = (
            OrderedDict()
        )

    def read(
        self,
        path: str,
        speed: float = 1.0,
        needed: Optional[Callable[[int], int]] = None,
    ) -> Tuple[np.ndarray, int]:
        """Return what `read_recording` does: (N,) float32 and its rate in Hz."""
        key = (path, speed)
        if key not in self._kept:
            samples, rate = read_recording(path, speed)
            packed = _pack(samples)
            self._kept[key] = packed, rate
            self.room -= packed.nbytes
        self._kept.move_to_end(key)
        packed, rate = self._kept[key]
        while self.room < 0:
            self.room += self._kept.popitem(last=False)[1][0].nbytes
        return _unpack(packed if needed is None else packed[: needed(rate)]), rate


def _pack(samples: np.ndarray) -> np.ndarray:
    """Store (N,) float32 as int16 if they were that before; else as they are."""
    packed = to_int16(samples)
    return packed if np.array_equal(_unpack(packed), samples) else samples


def _unpack(packed: np.ndarray) -> np.ndarray:
    if packed.dtype == np.int16:
        return from_int16(packed)
    return packed


def num_samples(recipe: MixtureRecipe, headers: Mapping[str, Header]) -> int:
    """Length of the mixture as render.py makes it, with no recording read.

    Args:
        recipe: Of the mixture.
        headers: Of each source, by path.
    """
    ends = [ceil(end * recipe.rate - 1e-3) for end in recipe.left_out]
    for source, onset in zip(recipe.sources, recipe.onsets):
        frames, rate = headers[source.path]
        if source.speed != 1.0:
            ratio = (1 / Fraction(str(source.speed))).limit_denominator(100)
            frames = ceil(frames * ratio)
        ends.append(
            int(onset * recipe.rate) + ceil(Fraction(frames * recipe.rate, rate))
        )
    return max(ends) if recipe.mode == "max" else min(ends)


def at_speed(recipe: MixtureRecipe, factor: float) -> MixtureRecipe:
    """The recipe of the mixture played `factor` times as fast, noise included."""
    if factor == 1.0:
        return recipe
    noise = recipe.noise
    if noise is not None:
        noise = replace(
            noise, speed=round(noise.speed * factor, 6), start=noise.start / factor
        )
    return replace(
        recipe,
        sources=tuple(
            replace(s, speed=round(s.speed * factor, 6)) for s in recipe.sources
        ),
        onsets=tuple(onset / factor for onset in recipe.onsets),
        noise=noise,
        left_out=tuple(end / factor for end in recipe.left_out),
    )


def parse_line(line: str, name: str) -> MixtureRecipe:
    """Read a line of `utt2mixture`, without its id.

    Args:
        line: JSON.
        name: File and utterance, for messages.

    Raises:
        UserError: it is no recipe.
    """
    try:
        fields = json.loads(line)
    except ValueError as e:
        raise UserError(f"{name}: no JSON ({e}); make it anew") from None
    return parse_recipe(fields, name)


def recordings_of(recipe: MixtureRecipe) -> List[str]:
    """Return paths of what the mixture is made of, noise last."""
    noise = [] if recipe.noise is None else [recipe.noise.path]
    return [source.path for source in recipe.sources] + noise
