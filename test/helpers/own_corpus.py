"""Recordings of single talkers as a user may have them, for tests."""

from pathlib import Path
from typing import Sequence

import numpy as np
import soundfile

WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliet".split()


def make_own_corpus(
    root: Path,
    n_talkers: int = 9,
    n_utts: int = 2,
    suffixes: Sequence[str] = ("wav",),
    rate: int = 16000,
    seconds: float = 1.5,
) -> Path:
    """Write `root/talkerT/U.wav` and `U.txt`, a word for the talker and one for U.

    Suffixes take turns. Returns `root`.
    """
    rng = np.random.default_rng(0)
    for t in range(n_talkers):
        folder = root / f"talker{t}"
        folder.mkdir(parents=True)
        for u in range(n_utts):
            n = round(seconds * rate)
            tone = 0.1 * np.sin(2 * np.pi * (200 + 50 * t) * np.arange(n) / rate)
            tone += 0.01 * rng.standard_normal(n)
            suffix = suffixes[(t * n_utts + u) % len(suffixes)]
            soundfile.write(folder / f"{u}.{suffix}", tone, rate)
            words = f"{WORDS[t % 10].title()}, {WORDS[(t + u) % 10]}!\n"
            (folder / f"{u}.txt").write_text(words)
    return root
