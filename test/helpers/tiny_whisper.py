"""Whisper in Hugging Face format, small enough for a test: 16 units, 4 layers."""

from pathlib import Path

import torch
from helpers.tiny_models import make_tiny_tokenizer
from transformers import (
    WhisperConfig,
    WhisperForConditionalGeneration,
    WhisperModel,
)


def tiny_config(**changes) -> WhisperConfig:
    """Configuration of a model that hears 30 s, as all Whispers do."""
    options = dict(
        vocab_size=40,
        num_mel_bins=80,
        d_model=16,
        encoder_layers=4,
        encoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=24,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    return WhisperConfig(**{**options, **changes})


def tiny_whisper(seed: int = 0, **changes) -> WhisperModel:
    """Model in evaluation mode in which every parameter matters to the output."""
    torch.manual_seed(seed)
    model = WhisperModel(tiny_config(**changes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embed_positions" not in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def save_whisper(model: WhisperModel, folder: Path) -> str:
    """Save it in Hugging Face format; return the folder."""
    model.save_pretrained(folder)
    return str(folder)


def make_tiny_whisper(folder: Path, *more_tokens: str) -> Path:
    """Write a whole Whisper, decoder and tokenizer included; return its folder.

    The tokenizer is `make_tiny_tokenizer`'s, with `more_tokens`.
    """
    tokenizer = make_tiny_tokenizer(folder)
    tokenizer.add_tokens(list(more_tokens), special_tokens=True)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = tiny_config(
        vocab_size=len(tokenizer),
        decoder_layers=2,
        eos_token_id=1,
        decoder_start_token_id=7,
    )
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.tie_weights()
    model.save_pretrained(folder)
    return folder
