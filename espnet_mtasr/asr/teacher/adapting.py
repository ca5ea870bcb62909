"""Adapt a pretrained language model to SOT: add `<sc>` to its tables, and LoRA.

LoRA: Hu et al., ICLR 2022, by `peft`.
"""

import inspect
from typing import Any, Dict

import torch
from transformers import PreTrainedModel

from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer
from espnet_mtasr.errors import UserError

DEFAULT_LORA = dict(
    r=16,
    lora_alpha=32,
    lora_dropout=0.1,
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
)


@torch.no_grad()
def add_sc_row(base: PreTrainedModel, tokenizer: LLMTokenizer) -> None:
    """Give `<sc>` the mean embedding, also in the output layer if it isn't tied."""
    old_size = base.get_input_embeddings().num_embeddings
    rows = min(old_size, tokenizer.sc_id)
    if len(tokenizer) > old_size:
        base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tables = [base.get_input_embeddings().weight]
    output = base.get_output_embeddings()
    if output is not None and output.weight is not tables[0]:
        tables.append(output.weight)
    for table in tables:
        mean = table[:rows].float().mean(0).to(table.dtype)
        # Other new rows too: they aren't in checkpoints, so they must not be random.
        table[old_size:] = mean
        table[tokenizer.sc_id] = mean


def with_lora(base: PreTrainedModel, sc_id: int, lora: Dict[str, Any]):
    """Wrap a model with peft: LoRA, and a trainable row for `<sc>`.

    Raises:
        UserError: `lora` has an option that peft's `LoraConfig` lacks, or names modules
            that the model lacks.
    """
    from peft import LoraConfig, get_peft_model

    ours = {"task_type", "trainable_token_indices"}
    known = set(inspect.signature(LoraConfig).parameters) - ours
    unknown = sorted(set(lora) - known)
    if unknown:
        raise UserError(
            f"teacher_conf lora: {unknown[0]} is not a LoraConfig option, or is set by "
            f"the teacher; leave it out"
        )
    tables = {_name_of(base, base.get_input_embeddings()): [sc_id]}
    output = base.get_output_embeddings()
    if output is not None and output.weight is not base.get_input_embeddings().weight:
        tables[_name_of(base, output)] = [sc_id]
    config = LoraConfig(task_type="CAUSAL_LM", trainable_token_indices=tables, **lora)
    try:
        return get_peft_model(base, config)
    except ValueError as e:
        raise UserError(f"teacher_conf lora: {str(e).splitlines()[0]}") from e


def _name_of(model: torch.nn.Module, wanted: torch.nn.Module) -> str:
    """Return the last part of a submodule's name, which peft matches."""
    name = next(name for name, m in model.named_modules() if m is wanted)
    return name.rsplit(".", 1)[-1]
