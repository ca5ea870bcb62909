"""Recordings that benchmarks decode: of a list or folder, and more of them by cuts."""

from pathlib import Path
from typing import Dict, Sequence

import numpy as np

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.transcription.recordings import (
    Source,
    find_recordings,
    read_recording,
)

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "egs2" / "mini_librimix" / "samples"


def read_waves(recordings: Path, rate: int, most: int) -> Dict[str, np.ndarray]:
    """Read the first recordings, `most` at most, as `(N,)` float32 by name.

    Args:
        recordings: A wav.scp, a folder of recordings or a recording.
        rate: Hz wanted.
        most: As many at most.

    Raises:
        UserError: there are none, or one can't be read.
    """
    if recordings.suffix == ".scp":
        sources = [Source(*row) for row in read_table(recordings).items()]
    else:
        sources = find_recordings([str(recordings)])
    return {s.name: read_recording(s, rate).samples for s in sources[:most]}


def repeat_with_cuts(
    waves: Sequence[np.ndarray], number: int, most: int
) -> "list[np.ndarray]":
    """Return `number` waves, those given and then copies with another length each.

    Args:
        waves: `(N,)` each.
        number: As many.
        most: Samples that a copy may lack at its end, at most half of it.
    """
    rng = np.random.default_rng(0)
    repeated = list(waves[:number])
    while len(repeated) < number:
        wave = waves[len(repeated) % len(waves)]
        cut = int(rng.integers(0, min(most, len(wave) // 2) + 1))
        repeated.append(wave[: len(wave) - cut])
    return repeated
