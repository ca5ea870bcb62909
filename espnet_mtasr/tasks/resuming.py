"""Check that a training may resume, by comparing its settings key by key.

ESPnet resumes from any checkpoint that fits, even with other data, tokens or losses.
The file `.inputs` beside it has the settings that affect results, with each file as a
hash of its content, so that a list or a model may move.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import sha256_of, write_whole
from espnet_mtasr.tasks.building import token_list_of
from espnet_mtasr.tasks.options import flatten, is_part
from espnet_mtasr.tasks.trained import read_train_config

INPUTS = ".inputs"
# Not compared: folders, names, and what is made from the lists.
UNRELATED = (
    *("config", "output_dir", "required", "dry_run", "print_config", "resume"),
    *("resume_anyway", "collect_stats", "train_shape_file", "valid_shape_file"),
    *("dist_init_method", "dist_world_size", "dist_rank", "local_rank"),
    *("dist_master_addr", "dist_master_port", "dist_launcher"),
)
# Reported: the same training on another machine, in other portions, for longer, or with
# other logs. A setting that isn't here may change results.
HARMLESS = (
    # length and logs
    *("max_epoch", "num_iters_per_epoch", "patience", "log_level", "log_interval"),
    "num_att_plot",
    *("use_matplotlib", "use_tensorboard", "create_graph_in_tensorboard", "use_wandb"),
    *("wandb_project", "wandb_id", "wandb_entity", "wandb_name", "detect_anomaly"),
    *("wandb_model_log_interval", "wandb_allow_val_change"),
    # machine
    *("ngpu", "num_workers", "dist_backend", "multiprocessing_distributed"),
    *("unused_parameters", "sharded_ddp", "gradient_as_bucket_view", "ddp_comm_hook"),
    *("cudnn_enabled", "cudnn_benchmark", "cudnn_deterministic", "use_tf32"),
    *("max_cache_size", "max_cache_fd", "valid_max_cache_size"),
    # memory
    *("batch_size", "batch_bins", "batch_seconds", "valid_batch_size"),
    *("valid_batch_bins", "min_batch_size", "max_batch_size", "fold_length"),
    *("accum_grad", "encoder_conf.gradient_checkpointing"),
    "teacher_conf.gradient_checkpointing",
    "preprocessor_conf.cache_megabytes",
    "preprocessor_conf.dynamic_mixing_conf.cache_megabytes",
)
# Entries of config.yaml that building the model changes.
BUILT = ("frontend", "input_size", "token_list", "version", "distributed")
MOST_NAMED = 8

Change = Tuple[str, Any, Any]


def inputs_of(args: argparse.Namespace) -> Dict[str, Any]:
    """Return what a training depends on: flat options, and files by content."""
    options = flatten(vars(args)).items()
    return {key: content_of(v) for key, v in options if key not in UNRELATED}


def content_of(value: Any) -> Any:
    """Return a value as JSON; a file or a model becomes path and hash."""
    if isinstance(value, (list, tuple)):
        return [content_of(v) for v in value]
    if not isinstance(value, str) or not value:
        return (
            value if isinstance(value, (bool, int, float, type(None))) else str(value)
        )
    path = Path(value)
    if path.is_file():
        return {"path": value, "sha256": sha256_of(path)}
    # FILE:SOURCE:TARGET of --init_param
    name, *keys = value.split(":")
    if keys and Path(name).is_file():
        return {"path": value, "sha256": ":".join([sha256_of(name), *keys])}
    # Stage 6 has hashed a pretrained model's files.
    pins = path.with_name("models.json")
    if path.is_dir() and pins.is_file():
        pin = json.loads(pins.read_text(encoding="utf-8")).get(path.name, {})
        if "sha256" in pin:
            return {"path": value, "sha256": json.dumps(pin["sha256"], sort_keys=True)}
    return value


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Yield key, old and new value of differences; a missing key's value is None."""
    for key in dict.fromkeys([*old, *new]):
        yield from _differences(key, old.get(key), new.get(key))


def _differences(key: str, old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for before, after in zip(old, new):
            yield from _differences(key, before, after)
    elif isinstance(old, dict) and isinstance(new, dict):
        if old["sha256"] != new["sha256"]:
            yield key, old, new
    # A file that the training makes, before or after it is made.
    elif old != new and _name(old) != _name(new):
        yield key, old, new


def _name(value: Any) -> Any:
    if isinstance(value, list):
        return [_name(v) for v in value]
    return value["path"] if isinstance(value, dict) else value


def _said(change: Change) -> str:
    key, old, new = change
    if isinstance(new, dict) and _name(old) == _name(new):
        return f"{key}: {_name(new)} has other content"
    return f"{key}: {json.dumps(_name(old))} -> {json.dumps(_name(new))}"


def _of_before(
    folder: Path, new: Mapping[str, Any], args: argparse.Namespace
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Return what the training in `folder` depended on, and the like part of `new`.

    `.inputs` of earlier versions was one hash of everything. Then config.yaml has the
    options, except for those that building the model changed.
    """
    try:
        old = json.loads((folder / INPUTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        old = None
    if isinstance(old, dict):
        return old, dict(new)
    config = vars(read_train_config(folder / "config.yaml"))
    logging.getLogger(__name__).warning(
        f"{folder} was begun by an earlier version, which recorded no hashes: the "
        "content of its files can't be compared"
    )
    old = inputs_of(argparse.Namespace(**config))
    both = [key for key in old if key in new and key not in BUILT]
    kept, now = ({key: x[key] for key in both} for x in (old, new))
    kept["token_list"], now["token_list"] = config["token_list"], token_list_of(args)
    return kept, now


def check_same_training(args: argparse.Namespace) -> Dict[str, Any]:
    """Return what a training depends on, if it may resume in its `--output_dir`.

    Changes that don't affect results are only reported; with `--resume_anyway`, all
    changes are.

    Raises:
        UserError: there is a checkpoint with other settings.
    """
    folder, new = Path(args.output_dir), inputs_of(args)
    if not args.resume or not (folder / "checkpoint.pth").exists():
        return new
    harmless: List[str] = []
    harmful: List[str] = []
    for change in changes(*_of_before(folder, new, args)):
        mild = any(is_part(change[0], key) for key in HARMLESS)
        (harmless if mild else harmful).append(_said(change))
    if harmful and not args.resume_anyway:
        more = len(harmful) - MOST_NAMED
        raise UserError(
            f"{folder} contains a training with other settings: "
            f"{'; '.join(harmful[:MOST_NAMED])}{f'; {more} more' * (more > 0)}. Undo "
            "these changes, train into another folder (mtasr.sh: --expdir, "
            "--phase1_tag, "
            "--phase2_tag), or resume with --resume_anyway true"
        )
    if harmful or harmless:
        # ESPnet sets up the root logger later, but only if nothing else has.
        logging.getLogger(__name__).warning(
            f"{folder} resumes with other settings: {'; '.join([*harmful, *harmless])}"
        )
    return new


def write_inputs(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Store what the training in `folder` depends on."""
    write_whole(
        folder / INPUTS, json.dumps(inputs, indent=1, ensure_ascii=False) + "\n"
    )
