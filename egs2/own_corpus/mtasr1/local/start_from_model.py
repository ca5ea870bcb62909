"""Start a training from a trained model: its parts, units, talker counts and weights.

The model is a zip, folder, checkpoint, hub id, or a name such as mini.
"""

import argparse
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from espnet_mtasr.console import own_words_only
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import find_beside, write_whole

UNITS_FILES = {"bpe": "bpe.model", "hugging_face": "tokenizer.json"}


@dataclass(frozen=True)
class Start:
    """What a training needs from a trained model.

    Attributes:
        name: Of the model, valid in file names.
        talker_counts: Of the training.
        parameters: Of the model.
        parts: Entries of the training's configuration.
        token_type: Of the model's units; None: the training has its own units.
        token_dir: Folder with the model's units.
        init_param: ESPnet's option; parts that don't fit are excluded.
        sampling_rate: In Hz.
    """

    name: str
    talker_counts: List[int]
    parameters: int
    parts: Dict[str, Any]
    token_type: Optional[str]
    token_dir: Path
    init_param: str
    sampling_rate: int

    def options(self) -> List[str]:
        """Return the options for mtasr.sh."""
        words = ["--fs", str(self.sampling_rate), "--pretrained_model", self.init_param]
        if self.token_type is not None:
            words += ["--token_type", self.token_type]
            words += ["--token_dir", str(self.token_dir)]
        return words


def other_parts(known: Sequence[int], wanted: Sequence[int]) -> List[str]:
    """Return the parts of a model that a training on fewer talker counts lacks.

    >>> other_parts([1, 2], [2])
    ['encoder.branches.1', 'separator.1', 'ctc.1', 'count_head']
    """
    parts = [
        f"{part}.{count}"
        for count in known
        if count not in wanted
        for part in ("encoder.branches", "separator", "ctc")
    ]
    return parts and [*parts, "count_head"]


def choose_counts(
    name: str, model: argparse.Namespace, wanted: Optional[Sequence[int]]
) -> List[int]:
    """Return the talker counts of the training.

    Args:
        name: Of the model, for messages.
        model: Its options.
        wanted: None: the model's.

    Raises:
        UserError: the model doesn't know one, or needs one that is missing.
    """
    known = list(model.talker_counts)
    wanted = known if wanted is None else list(wanted)
    shared = getattr(model, "share_separator", False) and max(known) not in wanted
    if shared or not set(wanted) <= set(known):
        raise UserError(
            f"--talker_counts {','.join(map(str, wanted))}: {name} knows "
            f"{' and '.join(map(str, known))} talkers; leave the option out"
        )
    return wanted


def parts_of(model: argparse.Namespace) -> Dict[str, Any]:
    """Return the model's parts in the form of a training's configuration."""
    from espnet_mtasr.publishing.packing import MODEL_OPTIONS

    # The stages set the units and the sampling rate.
    told = ("talker_counts", "token_type", "bpemodel", "sampling_rate")
    names = (*MODEL_OPTIONS, "freeze_param", "lr_scale")
    parts = {n: getattr(model, n) for n in names if hasattr(model, n) and n not in told}
    # There is no teacher to learn from.
    parts["model_conf"] = {
        **parts["model_conf"],
        "ctc_weight": 1.0,
        "extract_feats_in_collect_stats": False,
    }
    # The weights come from the model, even if it was itself pretrained on another one.
    if "load_pretrained" in parts["encoder_conf"]:
        parts["encoder_conf"] = {**parts["encoder_conf"], "load_pretrained": False}
    return parts


def start_from(
    source: str,
    wanted: Optional[Sequence[int]],
    own_units: bool,
    out: Path,
    token_lists: Path,
    trust_remote_code: bool,
) -> Start:
    """Read a model, and write its units and a link to its weights.

    Args:
        source: The model.
        wanted: Talker counts; None: the model's.
        own_units: Leave out its units and CTC heads.
        out: Folder for the link.
        token_lists: Folder for the units' folder.
        trust_remote_code: See `trust`.

    Raises:
        UserError: there is no such model, it can't be trained, not with these talker
            counts, or its configuration names code that isn't trusted.
    """
    from espnet_mtasr.model_zoo.model_files import fetch_model, model_name
    from espnet_mtasr.onnx_model.manifest import is_onnx

    with own_words_only():
        from espnet_mtasr.tasks.building import ModelBuilder

    files = fetch_model(source)
    weights = files.mtasr_model_file
    if is_onnx(weights):
        raise UserError(
            f"--pretrained_model {source}: is an exported model, which can't be "
            f"trained; give the model that it was exported from"
        )
    # This finds damaged or untrusted models.
    model, options = ModelBuilder.build_model_from_file(
        files.mtasr_train_config, weights, trust_remote_code=trust_remote_code
    )
    counts = choose_counts(source, options, wanted)
    left_out = other_parts(options.talker_counts, counts) + ["ctc"] * own_units
    name = re.sub(r"[^\w.-]", "_", model_name(source))
    out.mkdir(parents=True, exist_ok=True)
    link = out / f"{name}{weights.suffix}"
    link.unlink(missing_ok=True)
    link.symlink_to(weights.absolute())
    token_dir = token_lists / f"from_{name}"
    if not own_units:
        write_whole(token_dir / "tokens.txt", "\n".join(options.token_list) + "\n")
        if options.token_type in UNITS_FILES:
            beside = files.mtasr_train_config.absolute().parent
            found = find_beside(options.bpemodel, beside)
            shutil.copyfile(found, token_dir / UNITS_FILES[options.token_type])
    return Start(
        name=name,
        talker_counts=counts,
        parameters=sum(weight.numel() for weight in model.parameters()),
        parts=parts_of(options),
        token_type=None if own_units else options.token_type,
        token_dir=token_dir,
        # File, source, target, and what to exclude.
        init_param=f"{link}:::{','.join(left_out)}".rstrip(":"),
        sampling_rate=getattr(options, "sampling_rate", 16000),
    )
