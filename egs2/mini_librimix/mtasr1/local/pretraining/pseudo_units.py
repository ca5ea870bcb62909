"""Targets for each talker of a mixture without transcripts: clusters of frames.

An encoder processes every talker alone. Its frames, clustered by k-means, are
pseudo-units that another encoder learns to predict for all talkers of the mixture at
once. Source: HuBERT (Hsu et al., IEEE/ACM TASLP 2021), where clusters of one round are
the targets of the next, and Cocktail HuBERT (Fazel-Zarandi and Hsu, ICASSP 2023), which
predicts those of all sources of a mixture.
"""

from pathlib import Path
from typing import List, Sequence

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from small_wavlm import hear
from transformers import WavLMModel

from espnet_mtasr.asr.encoder.wavlm import receptive_field

# A frame is silent if the talker is this much weaker than in the loudest frame.
SILENCE_DB = 40.0
BATCH = 24


class PseudoUnits:
    """Pseudo-units of single talkers.

    Args:
        encoder: Folder of the encoder that computes them, in Hugging Face format.
        layer: Transformer layer whose output is clustered, from 1.
        num_units: Clusters; one more unit stands for silence.
    """

    def __init__(self, encoder: Path, layer: int, num_units: int):
        self.wavlm = WavLMModel.from_pretrained(encoder, dtype=torch.float32).eval()
        self.layer = layer
        self.num_units = num_units
        self.silence = num_units
        self.centroids = torch.zeros(num_units, self.wavlm.config.hidden_size)

    def fit(self, recordings: Sequence[np.ndarray], seed: int) -> None:
        """Cluster the frames of `(N,)` float32 recordings; `seed` is for k-means."""
        frames = []
        for start in range(0, len(recordings), BATCH):
            waves = [torch.from_numpy(r) for r in recordings[start : start + BATCH]]
            hidden, lengths = self._hear(waves)
            frames += [row[:n] for row, n in zip(hidden, lengths.tolist())]
        kmeans = MiniBatchKMeans(
            self.num_units, random_state=seed, batch_size=4096, n_init=3
        ).fit(torch.cat(frames).numpy())
        self.centroids = torch.from_numpy(kmeans.cluster_centers_).float()

    @torch.no_grad()
    def _hear(self, waves: List[torch.Tensor]):
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        outputs, frames = hear(self.wavlm, padded, lengths)
        return outputs.hidden_states[self.layer], frames

    @torch.no_grad()
    def label(self, sources: List[torch.Tensor], frames: int) -> torch.Tensor:
        """Return units `(len(sources), frames)` of talkers `(N,)` in mixture time."""
        hidden, _ = self._hear(sources)
        distances = torch.cdist(hidden, self.centroids[None].to(hidden.dtype))
        units = distances.argmin(-1)
        units = torch.nn.functional.pad(
            units, (0, max(0, frames - units.size(1))), value=self.silence
        )[:, :frames]
        for row, source in enumerate(sources):
            quiet = ~self._is_loud(source, frames)
            units[row, quiet] = self.silence
        return units

    def _is_loud(self, source: torch.Tensor, frames: int) -> torch.Tensor:
        """Return whether the talker is loud in each frame's middle, `(frames,)`."""
        config = self.wavlm.config
        stride = int(np.prod(config.conv_stride))
        before = (receptive_field(config) - stride) // 2
        power = source[before:].square()
        missing = frames * stride - len(power)
        power = torch.nn.functional.pad(power, (0, max(0, missing)))[: frames * stride]
        levels = power.view(frames, stride).mean(1)
        return levels > levels.max() * 10 ** (-SILENCE_DB / 10)
