"""A small WavLM whose first convolution starts as a mel filterbank.

Learning a filterbank from scratch took several times as many steps. 25 ms windows every
10 ms and strides of 2 make frames of 80 ms, which keep the rest fast on a CPU.
"""

import math
from typing import Tuple

import torch
from mixtures_for_pretraining import RATE
from transformers import WavLMConfig, WavLMModel
from transformers.modeling_outputs import BaseModelOutput

from espnet_mtasr.asr.encoder.wavlm import normalize_samples, wavlm_output_lengths
from espnet_mtasr.asr.padding import valid_mask

WINDOW, HOP = 400, 160
BANDS, PHASES = 40, 4


def wavlm_config(hidden_size: int, num_layers: int) -> WavLMConfig:
    """Return a small configuration like WavLM-Large's (layer norm before each part)."""
    return WavLMConfig(
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        intermediate_size=hidden_size * 3,
        conv_dim=(BANDS * PHASES, 96, 96, 128),
        conv_stride=(HOP, 2, 2, 2),
        conv_kernel=(WINDOW, 4, 4, 4),
        conv_bias=False,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=8,
        num_buckets=32,
        max_bucket_distance=80,
        hidden_dropout=0.1,
        attention_dropout=0.1,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.0,
    )


def mel_filterbank() -> torch.Tensor:
    """Return mel-spaced filters in four phases each, `(BANDS * PHASES, 1, WINDOW)`.

    Half-wave rectified (GELU follows), the phases of a band add up to its envelope.
    Above 500 Hz the gain grows with frequency, as the spectrum of speech falls.
    """

    def hertz(mel: float) -> float:
        return 700 * (10 ** (mel / 2595) - 1)

    lowest, highest = (2595 * math.log10(1 + f / 700) for f in (80, 7200))
    step = (highest - lowest) / (BANDS - 1)
    t = (torch.arange(WINDOW) - WINDOW / 2) / RATE
    filters = []
    for band in range(BANDS):
        mel = lowest + band * step
        centre = hertz(mel)
        width = hertz(mel + step / 2) - hertz(mel - step / 2)
        duration = 1 / (2 * math.pi * 0.6 * width)
        duration = min(max(duration, 0.002), WINDOW / RATE / 5)
        envelope = torch.exp(-0.5 * (t / duration) ** 2)
        for phase in range(PHASES):
            angle = 2 * math.pi * (centre * t + phase / PHASES)
            wave = envelope * torch.cos(angle)
            filters.append(wave / wave.norm() * max(1.0, centre / 500) ** 0.5)
    return torch.stack(filters)[:, None]


@torch.no_grad()
def start_as_filterbank(wavlm: WavLMModel) -> None:
    """Set the first convolution to a filterbank; the second adds up phases and time."""
    first, second = (layer.conv for layer in wavlm.feature_extractor.conv_layers[:2])
    first.weight.copy_(mel_filterbank())
    for band in range(BANDS):
        phases = slice(band * PHASES, (band + 1) * PHASES)
        second.weight[band] *= 0.1
        second.weight[band, phases] += 0.15


def hear(
    wavlm: WavLMModel, waves: torch.Tensor, lengths: torch.Tensor
) -> Tuple[BaseModelOutput, torch.Tensor]:
    """Return outputs of all layers for padded samples `(B, N)`, and frames `(B,)`."""
    mask = valid_mask(lengths, waves.size(1)).long()
    outputs = wavlm(normalize_samples(waves, lengths), mask, output_hidden_states=True)
    return outputs, wavlm_output_lengths(wavlm.config, lengths)
