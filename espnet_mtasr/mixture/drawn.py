"""Epochs of dynamic mixing that are drawn in advance, as one data directory."""

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, Mapping

from espnet_mtasr.data.audio_check import check_audio
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import sha256_of
from espnet_mtasr.mixture.dynamic import DynamicMixer
from espnet_mtasr.mixture.spec import num_samples
from espnet_mtasr.text.sot import join_sot

# File of a drawn data directory, with the hash from `origin`.
DRAWN_FROM = "drawn_from"


def mixing_options(preprocessor_conf: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the options of `DynamicMixer` in a training's `preprocessor_conf`.

    Raises:
        UserError: they need what is only known after training.
    """
    options = dict(preprocessor_conf.get("dynamic_mixing_conf") or {})
    for name, reason in (
        ("cut_at_pauses", "needs the times of words, which aren't known in stage 4"),
        ("excerpts", "aren't drawn in advance"),
    ):
        if options.get(name):
            raise UserError(
                f"dynamic_mixing_conf: {name} {reason}; leave it out, or add "
                "--drawn_epochs 0"
            )
    return options


def origin(source: Path, epochs: int, options: Dict[str, Any]) -> str:
    """Return a hash of everything that determines the drawn mixtures.

    Raises:
        UserError: the set has no specs of mixtures.
    """
    if not (source / "utt2mixture").is_file():
        raise UserError(
            f"{source}: has no utt2mixture (what its mixtures are made of), which "
            f"dynamic mixing needs; add --dynamic_mixing false"
        )
    tables = [sha256_of(source / name) for name in ("utt2mixture", "text")]
    used = {name: options[name] for name in options if name != "cache_megabytes"}
    described = json.dumps([*tables, epochs, used], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()


def draw(mixer: DynamicMixer, epochs: int) -> Dict[str, Dict[str, str]]:
    """Return the tables of all mixtures of epochs 1 to `epochs`, by name."""
    headers = {}
    for spec in mixer.specs.values():
        for source in spec.sources:
            if source.path not in headers:
                info = check_audio(source.path)
                headers[source.path] = (info.num_samples, info.rate)
    names = ("utt2mixture", "text", "utt2num_spk", "utt2spk", "utt2num_samples")
    tables: Dict[str, Dict[str, str]] = {name: {} for name in names}
    for epoch in range(1, epochs + 1):
        for utt in sorted(mixer.specs):
            spec, texts = mixer.draw(utt, epoch)
            key = f"e{epoch:03d}_{utt}"
            length = num_samples(spec, headers)
            row = (spec.to_line(), join_sot(texts), str(len(texts)), key, str(length))
            for name, value in zip(names, row):
                tables[name][key] = value
    return tables
