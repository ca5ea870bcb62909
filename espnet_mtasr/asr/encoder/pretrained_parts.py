"""Configuration and weights of a pretrained encoder in Hugging Face format."""

from typing import Any, Callable, Collection, Dict, Optional, Sequence, Type

import torch
from safetensors import SafetensorError
from transformers import PretrainedConfig, PreTrainedModel

from espnet_mtasr.errors import UserError
from espnet_mtasr.trust import check_pretrained


def read_config(
    kinds: Sequence[Type[PretrainedConfig]],
    model: Optional[str],
    changes: Optional[Dict[str, Any]],
    option: str,
    load_pretrained: bool,
) -> PretrainedConfig:
    """Return the configuration of a model.

    Args:
        kinds: Allowed classes of transformers; messages name the first.
        model: Folder or hub id; may be None without `load_pretrained`.
        changes: Entries to change; without `load_pretrained`, the whole configuration.
        option: The option in `encoder_conf` that has them.
        load_pretrained: Whether to read `model`.

    Raises:
        UserError: there is no such model, it is of another kind, an entry is unknown or
            has no effect here (`layerdrop`, masking as in pretraining), or the
            configuration is an untrusted model's and its sizes are too large.
    """
    check_pretrained(model if load_pretrained else None, "encoder_conf", changes or {})
    kind_of = {kind.model_type: kind for kind in kinds}
    if not load_pretrained:
        kind = kind_of.get((changes or {}).get("model_type"), kinds[0])
        # The attributes that transformers adds by itself may change with its
        # version; they are not settings of the model.
        return kind.from_dict(dict(changes or {}))
    name = kinds[0].__name__.removesuffix("Config")
    if model is None:
        raise UserError("encoder_conf model: is missing; give a folder or a hub id")
    try:
        stored, _ = kinds[0].get_config_dict(model)
    except (OSError, ValueError) as e:
        raise UserError(
            f"encoder_conf model: {model} is neither a folder with a {name} "
            f"config.json nor a hub id that can be reached ({type(e).__name__}); "
            f"run stage 6 or name another"
        ) from e
    # transformers would accept another model's configuration, or none, as this one's.
    if stored.get("model_type") not in kind_of:
        raise UserError(
            f"encoder_conf model: {model} has no config.json of a {name} (model_type: "
            f"{stored.get('model_type')}); run stage 6 or name another"
        )
    kind = kind_of[stored["model_type"]]
    config, unknown = kind.from_dict(
        stored, return_unused_kwargs=True, **(changes or {})
    )
    if unknown:
        raise UserError(
            f"encoder_conf {option}: {kind.__name__.removesuffix('Config')} has no "
            f"option {sorted(unknown)[0]}; {model}'s config.json lists the options"
        )
    for name, value in (changes or {}).items():
        masks = name.startswith("mask_") or name == "apply_spec_augment"
        if value and (masks or name.endswith("layerdrop")):
            instead = "; give encoder_conf branch_masking" if masks else ""
            raise UserError(
                f"encoder_conf {option}: {name}: {value} is not used here{instead}; "
                f"remove it"
            )
    return config


def trunk_layers(wanted: Optional[int], layers: int) -> int:
    """Return how many of a model's layers are the trunk's; None: half of them.

    Raises:
        UserError: trunk or branches would have none.
    """
    number = layers // 2 if wanted is None else wanted
    if not 1 <= number < layers:
        raise UserError(
            f"encoder_conf num_trunk_layers: {number} is not between 1 and "
            f"{layers - 1} for this model; choose one that is"
        )
    return number


def use_sdpa(config: PretrainedConfig, changes: Optional[Dict[str, Any]]) -> None:
    """Make a model use torch's scaled_dot_product_attention.

    Only this implementation reads masks in this package's form.

    Raises:
        UserError: `changes` set another implementation.
    """
    for key, value in (changes or {}).items():
        if "attn_implementation" in key and value not in (None, "sdpa"):
            raise UserError(
                f"encoder_conf: {key}: {value}: only sdpa applies the masks correctly; "
                f"leave it out"
            )
    config._attn_implementation = "sdpa"


def run_layers(
    call: Callable[..., Any],
    layers: torch.nn.ModuleList,
    hidden: torch.Tensor,
    mask: Optional[torch.Tensor],
) -> torch.Tensor:
    """Run transformers' layers on `(B, T, D)`, see `use_sdpa`.

    Args:
        call: See `checkpointing.layer_caller`.
        layers: Of a model.
        hidden: `(B, T, D)`.
        mask: `(B, T)`, False where padding is; None: nowhere.
    """
    if mask is not None:
        mask = mask[:, None, None, :]
    for layer in layers:
        hidden = call(layer, hidden, attention_mask=mask)
        # A tuple in older versions of transformers.
        hidden = hidden if torch.is_tensor(hidden) else hidden[0]
    return hidden


def load_weights(
    kind: Type[PreTrainedModel],
    model: str,
    config: PretrainedConfig,
    option: str,
    needed: str = "",
    optional: Collection[str] = (),
) -> PreTrainedModel:
    """Return a model in float32 with all weights whose names begin with `needed`.

    Args:
        kind: transformers' class of it.
        model: Folder or hub id.
        config: As `read_config` returns it.
        option: The option that changed it, for messages.
        needed: Prefixes; other weights may be missing and stay random.
        optional: Weights that may be missing nevertheless.

    Raises:
        UserError: they can't be read or don't fit, or one is missing.
    """
    try:
        loaded, info = kind.from_pretrained(
            model, config=config, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as e:
        raise UserError(
            f"encoder_conf model: the weights of {model} can't be read, or don't fit "
            f"its config.json and {option} ({type(e).__name__}); "
            f"run stage 6 or name another"
        ) from e
    missing = sorted(
        name
        for name in info["missing_keys"]
        if name.startswith(needed) and name not in optional
    )
    if missing:
        raise UserError(
            f"encoder_conf model: {model} lacks {len(missing)} weights, {missing[0]} "
            f"for one; does {option} change its size? Run stage 6 or name another"
        )
    return loaded
