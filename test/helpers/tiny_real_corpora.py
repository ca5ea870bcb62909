"""Folders as Mini LibriSpeech and speechocean762 have them, out of tones."""

from pathlib import Path
from typing import Sequence

import numpy as np
import soundfile

WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliet".upper().split()
TEST = ("163", "1970", "2136", "3664", "4640", "7859")
DEV = ("19", "32", "7312")
TRAIN = ("118", "226", "332", "460")
RATE = 16000


def tone(hertz: float, seconds: float, silence: float = 0.0) -> np.ndarray:
    """Return a tone with a hiss, and so much silence on both sides."""
    rng = np.random.default_rng(round(hertz))
    n = round(seconds * RATE)
    sound = 0.1 * np.sin(2 * np.pi * hertz * np.arange(n) / RATE)
    sound += 0.01 * rng.standard_normal(n)
    quiet = np.zeros(round(silence * RATE))
    return np.concatenate([quiet, sound, quiet])


def make_mini_librispeech(
    root: Path,
    subset: str = "train-clean-5",
    talkers: Sequence[str] = (*TRAIN, *DEV, *TEST),
    n_utts: int = 2,
) -> Path:
    """Write `root/LibriSpeech/SUBSET/TALKER/9`; each talker says words of its own."""
    for t, talker in enumerate(talkers):
        chapter = root / "LibriSpeech" / subset / talker / "9"
        chapter.mkdir(parents=True)
        lines = []
        for u in range(n_utts):
            utt = f"{talker}-9-{u:04d}"
            samples = tone(200 + 20 * t, 1.6 + 0.1 * u)
            soundfile.write(chapter / f"{utt}.flac", samples, RATE, subtype="PCM_16")
            spelled = " ".join(WORDS[int(digit)] for digit in talker)
            lines.append(f"{utt} {spelled} {WORDS[u]}\n")
        (chapter / f"{talker}-9.trans.txt").write_text("".join(lines))
    rows = [f"{talker} | {'MF'[t % 2]} | x | 1 | N" for t, talker in enumerate(talkers)]
    (root / "LibriSpeech" / "SPEAKERS.TXT").write_text("\n".join(rows) + "\n")
    return root


def make_speechocean762(root: Path, n_train: int = 36, n_test: int = 3) -> Path:
    """Write tables and recordings, a sentence a talker, with silence around it."""
    for part, first, number in (("train", 1, n_train), ("test", 5001, n_test)):
        tables = {name: [] for name in ("wav.scp", "text", "utt2spk", "spk2gender")}
        for talker in range(first, first + number):
            spk, utt = f"{talker:04d}", f"{talker:04d}00011"
            path = f"WAVE/SPEAKER{spk}/{utt}.WAV"
            (root / path).parent.mkdir(parents=True)
            samples = tone(300 + 5 * (talker % 90), 1.2, silence=0.5)
            soundfile.write(root / path, samples, RATE, subtype="PCM_16")
            place = talker % 100
            words = f"{WORDS[place % 10]} {WORDS[place // 10]} {part.upper()}"
            tables["wav.scp"].append(f"{utt}\t{path}")
            tables["text"].append(f"{utt}\t{words}")
            tables["utt2spk"].append(f"{utt} {spk}")
            tables["spk2gender"].append(f"{spk} {'mf'[talker % 2]}")
        (root / part).mkdir()
        for name, lines in tables.items():
            (root / part / name).write_text("\n".join(lines) + "\n")
    return root
