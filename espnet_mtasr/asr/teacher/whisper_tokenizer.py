"""Whisper's tokenizer with `<sc>`, and the prompt that its decoder begins with."""

from typing import List

from transformers import WhisperConfig

from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer

# Vocabularies of multilingual models have at least this many tokens.
MULTILINGUAL = 51865


class WhisperSOTTokenizer(LLMTokenizer):
    """See `LLMTokenizer`; words begin with a blank, as Whisper has read them."""

    def _encode_talker(self, text: str) -> List[int]:
        return super()._encode_talker(f" {text}")

    def prompt(self, config: WhisperConfig, language: str) -> List[int]:
        """Return the tokens before the text: language, task, no timestamps.

        Args:
            config: Of the Whisper.
            language: For instance `en`; a model of English alone has none.
        """
        names = ["<|notimestamps|>"]
        if config.vocab_size >= MULTILINGUAL:
            names = [f"<|{language}|>", "<|transcribe|>", *names]
        known = self.tokenizer.get_vocab()
        return [
            config.decoder_start_token_id,
            *(known[name] for name in names if name in known),
        ]
