"""Compute what may make a mixture hard from its spec: the table `utt2conditions`.

Levels are those of the samples that render.py mixes. It mixes once without the noise,
and once with all talkers at gain 0, which leaves the noise as it is in the mixture.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr.corpora.librispeech import gender_of
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.lifetime import worker_pool
from espnet_mtasr.mixture.mixing import Interval, scale
from espnet_mtasr.mixture.render import Reader, mix_spec
from espnet_mtasr.mixture.source_cache import SourceCache
from espnet_mtasr.mixture.spec import MixtureSpec
from espnet_mtasr.progress import progress
from espnet_mtasr.scoring.conditions import MIXED, SAME, TABLE, Conditions

DECIMALS = 4
# More than any mixture's recordings need, so each is only read once.
CACHE_MEGABYTES = 2000


def talking_times(spec: MixtureSpec) -> List[Interval]:
    """Return when each talker begins and ends, in seconds from the mixture's start."""
    return [
        (onset, max(onset, min(onset + source.length, spec.seconds)))
        for onset, source in zip(spec.onsets, spec.sources)
    ]


def onset_gap(onsets: Sequence[float]) -> Optional[float]:
    """Return the smallest time between two onsets in seconds; None with one talker.

    >>> onset_gap([0.0, 1.25, 2.0])
    0.75
    """
    gaps = [b - a for a, b in zip(onsets, onsets[1:])]
    return min(gaps, default=None)


def snr(spec: MixtureSpec, read: Reader) -> Optional[float]:
    """Return the energy of all talkers / that of the noise in the mixture, in dB.

    Returns:
        None without noise, or if one of the two is silent.

    Raises:
        UserError: see `read_recording`.
    """
    if spec.noise is None:
        return None
    silenced = tuple(replace(source, gain=0.0) for source in spec.sources)
    talkers = _energy(mix_spec(replace(spec, noise=None), read))
    noise = _energy(mix_spec(replace(spec, sources=silenced), read))
    return 10 * math.log10(talkers / noise) if talkers and noise else None


def level_difference(spec: MixtureSpec, read: Reader) -> Optional[float]:
    """Return how much louder the loudest talker is than the softest, in dB.

    A level is the root mean square of a talker's own recording after its gain.

    Returns:
        None with one talker, or if one is silent.

    Raises:
        UserError: see `read_recording`.
    """
    powers = []
    for source in spec.sources:
        samples, _ = read(source.path, source.speed, None)
        powers.append(_energy(scale(samples, source.gain)) / len(samples))
    if len(powers) < 2 or not min(powers):
        return None
    return 10 * math.log10(max(powers) / min(powers))


def genders(spec: MixtureSpec) -> Optional[str]:
    """Return whether talkers have the same gender; None: one talker, or unknown."""
    found = [gender_of(source.path, source.talker) for source in spec.sources]
    if len(found) < 2 or None in found:
        return None
    return SAME if len(set(found)) == 1 else MIXED


def measure(spec: MixtureSpec) -> Conditions:
    """Compute a mixture's conditions.

    Raises:
        UserError: see `read_recording`.
    """
    read = SourceCache(CACHE_MEGABYTES).read
    return Conditions(
        _rounded(onset_gap(spec.onsets)),
        _rounded(snr(spec, read)),
        _rounded(level_difference(spec, read)),
        genders(spec),
    )


def is_measured(directory: Path) -> bool:
    """Return whether `utt2conditions` exists and is newer than the specs."""
    table, specs = directory / TABLE, directory / "utt2mixture"
    return table.is_file() and table.stat().st_mtime >= specs.stat().st_mtime


def measure_set(directory: Path, specs: Mapping[str, MixtureSpec], nj: int) -> None:
    """Write a data directory's `utt2conditions`.

    Args:
        specs: Of its mixtures.
        nj: Processes.

    Raises:
        UserError: see `read_recording`.
    """
    label = f"{directory.name}: conditions"
    measured = progress(_measure_all(specs, nj), len(specs), label)
    write_table(directory / TABLE, dict(measured))


def _measure_all(
    specs: Mapping[str, MixtureSpec], nj: int
) -> Iterator[Tuple[str, str]]:
    if nj == 1:
        for utt, spec in specs.items():
            yield utt, measure(spec).to_line()
        return
    with worker_pool(min(nj, len(specs))) as pool:
        measured = pool.map(measure, specs.values(), chunksize=8)
        for utt, conditions in zip(specs, measured):
            yield utt, conditions.to_line()


def _energy(samples: np.ndarray) -> float:
    return float(np.sum(np.square(samples, dtype=np.float64)))


def _rounded(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(value, DECIMALS)
