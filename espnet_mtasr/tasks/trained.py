"""Read and check what a training leaves behind: config.yaml and checkpoints."""

import argparse
import logging
import zipfile
from pathlib import Path
from typing import Any, Dict, Union

import torch
import yaml

from espnet_mtasr.asr.weights import check_weights, misfit, read_weights
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import find_beside

PathLike = Union[Path, str]
# Entries of a trained model's configuration, and what they are.
NEEDED = dict(token_list=list, talker_counts=list, token_type=str, model_conf=dict)

# The same as yaml.safe_load's, but many times as fast if libyaml is available. A list
# of thousands of tokens takes long.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_train_config(path: PathLike) -> argparse.Namespace:
    """Read the config.yaml of a training.

    Raises:
        UserError: the file is missing, isn't a configuration, or names a missing file.
    """
    path = Path(path)
    _check_there(path)
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (yaml.YAMLError, UnicodeDecodeError):
        config = None
    if not isinstance(config, dict) or "encoder_conf" not in config:
        raise UserError(
            f"{path}: is not the configuration of a trained model; "
            f"name the config.yaml that the training wrote"
        )
    _check_entries(path, config)
    args = argparse.Namespace(**config)
    normalize_conf = config.get("normalize_conf") or {}
    if normalize_conf.get("stats_file") is not None:
        found = find_beside(normalize_conf["stats_file"], path.absolute().parent)
        args.normalize_conf = {**normalize_conf, "stats_file": found}
    return args


def _check_entries(path: Path, config: Dict[str, Any]) -> None:
    """Raise `UserError` unless a configuration has what every model needs."""
    for name, kind in NEEDED.items():
        if not isinstance(config.get(name), kind):
            raise UserError(
                f"{path}: lacks {name}; name the config.yaml that the training wrote"
            )
    tokens = config["token_list"]
    if len(set(tokens)) < len(tokens):
        twice = next(t for k, t in enumerate(tokens) if t in tokens[:k])
        raise UserError(
            f"{path}: token_list has {twice!r} twice; name the config.yaml that the "
            f"training wrote"
        )
    if "<unk>" not in tokens:
        raise UserError(
            f"{path}: token_list lacks <unk>; name the config.yaml that the training "
            f"wrote"
        )


def read_checkpoint(path: PathLike, with_teacher: bool) -> Dict[str, Any]:
    """Read a model's weights, with or without its teacher's.

    Raises:
        UserError: the file is missing or has no weights, or they are of a diverged
            training.
    """
    _check_there(Path(path))
    state = read_weights(path, () if with_teacher else ("teacher.",))
    check_weights(state.items(), path, "name another checkpoint")
    return state


def check_resumable(args: argparse.Namespace) -> None:
    """Raise `UserError` if a training would resume from a half-written checkpoint.

    ESPnet writes it in place, so a run that is killed while writing leaves a part.
    """
    if not args.resume or args.output_dir is None:
        return
    folder = Path(args.output_dir)
    path = folder / "checkpoint.pth"
    if path.exists() and not zipfile.is_zipfile(path):
        raise UserError(
            f"{path}: is damaged, the run was killed while it wrote it; remove it, and "
            f"start anew with --init_param and the last good {folder}/*epoch.pth"
        )


def load_exactly(model: torch.nn.Module, state: Dict[str, Any], path: PathLike) -> None:
    """Load weights, in the model's own precision; `path` is for messages.

    Raises:
        UserError: a weight is missing, unexpected or has another shape.
    """
    try:
        result = model.load_state_dict(state, strict=False)
    except RuntimeError as e:
        raise UserError(
            f"{path}: doesn't fit the model ({misfit(e)}); "
            f"use the config.yaml that this checkpoint was trained with"
        ) from e
    for problem, keys in (
        ("missing", result.missing_keys),
        ("unexpected", result.unexpected_keys),
    ):
        if keys:
            raise UserError(
                f"{path}: {problem} weights ({len(keys)}, for example {keys[0]}); "
                f"use the config.yaml that this checkpoint was trained with"
            )
    logging.info(f"loaded {path}")


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file; train first or name another")
