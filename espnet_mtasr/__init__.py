"""Multi-talker ASR beside ESPnet2: an LLM teaches the encoder, CTC writes the words."""

__version__ = "0.1.0"
