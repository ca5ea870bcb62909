"""Training on new mixtures in each epoch: its data, and checks of its settings.

`lists/train/utt2mixture` has the parts of each mixture (mixture/spec.py); a training
reads it as `speech` of data type `json`.
"""

import argparse
from pathlib import Path
from typing import List, Optional, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.dynamic import (
    DynamicMixer,
    check_excerpts,
    check_speeds,
)
from espnet_mtasr.mixture.speech_list import Kind, kind_of_entry
from espnet_mtasr.tasks.building import model_option
from espnet_mtasr.tasks.options import check_options
from espnet_mtasr.train.preprocessor import flat_start_epochs_of


def tables_to_mix(args: argparse.Namespace) -> Optional[Tuple[str, str]]:
    """Return the tables of specs and texts if training mixtures are given as specs."""
    entries = args.train_data_path_and_name_and_type
    types = {name: espnet_type for _, name, espnet_type in entries}
    paths = {name: path for path, name, _ in entries}
    if types.get("text") != "text" or types.get("speech") != Kind.DYNAMIC.value[1]:
        return None
    return paths["speech"], paths["text"]


def specs_of_recordings(args: argparse.Namespace) -> Optional[str]:
    """Return the table of specs of the training mixtures, if it is beside the texts."""
    for path, name, _ in args.train_data_path_and_name_and_type:
        specs = Path(path).with_name("utt2mixture")
        if name == "text" and specs.is_file():
            return str(specs)
    return None


def lengths_of_mixtures(args: argparse.Namespace) -> List[str]:
    """Return tables of the lengths of mixtures, if statistics need no samples."""
    if not args.collect_stats or model_option(args, "extract_feats_in_collect_stats"):
        return []
    entries = (
        args.train_data_path_and_name_and_type + args.valid_data_path_and_name_and_type
    )
    tables = [
        Path(path).with_name("utt2num_samples")
        for path, name, espnet_type in entries
        if name == "speech" and kind_of_entry(path, espnet_type) is Kind.MIXTURE
    ]
    return [str(path) for path in tables if path.is_file()]


def check_needs_of_specs(args: argparse.Namespace) -> None:
    """Raise `UserError` if a flat start or talker activity is requested but impossible.

    They need the specs of the training mixtures: a recording doesn't say which talker
    speaks when.
    """
    epochs = flat_start_epochs_of(args.preprocessor_conf)
    if not isinstance(epochs, int) or epochs < 0:
        raise UserError(
            f"preprocessor_conf flat_start_epochs: {epochs}: give a whole number from 0"
        )
    times = args.preprocessor_conf.get("source_times")
    if times is not None and epochs == 0:
        raise UserError(
            f"preprocessor_conf flat_start_epochs: 0 doesn't use source_times {times}; "
            "give 1 or more, or omit one of the two"
        )
    weight = args.model_conf.get("activity_weight", 0.0)
    if not args.train_data_path_and_name_and_type:
        return
    for option, value in (
        ("preprocessor_conf flat_start_epochs", epochs),
        ("model_conf activity_weight", weight),
    ):
        if value == 0:
            continue
        if specs_of_recordings(args) is None:
            raise UserError(
                f"{option}: {value} needs utt2mixture beside the training transcripts "
                f"(recordings at other speeds have none); set it to 0, or train with "
                f"--on_the_fly true"
            )
        _check_epochs_are_told(args, option.split()[1])


def check_dynamic_mixing(args: argparse.Namespace) -> None:
    """Check the settings of dynamic mixing, if there is any.

    Raises:
        UserError: an option doesn't exist or has a wrong value, or another setting
            would repeat the first epoch's mixtures or never make them.
    """
    conf = dict(args.preprocessor_conf.get("dynamic_mixing_conf") or {})
    cuts = conf.get("cut_at_pauses", False)
    if not isinstance(cuts, bool):
        raise UserError(
            f"dynamic_mixing_conf cut_at_pauses: {cuts}: give true or false"
        )
    trains = args.train_data_path_and_name_and_type and not args.collect_stats
    if cuts and trains and args.preprocessor_conf.get("source_times") is None:
        raise UserError(
            "dynamic_mixing_conf cut_at_pauses: true needs the words' times; train "
            "with --aligned_start, or set it to false"
        )
    given = ("specs", "texts", "seed", "words")
    check_options(DynamicMixer, conf, "preprocessor_conf dynamic_mixing_conf", given)
    check_speeds(conf.get("speeds", (1.0,)))
    check_excerpts(conf.get("excerpts", 0.0))
    if tables_to_mix(args) is None:
        return
    _check_epochs_are_told(args, "dynamic mixing")


def _check_epochs_are_told(args: argparse.Namespace, what: str) -> None:
    """Raise `UserError` unless the preprocessor runs again in each epoch."""
    for option, wanted in (("iterator_type", "sequence"), ("use_preprocessor", True)):
        if getattr(args, option) != wanted:
            raise UserError(
                f"{option}: {getattr(args, option)} can't be combined with {what}; set "
                f"it to {wanted}, or train with --dynamic_mixing false and without "
                "flat_start_epochs and activity_weight"
            )
    # ESPnet would keep the first epoch's examples.
    if args.max_cache_size not in (0, 0.0, "0"):
        raise UserError(
            f"max_cache_size: {args.max_cache_size} would repeat the first epoch's "
            f"mixtures; set it to 0 (dynamic_mixing_conf has a cache_megabytes)"
        )
