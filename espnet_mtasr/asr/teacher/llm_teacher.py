"""A causal language model that teaches the branches by SOT cross entropy.

Source: Shi et al., Interspeech 2026 (arXiv 2603.10587): the branch's output, shortened
and projected, is a prefix of the transcript. LoRA and the embedding of `<sc>` are
trained in phase 1. In phase 2 all of it is frozen and only passes gradients on.
LoRA: Hu et al., ICLR 2022, by `peft`.
"""

import inspect
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from espnet_mtasr.asr.checkpointing import checkpoint_layers
from espnet_mtasr.asr.frozen import is_frozen
from espnet_mtasr.asr.teacher.abs_teacher import (
    AbsTeacher,
    TeacherOutput,
    Transcript,
)
from espnet_mtasr.asr.teacher.adapting import DEFAULT_LORA, add_sc_row, with_lora
from espnet_mtasr.asr.teacher.generation import generate, pad_left
from espnet_mtasr.asr.teacher.left_out import (
    drop_left_out,
    refill_left_out,
    second_names,
)
from espnet_mtasr.asr.teacher.length_adaptor import LengthAdaptor
from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer
from espnet_mtasr.asr.teacher.packed_tokenizer import write_tokenizer
from espnet_mtasr.asr.teacher.token_scores import IGNORE, score
from espnet_mtasr.errors import UserError
from espnet_mtasr.trust import check_pretrained


class LLMTeacher(AbsTeacher):
    """Length adaptor, projection, and a causal LM with LoRA.

    The LM reads ``<bos> [speech] text`` and predicts ``text <eos>``. A checkpoint has
    the adaptor, the projection, LoRA and the row of `<sc>`, but never the LM's own
    weights. They are read from `llm` whenever the teacher is built, except in a packed
    model, whose file of weights has them all.

    Args:
        input_size: Width D of the branch's output.
        llm: Folder in Hugging Face format, or a hub id; with `llm_conf`, the
            tokenizer's file.
        downsample: Frames become 1, 2, 4 or 8 times fewer.
        lora: Options of `peft.LoraConfig`; None takes `DEFAULT_LORA`.
        llm_dtype: Type of the LM's own weights: float32, bfloat16 or float16.
        text_mask_prob: Share of the transcript's tokens that are hidden from the LM in
            training. What it can't guess from the previous words, it must learn from
            the audio.
        gradient_checkpointing: Compute the LM's layers again in the backward pass, to
            keep less in memory; loss and gradients stay the same.
        llm_conf: The LM's configuration in transformers' form, if its weights are in
            the checkpoint.

    Raises:
        UserError: `llm` can't be read, or an option is unknown or out of range.
    """

    def __init__(
        self,
        input_size: int,
        llm: str,
        downsample: int = 8,
        lora: Optional[Dict[str, Any]] = None,
        llm_dtype: str = "float32",
        text_mask_prob: float = 0.0,
        gradient_checkpointing: bool = False,
        llm_conf: Optional[Dict[str, Any]] = None,
    ):
        super().__init__()
        if not 0.0 <= text_mask_prob < 1.0:
            raise UserError(
                f"teacher_conf text_mask_prob: {text_mask_prob}; give 0 to below 1"
            )
        self.text_mask_prob = text_mask_prob
        self.tokenizer = LLMTokenizer(llm)
        base = _load_llm(llm, llm_dtype, llm_conf)
        # Without the row of `<sc>`, which is added whenever the teacher is built.
        self._llm_conf = base.config.to_dict()
        add_sc_row(base, self.tokenizer)
        base_weights = {id(p) for p in base.parameters()}
        self.adaptor = LengthAdaptor(input_size, downsample)
        self.projection = torch.nn.Linear(input_size, base.config.hidden_size)
        self.llm = with_lora(
            base, self.tokenizer.sc_id, {**DEFAULT_LORA, **(lora or {})}
        )
        if gradient_checkpointing and checkpoint_layers(base) == 0:
            raise UserError(
                f"teacher_conf gradient_checkpointing: {llm} is a model whose layers "
                f"transformers doesn't know how to checkpoint; set it to false"
            )
        # By identity, not by `requires_grad`: frozen LoRA must stay in checkpoints.
        self._base_names: Set[str] = {
            name
            for name, p in self.named_parameters(remove_duplicate=False)
            if id(p) in base_weights
        }
        self._takes_logits_to_keep = (
            "logits_to_keep" in inspect.signature(base.forward).parameters
        )
        self._lora_is_folded = False
        self.left_out = self._base_names if llm_conf is None else second_names(self)
        self.register_state_dict_pre_hook(_unfold_stored_lora)
        self.register_state_dict_post_hook(drop_left_out)
        # The LoRA that will be loaded may differ.
        self.register_load_state_dict_pre_hook(_unfold_lora)
        self.register_load_state_dict_pre_hook(refill_left_out)

    def forward(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
    ) -> TeacherOutput:
        """See `AbsTeacher.forward`."""
        logits = self._text_logits(hidden, lengths, text, text_lengths)
        targets = self._right_aligned_targets(text, text_lengths)
        return score(logits, targets, text_lengths + 1, self.tokenizer)

    def train(self, mode: bool = True) -> "LLMTeacher":
        """Set the mode; a frozen teacher's LoRA is merged into the LM's weights.

        This saves operations. Output and gradients stay the same except for rounding,
        and so do checkpoints. Weights in half precision would lose some of LoRA's
        precision, so there it isn't merged.
        """
        super().train(mode)
        self._fold_lora(is_frozen(self) and self._lm_is_float32())
        return self

    def _fold_lora(self, fold: bool) -> None:
        if fold == self._lora_is_folded:
            return
        if fold:
            self.llm.merge_adapter()
        else:
            self.llm.unmerge_adapter()
        self._lora_is_folded = fold

    def _lm_is_float32(self) -> bool:
        return all(
            p.dtype == torch.float32
            for name, p in self.named_parameters()
            if name in self._base_names
        )

    def _text_logits(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
    ) -> torch.Tensor:
        """Return logits `(B, L + 1, V)` for ``text <eos>``, aligned right.

        Rows are padded on the left, as for generation. Then all texts end at the same
        place, and logits over the vocabulary are only computed for the text.
        """
        words = self._mask(self.llm.get_input_embeddings()(text.clamp(min=0)))
        rows = [
            torch.cat([prefix, w[:m].to(prefix.dtype)])
            for prefix, w, m in zip(
                self._prefixes(hidden, lengths), words, text_lengths.tolist()
            )
        ]
        inputs, mask = pad_left(rows)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        keep = int(text_lengths.max()) + 1
        options = {"logits_to_keep": keep} if self._takes_logits_to_keep else {}
        output = self.llm(
            inputs_embeds=inputs.to(words.dtype),
            attention_mask=mask,
            position_ids=positions,
            use_cache=False,
            **options,
        )
        return output.logits[:, -keep:]

    def _prefixes(
        self, hidden: torch.Tensor, lengths: torch.Tensor
    ) -> List[torch.Tensor]:
        """Return embeddings `(n, E)` of each row's ``<bos> [speech]``."""
        speech, speech_lengths = self.adaptor(hidden, lengths)
        speech = self.projection(speech)
        bos_id = torch.tensor([self.tokenizer.bos_id], device=speech.device)
        bos = self.llm.get_input_embeddings()(bos_id).to(speech.dtype)
        return [
            torch.cat([bos, row[:n]]) for row, n in zip(speech, speech_lengths.tolist())
        ]

    def generate(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        limits: Sequence[int],
        beam_size: int = 1,
        length_penalty: float = 1.0,
    ) -> List[Transcript]:
        """See `AbsTeacher.generate`."""
        return generate(
            self.llm.get_base_model(),
            self._prefixes(hidden, lengths),
            limits,
            self.tokenizer,
            beam_size,
            length_penalty,
            self.guards_loops,
        )

    def pack(self, tokenizer_file: Path) -> Dict[str, Any]:
        """See `AbsTeacher.pack`; LoRA stays apart from the LM's weights."""
        if self._llm_conf.get("quantization_config") is not None:
            raise UserError(
                "teacher_conf llm: a quantized model can't be packed; omit "
                "--pack_teacher"
            )
        write_tokenizer(self.tokenizer.tokenizer, tokenizer_file)
        self.left_out = second_names(self)
        return dict(llm_conf=self._llm_conf)

    def _mask(self, words: torch.Tensor) -> torch.Tensor:
        """Hide some tokens `(B, L, E)` in training."""
        if not self.training or self.text_mask_prob == 0.0:
            return words
        hidden = torch.rand(words.shape[:2], device=words.device) < self.text_mask_prob
        return words.masked_fill(hidden[..., None], 0.0)

    def _right_aligned_targets(
        self, text: torch.Tensor, text_lengths: torch.Tensor
    ) -> torch.Tensor:
        """Return ``text <eos>`` `(B, L + 1)`, aligned right; the rest is ignored."""
        rows = [row[:n] for row, n in zip(text, text_lengths.tolist())]
        eos = text.new_tensor([self.tokenizer.eos_id])
        return torch.nn.utils.rnn.pad_sequence(
            [torch.cat([row, eos]) for row in rows],
            batch_first=True,
            padding_value=IGNORE,
            padding_side="left",
        )

    def _apply(self, fn, recurse: bool = True):
        # The trainer moves the model with `to(dtype=float32)`; the LM's half-precision
        # weights would double in size.
        half = (torch.bfloat16, torch.float16)

        def keep_half(tensor: torch.Tensor) -> torch.Tensor:
            moved = fn(tensor)
            return moved.to(tensor.dtype) if tensor.dtype in half else moved

        return super()._apply(keep_half, recurse)


def _load_llm(llm: str, dtype: str, conf: Optional[Dict[str, Any]]) -> PreTrainedModel:
    dtypes = ("float32", "bfloat16", "float16")
    if dtype not in dtypes:
        raise UserError(f"teacher_conf llm_dtype: {dtype}; choose one of {dtypes}")
    options = dict(dtype=getattr(torch, dtype), trust_remote_code=False)
    if conf is not None:
        return _build_llm(conf, options)
    try:
        return AutoModelForCausalLM.from_pretrained(llm, **options)
    except (OSError, ValueError) as e:
        raise UserError(
            f"teacher_conf llm: {llm} is neither a folder with a causal LM nor a hub "
            f"id that can be reached ({type(e).__name__}); run stage 6 or name another"
        ) from e


def _build_llm(conf: Dict[str, Any], options: Dict[str, Any]) -> PreTrainedModel:
    """Return an LM with random weights."""
    check_pretrained(None, "teacher_conf: llm_conf", conf)
    try:
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**conf), **options)
    except (ValueError, TypeError) as e:
        reason = str(e).splitlines()[0]
        raise UserError(
            f"teacher_conf llm_conf: is not a causal LM's ({reason}); get the model "
            f"again"
        ) from e


def _unfold_lora(module, *args) -> None:
    module._fold_lora(False)


def _unfold_stored_lora(module, *args) -> None:
    # LoRA is stored too: in the LM's weights as well, it would count twice.
    if module.left_out != module._base_names:
        module._fold_lora(False)
