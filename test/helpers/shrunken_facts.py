"""Published models without their size, for benchmarks that build models by hub id."""

from pathlib import Path
from typing import Any, Dict

from helpers.shrunken_configs import CONF, LLM_SIZES, WAVLM_SIZES

from tools import published_models

WHISPER_SIZES = dict(
    d_model=16, encoder_layers=4, encoder_attention_heads=2, encoder_ffn_dim=24
)
SIZES = {"wavlm": WAVLM_SIZES, "whisper": WHISPER_SIZES}


def shrunken_facts(vocabulary: int) -> Dict[str, Dict[str, Any]]:
    """What published_models.json says, with tiny sizes.

    Args:
        vocabulary: Tokens of the language models.
    """
    shrunken = {}
    for hub_id, facts in published_models.FACTS.items():
        sizes = next((of for kind, of in SIZES.items() if kind in hub_id), LLM_SIZES)
        shrunken[hub_id] = {**facts, "config": {**facts["config"], **sizes}}
        if "tokenizer_length" in facts:
            shrunken[hub_id]["tokenizer_length"] = vocabulary
            shrunken[hub_id]["config"]["vocab_size"] = vocabulary
    return shrunken


def shrunken_config(phase: int, folder: Path) -> Path:
    """The LibriMix recipe's configuration for models of `shrunken_facts`."""
    text = (CONF / f"train_phase{phase}.yaml").read_text()
    for old, new in (
        ("num_trunk_layers: 12", "num_trunk_layers: 2"),
        ("hidden_size: 896", "hidden_size: 8"),
    ):
        text = text.replace(old, new)
    path = folder / f"train_phase{phase}.yaml"
    path.write_text(text)
    return path
