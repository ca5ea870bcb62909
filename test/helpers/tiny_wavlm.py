"""WavLM in Hugging Face format, small enough for a test: 16 units, 4 layers."""

import json
from pathlib import Path

import torch
from transformers import WavLMConfig, WavLMModel

# WavLM-Large's form and that of the base models.
LARGE_FORM = dict(do_stable_layer_norm=True, feat_extract_norm="layer")
BASE_FORM = dict(do_stable_layer_norm=False, feat_extract_norm="group")
FORMS = {
    "large form": LARGE_FORM,
    "base form": BASE_FORM,
    "base form, layer-norm convolutions": {**BASE_FORM, "feat_extract_norm": "layer"},
}
# 50 samples make the first frame, 40 more each other.
SHORTEST, HOP = 50, 40


def tiny_config(**form) -> WavLMConfig:
    """Configuration of a model that sees `SHORTEST` samples and moves by `HOP`."""
    return WavLMConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=[6, 6, 6],
        conv_kernel=[10, 5, 2],
        conv_stride=[5, 4, 2],
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        num_buckets=16,
        max_bucket_distance=32,
        **form,
    )


def tiny_wavlm(seed: int = 0, **form) -> WavLMModel:
    """Model in evaluation mode in which every parameter matters to the output."""
    torch.manual_seed(seed)
    wavlm = WavLMModel(tiny_config(**form)).eval()
    with torch.no_grad():
        # Drawn as transformers does, position biases and norms would hardly show.
        for parameter in wavlm.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return wavlm


def save_wavlm(wavlm: WavLMModel, folder: Path, do_normalize: bool) -> str:
    """Write the model as published ones are written, and return the folder."""
    wavlm.save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({"do_normalize": do_normalize}), encoding="utf-8")
    return str(folder)
