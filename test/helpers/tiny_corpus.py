"""A LibriSpeech-shaped corpus and WHAM!-shaped noise out of tones, for tests."""

from pathlib import Path
from typing import Tuple

import numpy as np
import soundfile

WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliet".upper().split()


def make_tiny_corpus(
    root: Path,
    subset: str = "test-clean",
    n_talkers: int = 3,
    n_utts: int = 3,
    rate: int = 16000,
    seconds: Tuple[float, float] = (0.3, 1.2),
    suffix: str = "flac",
    first_talker: int = 11,
) -> Path:
    """Write `root/LibriSpeech/SUBSET` and `root/wham_noise/{tr,cv,tt}`.

    Utterance u of talker t says its own two words; lengths rise from `seconds[0]` to
    `seconds[1]`. Returns `root`.
    """
    rng = np.random.default_rng(0)
    durations = np.linspace(*seconds, n_talkers * n_utts)
    for t in range(n_talkers):
        chapter = root / "LibriSpeech" / subset / str(first_talker + t) / "7"
        chapter.mkdir(parents=True)
        lines = []
        for u in range(n_utts):
            utt = f"{first_talker + t}-7-{u:04d}"
            n = round(durations[t * n_utts + u] * rate)
            tone = 0.1 * np.sin(2 * np.pi * (200 + 50 * t) * np.arange(n) / rate)
            tone += 0.01 * rng.standard_normal(n)
            soundfile.write(chapter / f"{utt}.{suffix}", tone, rate, subtype="PCM_16")
            lines.append(f"{utt} {WORDS[t]} {WORDS[u]}\n")
        (chapter / f"{first_talker + t}-7.trans.txt").write_text("".join(lines))
    for split in ("tr", "cv", "tt"):
        folder = root / "wham_noise" / split
        folder.mkdir(parents=True, exist_ok=True)
        for k in range(2):
            noise = 0.05 * rng.standard_normal(rate // 2 * (k + 1))
            soundfile.write(folder / f"n{k}.wav", noise, rate, subtype="PCM_16")
    return root
