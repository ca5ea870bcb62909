"""The LibriMix recipe's configurations with tiny models of the same classes."""

import json
from pathlib import Path
from typing import Any, Dict

import torch
import yaml
from helpers.tiny_models import WAVLM_CONF, make_tiny_tokenizer
from helpers.tiny_whisper import save_whisper, tiny_whisper

from tools.published_models import facts_of

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "egs2" / "librimix" / "mtasr1" / "conf"
CONFIGS = sorted((CONF / "tuning").glob("train_*.yaml"))
# What kinds of layers there are, and dropout, stay those of the published model. Half
# of the layers are the trunk's, as in the configurations.
KINDS = ("feat_extract_norm", "do_stable_layer_norm")
WAVLM_SIZES = {
    name: value
    for name, value in WAVLM_CONF.items()
    if name not in KINDS and not name.endswith("dropout")
} | {"num_hidden_layers": 4}
LLM_SIZES = dict(
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=8,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=1,
)
CONFORMER_SIZES = dict(output_size=16, attention_heads=2, linear_units=24, num_blocks=1)


def _folder_of(folder: Path, hub_id: str) -> Path:
    return folder / hub_id.replace("/", "--")


def tiny_wavlm_of(hub_id: str, folder: Path) -> Path:
    """Save a tiny WavLM whose kinds of layers are the published model's."""
    from transformers import WavLMConfig, WavLMModel

    target = _folder_of(folder, hub_id)
    if not target.exists():
        torch.manual_seed(3)
        config = {**facts_of(hub_id)["config"], **WAVLM_SIZES}
        WavLMModel(WavLMConfig.from_dict(config)).save_pretrained(target)
        text = json.dumps({"do_normalize": config["feat_extract_norm"] == "layer"})
        (target / "preprocessor_config.json").write_text(text)
    return target


def tiny_whisper_of(hub_id: str, folder: Path) -> Path:
    """Save a tiny Whisper with as many mel bins as the published model has."""
    target = _folder_of(folder, hub_id)
    if not target.exists():
        bins = facts_of(hub_id)["config"]["num_mel_bins"]
        save_whisper(tiny_whisper(num_mel_bins=bins), target)
    return target


def tiny_llm_of(hub_id: str, folder: Path) -> Path:
    """Save a tiny causal LM of the published model's class, and a tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    target = _folder_of(folder, hub_id)
    if not target.exists():
        size = len(make_tiny_tokenizer(target))
        torch.manual_seed(5)
        config = {**facts_of(hub_id)["config"], **LLM_SIZES, "vocab_size": size}
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
        model.save_pretrained(target)
    return target


def shrink(path: Path, folder: Path) -> Dict[str, Any]:
    """A configuration with its sizes divided and its models replaced.

    Args:
        path: Configuration of the recipe.
        folder: Where tiny models are saved, and found by other configurations.
    """
    config = yaml.safe_load(path.read_text())
    encoder = config["encoder_conf"]
    if config["encoder"] == "routed_whisper":
        encoder["num_trunk_layers"] = 2
        encoder["model"] = str(tiny_whisper_of(encoder["model"], folder))
    elif config["encoder"] == "routed_wavlm":
        layers = facts_of(encoder["model"])["config"]["num_hidden_layers"]
        tiny = WAVLM_SIZES["num_hidden_layers"]
        encoder["num_trunk_layers"] = encoder["num_trunk_layers"] * tiny // layers
        encoder["model"] = str(tiny_wavlm_of(encoder["model"], folder))
    else:
        for half in ("trunk_conf", "branch_conf"):
            encoder[half] = {**encoder[half], **CONFORMER_SIZES}
    if "separator" in config:
        config["separator_conf"]["hidden_size"] = 8
        config["count_head_conf"] = dict(hidden_size=8, attention_size=4)
    if "teacher" in config:
        teacher = config["teacher_conf"]
        teacher["llm"] = str(tiny_llm_of(teacher["llm"], folder))
        teacher["lora"] = {**teacher["lora"], "r": 2}
    # Data are few, too: an epoch has all of them.
    del config["num_iters_per_epoch"]
    return config
