"""Embeddings of talkers' voices, from where each talks alone."""

import warnings
from pathlib import Path
from typing import List, Optional, Sequence

import numpy as np
import torch

from espnet_mtasr.data.audio import resample
from espnet_mtasr.transcription.transcript import Voice, Word

# Hz; samples of a window and from one to the next; mel bins.
RATE, WINDOW, HOP, MELS = 16000, 400, 160, 40
# Frames of a segment, and from one to the next.
SEGMENT, STEP = 160, 80
# RMS to which quieter samples are raised.
LOUDNESS = 10 ** (-30 / 20)
# Seconds: a talker goes on talking between two words that are at most so far apart;
# what is used if less is said alone is all that is said; less than this is too little.
GAP, ALONE, SHORTEST = 0.5, 0.3, 0.1
# Seconds alone as weights: a voice among others counts little, a second is enough.
LEAST, MOST = 0.1, 1.0


class VoiceEncoder(torch.nn.Module):
    """Resemblyzer's speaker encoder (see `model_zoo.voice_encoder`).

    Args:
        path: Its weights; None: random ones.
    """

    def __init__(self, path: Optional[Path] = None):
        super().__init__()
        from torchaudio.transforms import MelSpectrogram

        self.lstm = torch.nn.LSTM(MELS, 256, 3, batch_first=True)
        self.linear = torch.nn.Linear(256, 256)
        if path is not None:
            state = torch.load(path, map_location="cpu", weights_only=True)
            known = self.state_dict()
            self.load_state_dict({name: state["model_state"][name] for name in known})
        with warnings.catch_warnings():
            # Lowest filters are narrower than a bin.
            warnings.simplefilter("ignore")
            self.mel = MelSpectrogram(
                RATE,
                WINDOW,
                WINDOW,
                HOP,
                n_mels=MELS,
                norm="slaney",
                mel_scale="slaney",
                pad_mode="constant",
            )
        self.eval().requires_grad_(False)

    def forward(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """Return the embedding `(256,)`, of length 1, of samples `(n,)`."""
        wave = torch.from_numpy(resample(samples, rate, RATE))
        loudness = float(wave.square().mean().sqrt())
        wave = wave * max(LOUDNESS / max(loudness, 1e-9), 1.0)
        frames = self.mel(wave).T
        starts = range(0, max(len(frames) - SEGMENT, 0) + 1, STEP)
        segments = torch.stack([frames[start : start + SEGMENT] for start in starts])
        _, (hidden, _) = self.lstm(segments)
        normalize = torch.nn.functional.normalize
        embeddings = normalize(self.linear(hidden[-1]).relu(), dim=1)
        return normalize(embeddings.mean(0), dim=0).numpy()


def embed_talkers(
    encoder: VoiceEncoder,
    samples: np.ndarray,
    talkers: Sequence[Sequence[Word]],
    rate: int,
) -> List[Voice]:
    """Return each talker's voice.

    Args:
        encoder: Makes embeddings.
        samples: `(n,)`.
        talkers: Words of each, in times of the samples.
        rate: Hz.
    """
    talking = np.zeros((len(talkers), len(samples)), bool)
    for row, words in zip(talking, talkers):
        for number, word in enumerate(words):
            after = words[number + 1].start if number + 1 < len(words) else word.end
            end = after if after - word.end <= GAP else word.end
            row[int(word.start * rate) : int(end * rate)] = True
    found: List[Voice] = []
    for row in talking:
        alone = row & (talking.sum(0) == 1)
        used = alone if alone.sum() >= ALONE * rate else row
        if used.sum() < SHORTEST * rate:
            found.append(Voice(weight=LEAST))
            continue
        embedding = encoder(samples[used], rate)
        weight = min(max(float(alone.sum()) / rate, LEAST), MOST)
        rounded = tuple(round(float(value), 4) for value in embedding)
        found.append(Voice(rounded, weight))
    return found
