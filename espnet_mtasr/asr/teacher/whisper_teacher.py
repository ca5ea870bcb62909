"""Whisper's own decoder as a teacher: a language model that reads its encoder's frames.

Model: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision",
2022 (arXiv 2212.04356). A text-only language model (llm_teacher.py) must learn to read
frames; this one already can, and is much smaller.
"""

import math
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set, Type

import torch
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessorList,
    WhisperConfig,
)
from transformers import WhisperForConditionalGeneration as Whisper
from transformers.modeling_outputs import BaseModelOutput

from espnet_mtasr.asr.padding import valid_mask
from espnet_mtasr.asr.teacher.abs_teacher import (
    AbsTeacher,
    TeacherOutput,
    Transcript,
)
from espnet_mtasr.asr.teacher.adapting import add_sc_row, with_lora
from espnet_mtasr.asr.teacher.generation import (
    LoopGuard,
    SOTRules,
    search_config,
    to_transcript,
)
from espnet_mtasr.asr.teacher.left_out import (
    drop_left_out,
    refill_left_out,
    second_names,
)
from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer
from espnet_mtasr.asr.teacher.packed_tokenizer import write_tokenizer
from espnet_mtasr.asr.teacher.token_scores import IGNORE, score
from espnet_mtasr.asr.teacher.whisper_tokenizer import WhisperSOTTokenizer
from espnet_mtasr.errors import UserError
from espnet_mtasr.trust import check_pretrained


class WhisperTeacher(AbsTeacher):
    """Whisper's decoder, which attends to a branch's output.

    It reads Whisper's prompt and the text, and predicts ``text <eos>``. The branch must
    be as wide as this Whisper. A checkpoint has the whole decoder.

    Args:
        input_size: Width D of the branch's output.
        llm: Folder of the Whisper in Hugging Face format, or a hub id: the same model
            as the encoder's. With `llm_conf`, the tokenizer's file.
        lora: Options of `peft.LoraConfig`; then LoRA and the row of `<sc>` are trained
            in phase 1. None: all weights of the decoder are.
        language: For the prompt of a multilingual Whisper.
        llm_conf: Whisper's configuration in transformers' form; then nothing is read
            from a pretrained Whisper.

    Raises:
        UserError: `llm` can't be read, isn't a Whisper or has another width, or an
            option is unknown.
    """

    tokenizer_class: Type[LLMTokenizer] = WhisperSOTTokenizer
    guards_loops = True

    def __init__(
        self,
        input_size: int,
        llm: str,
        lora: Optional[Dict[str, Any]] = None,
        language: str = "en",
        llm_conf: Optional[Dict[str, Any]] = None,
    ):
        super().__init__()
        self.tokenizer = WhisperSOTTokenizer(llm)
        if llm_conf is None:
            self.whisper = _load_decoder(llm)
        else:
            self.whisper = _build_decoder(llm_conf)
        config = self.whisper.config
        # Without the row of `<sc>`, which is added whenever the teacher is built.
        self._llm_conf = config.to_dict()
        if config.d_model != input_size:
            raise UserError(
                f"teacher_conf llm: {llm} is {config.d_model} wide, the encoder "
                f"{input_size}; name the encoder's own Whisper"
            )
        self.prompt = self.tokenizer.prompt(config, language)
        add_sc_row(self.whisper, self.tokenizer)
        # As in the published model, positions aren't trained.
        self.whisper.model.decoder.embed_positions.requires_grad_(False)
        if lora is not None:
            # peft's wrapper isn't needed: LoRA is in the layers.
            wrapped = with_lora(self.whisper, self.tokenizer.sc_id, lora)
            self.whisper = wrapped.get_base_model()
        self.left_out: Set[str] = set() if llm_conf is None else second_names(self)
        self.register_state_dict_post_hook(drop_left_out)
        self.register_load_state_dict_pre_hook(refill_left_out)

    def pack(self, tokenizer_file: Path) -> Dict[str, Any]:
        """See `AbsTeacher.pack`."""
        write_tokenizer(self.tokenizer.tokenizer, tokenizer_file)
        self.left_out = second_names(self)
        return dict(llm_conf=self._llm_conf)

    @property
    def max_tokens(self) -> int:
        """The longest transcript, including `<sc>`."""
        return self.whisper.config.max_target_positions - len(self.prompt)

    def forward(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
    ) -> TeacherOutput:
        """See `AbsTeacher.forward`.

        Raises:
            UserError: a transcript is longer than Whisper's positions.
        """
        longest = int(text_lengths.max())
        if longest > self.max_tokens:
            raise UserError(
                f"a transcript has {longest} tokens, and Whisper reads "
                f"{self.max_tokens}; leave such mixtures out (--max_wav_duration)"
            )
        text = text[:, :longest]
        prompt = text.new_tensor(self.prompt).expand(len(text), -1)
        ids = torch.cat([prompt, text.clamp(min=0)], dim=1)
        states = self._read(ids, hidden, lengths)[:, len(self.prompt) - 1 :]
        targets = torch.nn.functional.pad(text, (0, 1))
        places = torch.arange(longest + 1, device=text.device)
        targets = torch.where(
            places == text_lengths[:, None], self.tokenizer.eos_id, targets
        )
        targets = targets.masked_fill(places > text_lengths[:, None], IGNORE)
        return score(
            self.whisper.proj_out(states), targets, text_lengths + 1, self.tokenizer
        )

    def _read(
        self, ids: torch.Tensor, hidden: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Run the decoder on `(B, N)` tokens: `(B, N, D)`.

        transformers' own decoder takes no mask of the frames.
        """
        decoder = self.whisper.model.decoder
        states = decoder.embed_tokens(ids)
        if self.whisper.config.scale_embedding:
            states = states * math.sqrt(states.size(-1))
        states = states + decoder.embed_positions.weight[: ids.size(1)]
        causal = torch.ones(
            ids.size(1), ids.size(1), dtype=torch.bool, device=ids.device
        ).tril()[None, None]
        # A row without a frame attends to padding, or all would be NaN.
        heard = valid_mask(lengths.clamp(min=1), hidden.size(1))[:, None, None]
        for layer in decoder.layers:
            states = layer(
                states,
                attention_mask=causal,
                encoder_hidden_states=hidden.to(states.dtype),
                encoder_attention_mask=heard,
                use_cache=False,
            )
        return decoder.layer_norm(states)

    @torch.no_grad()
    def generate(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        limits: Sequence[int],
        beam_size: int = 1,
        length_penalty: float = 1.0,
    ) -> List[Transcript]:
        """See `AbsTeacher.generate`; row by row, because rows have no mask here."""
        return [
            self._write(row[: max(n, 1)], limit, beam_size, length_penalty)
            for row, n, limit in zip(hidden, lengths.tolist(), limits)
        ]

    def _write(
        self, frames: torch.Tensor, limit: int, beam_size: int, length_penalty: float
    ) -> Transcript:
        limit = min(limit, self.max_tokens)
        prompt = torch.tensor([self.prompt], device=frames.device)
        rules = SOTRules(
            torch.tensor([limit], device=frames.device),
            self.tokenizer,
            beam_size,
            prompt.size(1),
        )
        # Whisper's own `generate` is for 30 s of audio, timestamps and languages.
        [sequence] = GenerationMixin.generate(
            self.whisper,
            encoder_outputs=BaseModelOutput(
                last_hidden_state=frames[None].to(self.whisper.dtype)
            ),
            decoder_input_ids=prompt,
            logits_processor=LogitsProcessorList([LoopGuard(prompt.size(1)), rules]),
            generation_config=search_config(
                self.tokenizer,
                limit,
                beam_size,
                length_penalty,
                # Otherwise transformers would put another token before the prompt.
                decoder_start_token_id=self.prompt[0],
            ),
        ).tolist()
        return to_transcript(sequence[prompt.size(1) :], limit, self.tokenizer)


def _load_decoder(llm: str) -> Whisper:
    """Return Whisper without its encoder, in float32."""
    try:
        whisper, info = Whisper.from_pretrained(
            llm,
            dtype=torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as e:
        raise UserError(
            f"teacher_conf llm: {llm} is neither a folder with a Whisper nor a hub id "
            f"that can be reached ({type(e).__name__}); run stage 6 or name another"
        ) from e
    missing = [name for name in info["missing_keys"] if "decoder" in name]
    if missing:
        raise UserError(
            f"teacher_conf llm: {llm} lacks {len(missing)} weights of a Whisper's "
            f"decoder, {missing[0]} for one; name one that has them"
        )
    return _without_encoder(whisper)


def _build_decoder(conf: Dict[str, Any]) -> Whisper:
    """Return Whisper without its encoder, with random weights in float32."""
    check_pretrained(None, "teacher_conf: llm_conf", conf)
    config = WhisperConfig.from_dict({**conf, "encoder_layers": 0})
    config._attn_implementation = "sdpa"
    return _without_encoder(Whisper(config).float())


def _without_encoder(whisper: Whisper) -> Whisper:
    whisper.generation_config = GenerationConfig()
    whisper.model.encoder = torch.nn.Identity()
    return whisper
