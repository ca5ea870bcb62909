#!/usr/bin/env python3
"""Make noise in WHAM!'s folder layout: wham_noise/{tr,cv,tt}/*.wav at 16 kHz.

Four kinds take turns: babble of the same split's talkers, noise with the spectrum of
speech, colored noise with slow swells, and mains hum with clatter. All is synthetic.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import List, Optional, Sequence

from espnet_mtasr.data.audio import read_audio
from espnet_mtasr.errors import UserError, run_command_line

RATE = 16000
RMS = 10 ** (-32 / 20)


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make noise in WHAM!'s layout.")
    parser.add_argument("corpus", type=Path, help="LibriSpeech-shaped folder")
    parser.add_argument("out", type=Path, help="folder that gets wham_noise/")
    parser.add_argument("--seed", type=int, default=1)
    for split, subset, n in (
        ("tr", "train-clean-100", 60),
        ("cv", "dev-clean", 16),
        ("tt", "test-clean", 16),
    ):
        parser.add_argument(f"--n_{split}", type=int, default=n, help="files")
        parser.add_argument(f"--{split}_subset", default=subset, help="folder(s)")
    return parser


def normalize(samples):
    """Scale (N,) samples to an RMS of 1."""
    import numpy as np

    return samples / np.sqrt(np.mean(samples**2) + 1e-12)


def read_any(files: List[Path], rng, max_tries: int = 100):
    """Read a random utterance that isn't broken, (n,) samples.

    Raises:
        UserError: a hundred files in a row are broken.
    """
    for _ in range(max_tries):
        try:
            return read_audio(files[rng.integers(len(files))], RATE)
        except UserError as e:
            broken = e
    raise broken


def babble(files: List[Path], n: int, talkers: int, rng):
    """Sum `talkers` streams of concatenated utterances, (n,) samples."""
    import numpy as np

    total = np.zeros(n)
    for _ in range(talkers):
        pieces = [np.zeros(0)]
        while sum(map(len, pieces)) < n + RATE:
            pieces.append(read_any(files, rng))
        start = rng.integers(RATE)
        stream = np.concatenate(pieces)[start : start + n]
        total += normalize(stream) * rng.uniform(0.5, 1)
    return total


def speech_shaped(files: List[Path], n: int, rng):
    """Give noise the smoothed long-term spectrum of babble, (n,) samples."""
    import numpy as np

    magnitude = np.abs(np.fft.rfft(babble(files, n, 6, rng)))
    phase = np.exp(2j * np.pi * rng.random(len(magnitude)))
    smooth = np.convolve(magnitude, np.ones(80) / 80, "same")
    return np.fft.irfft(smooth * phase, n)


def colored(n: int, slope: float, rng):
    """Make noise whose power falls as 1 / f**slope above 30 Hz, (n,) samples."""
    import numpy as np

    frequency = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 30)
    return np.fft.irfft(
        np.fft.rfft(rng.standard_normal(n)) / frequency ** (slope / 2), n
    )


def swelling(n: int, rng):
    """Make colored noise that rises and falls by up to 6 dB, (n,) samples."""
    import numpy as np

    decibel = np.interp(np.arange(n), np.linspace(0, n, 9), rng.uniform(-6, 6, 9))
    return normalize(colored(n, rng.uniform(0.8, 2), rng)) * 10 ** (decibel / 20)


def clatter(n: int, rng):
    """Make 50 Hz hum with two decaying clinks a second, (n,) samples."""
    import numpy as np

    t = np.arange(n) / RATE
    samples = 0.5 * normalize(colored(n, 1, rng))
    for harmonic in (1, 2, 3, 5):
        phase = 2 * np.pi * rng.random()
        samples += 0.4 / harmonic * np.sin(2 * np.pi * 50 * harmonic * t + phase)
    length = RATE // 8
    for _ in range(2 * n // RATE):
        start = rng.integers(n - length)
        decay = np.exp(-t[:length] * rng.uniform(40, 150))
        tone = np.sin(2 * np.pi * rng.uniform(800, 5000) * t[:length])
        samples[start : start + length] += tone * decay * rng.uniform(1, 4)
    return samples


def make_split(files: List[Path], out: Path, n_files: int, seed: List[int]) -> None:
    """Write `n_files` noises of 6 to 12 s into the folder `out`."""
    import numpy as np
    import soundfile

    for number in range(n_files):
        rng = np.random.default_rng([*seed, number])
        n = int(RATE * rng.uniform(6, 12))
        kind = number % 4
        if kind == 0:
            samples = babble(files, n, 8, rng)
        elif kind == 1:
            samples = speech_shaped(files, n, rng)
        elif kind == 2:
            samples = swelling(n, rng)
        else:
            samples = clatter(n, rng)
        samples = normalize(samples) * RMS
        samples *= min(1.0, 0.98 / np.abs(samples).max())
        soundfile.write(out / f"noise{number:03d}.wav", samples, RATE, subtype="PCM_16")


def prepare_folder(root: Path, settings: str) -> None:
    """Prepare the noise folder; empty it if its noises were made differently.

    Raises:
        UserError: the folder has noise that this script didn't make.
    """
    note = root / ".settings"
    if root.exists() and not note.exists():
        raise UserError(f"{root}: wasn't made by this script; choose another OUT")
    if root.exists() and note.read_text() != settings:
        print(f"{root}: was made from other speech; making it again", file=sys.stderr)
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    note.write_text(settings)


def main(cmd: Optional[Sequence[str]] = None) -> None:
    args = get_parser().parse_args(cmd)
    root = args.out / "wham_noise"
    plan = {}
    for split in ("tr", "cv", "tt"):
        subsets = getattr(args, f"{split}_subset").split()
        files = sorted(
            path
            for subset in subsets
            for path in (args.corpus / subset).glob("*/*/*")
            if path.suffix in (".flac", ".wav")
        )
        if not files:
            raise UserError(
                f"{args.corpus / subsets[0]}: has no TALKER/CHAPTER/*.flac or *.wav; "
                f"check --{split}_subset"
            )
        plan[split] = (files, getattr(args, f"n_{split}"))
    described = [
        [split, n, [(path.name, path.stat().st_size) for path in files]]
        for split, (files, n) in plan.items()
    ]
    digest = hashlib.sha256(json.dumps([args.seed, described]).encode()).hexdigest()
    prepare_folder(root, digest)
    for index, (split, (files, n)) in enumerate(plan.items()):
        if (root / split).exists():
            print(f"{root / split}: is complete")
            continue
        part = root / f"{split}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        make_split(files, part, n, [args.seed, index])
        os.replace(part, root / split)
        print(f"{root / split}: {n} noises")


if __name__ == "__main__":
    run_command_line(main)
