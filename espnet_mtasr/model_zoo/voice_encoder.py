"""Resemblyzer's speaker encoder, out of its wheel, which is read and never imported.

Source: github.com/resemble-ai/Resemblyzer, Apache-2.0; generalized end-to-end loss
(Wan et al., ICASSP 2018), trained on LibriSpeech-other, VoxCeleb1 and VoxCeleb2.
"""

from pathlib import Path

from espnet_mtasr.model_zoo.wheels import get_file

WHEEL = "Resemblyzer==0.1.4"
SHA256 = "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f"
WEIGHTS = "resemblyzer/pretrained.pt"


def get_voice_encoder(option: str) -> Path:
    """Return the encoder's weights; download their wheel (16 MB) if needed.

    Args:
        option: For messages.

    Raises:
        UserError: the wheel can't be downloaded, or has changed.
    """
    return get_file(WHEEL, SHA256, WEIGHTS, option)
