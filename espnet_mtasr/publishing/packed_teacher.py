"""The teacher in a packed model: its configuration and tokenizer, and the check.

Its weights, with those of the pretrained model that it began from, are in the model's
own file, from which decoding by CTC doesn't read them.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict

from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference_llm import Speech2TextLLM
from espnet_mtasr.model_zoo.model_files import TEACHER_TOKENIZER, ModelFiles
from espnet_mtasr.trust import HUB_ID


def pack_teacher(
    model: MTASRModel, args: argparse.Namespace, config_file: Path, folder: Path
) -> Dict[str, Any]:
    """Prepare a model's teacher to be packed, and write its tokenizer into `folder`.

    Args:
        model: From here on, its `state_dict` has all of the teacher's weights.
        args: Of its training.
        config_file: Of its training, for messages.
        folder: Of the packed model.

    Returns:
        The packed model's `teacher_conf`.

    Raises:
        UserError: there is no teacher, or it can't be packed.
    """
    if model.teacher is None:
        raise UserError(
            f"--pack_teacher true: {config_file} has no teacher (or ctc_weight 1.0); "
            "omit the option, or train phase 2 with a teacher"
        )
    entries = model.teacher.pack(folder / TEACHER_TOKENIZER)
    return {**args.teacher_conf, **entries, "llm": TEACHER_TOKENIZER}


def teacher_facts(model: MTASRModel, args: argparse.Namespace) -> Dict[str, Any]:
    """Return what the model card tells of a packed teacher."""
    assert model.teacher is not None
    source = str(args.teacher_conf.get("llm"))
    known = HUB_ID.fullmatch(source) and "/" in source and not Path(source).exists()
    return {
        "class": args.teacher,
        "source": source if known else None,
        "parameters": sum(weight.numel() for weight in model.teacher.parameters()),
    }


def check_packed_teacher(files: ModelFiles, trust_remote_code: bool) -> None:
    """Load a packed model with its teacher.

    Raises:
        UserError: it doesn't load.
    """
    Speech2TextLLM(**asdict(files), trust_remote_code=trust_remote_code)
