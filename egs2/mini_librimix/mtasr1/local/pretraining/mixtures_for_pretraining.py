"""Examples for pretraining the small encoder: new mixtures for each step.

The first talker to begin is the target; up to two others and noise interfere.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Union

import numpy as np
from train_split import by_talker

from espnet_mtasr.corpora.librispeech import Utterance
from espnet_mtasr.data.audio import INT16, read_audio, to_int16
from espnet_mtasr.errors import UserError

RATE = 16000


@dataclass
class Example:
    """A mixture and its parts.

    Attributes:
        mixture: `(N,)` float32 samples.
        sources: Each talker's part, `(N,)` each, first to begin first.
        text: The words of the first talker to begin.
    """

    mixture: np.ndarray
    sources: List[np.ndarray]
    text: str


class Mixer:
    """Draws examples; levels are relative to the first talker to begin.

    Args:
        utterances: Recordings to draw from; all are kept in memory.
        noise_dir: Folder of WAV files.
        seed: Determines everything.
        shares: Of examples with one, two and three talkers.

    Raises:
        UserError: a recording can't be read, or there is no noise.
    """

    INTERFERER_DB = (-15.0, 5.0)
    NOISE_DB = (-25.0, -3.0)
    NOISE_SHARE = 0.6
    SECONDS_BETWEEN_ONSETS = (0.3, 1.2)
    # A higher speed also raises the pitch, which makes other talkers than the corpus's.
    SPEED = (0.9, 1.12)

    def __init__(
        self,
        utterances: List[Utterance],
        noise_dir: Path,
        seed: int,
        shares: Sequence[float],
    ):
        self.rng = random.Random(seed)
        self.shares = shares
        self.audio = {u.path: _read(u.path) for u in utterances}
        self.utterances: Dict[str, List[Utterance]] = by_talker(utterances)
        self.talkers = sorted(self.utterances)
        self.noises = [_read(path) for path in sorted(noise_dir.glob("*.wav"))]
        if not self.noises:
            raise UserError(f"{noise_dir}: has no *.wav; give noise in WHAM!'s layout")

    def draw(self) -> Example:
        """Draw an example."""
        rng = self.rng
        count = rng.choices((1, 2, 3), self.shares)[0]
        count = min(count, len(self.talkers))
        pieces, onset, text = [], 0, ""
        for k, talker in enumerate(rng.sample(self.talkers, count)):
            utterance = rng.choice(self.utterances[talker])
            speech = self._at_another_speed(self.audio[utterance.path] / INT16)
            level = 0.0
            if k == 0:
                text = utterance.text
            else:
                onset += int(RATE * rng.uniform(*self.SECONDS_BETWEEN_ONSETS))
                level = rng.uniform(*self.INTERFERER_DB)
            pieces.append((onset, speech * (10 ** (level / 20) / _rms(speech))))
        length = max(start + len(piece) for start, piece in pieces)
        sources = [
            np.pad(piece, (start, length - start - len(piece)))
            for start, piece in pieces
        ]
        mixture = np.sum(sources, axis=0)
        if rng.random() < self.NOISE_SHARE:
            mixture = mixture + self._noise(length)
        return Example(
            mixture.astype(np.float32), [s.astype(np.float32) for s in sources], text
        )

    def _at_another_speed(self, speech: np.ndarray) -> np.ndarray:
        speed = self.rng.uniform(*self.SPEED)
        places = np.arange(0, len(speech) - 1, speed)
        return np.interp(places, np.arange(len(speech)), speech)

    def _noise(self, length: int) -> np.ndarray:
        noise = self.rng.choice(self.noises) / INT16
        start = self.rng.randrange(len(noise))
        noise = np.resize(np.roll(noise, -start), length)
        return noise * (10 ** (self.rng.uniform(*self.NOISE_DB) / 20) / _rms(noise))


def _read(path: Union[str, Path]) -> np.ndarray:
    return to_int16(read_audio(path, RATE))


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)) + 1e-8)
