"""What decodes in the benchmarks: full-size models of random weights, in memory.

The model of a training configuration is built with the published shapes
(tools/published_models.py), so that nothing is downloaded, and put into the classes
that decode trained models. What it writes means nothing; how long that takes doesn't
depend on the weights' values.
"""

import argparse
import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any, Iterator, List, Tuple
from unittest import mock

from espnet_mtasr.errors import UserError
from tools.bench import side_by_side as bench
from tools.bench.training import FULL_SIZE_CONF, build

CONFIG = FULL_SIZE_CONF / "train_phase2.yaml"


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep what libraries say of their own affairs out of the tables."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def build_model(
    config: Path, device: str, dtype: str, with_llm: bool
) -> Tuple[Any, argparse.Namespace]:
    """Build a configuration's `MTASRModel`, with or without its language model.

    Returns:
        Model in float32 (the language model in `dtype`) and options of the training.

    Raises:
        UserError: the configuration is wrong, trains no CTC, or has no language model
            though one is asked for.
    """
    from espnet_mtasr.bin.check_config import has_teacher

    if with_llm and not has_teacher(str(config)):
        raise UserError(
            f"--config {config}: has no teacher; name one that has, or leave the "
            f"language model out (--llm_tokens without numbers)"
        )
    options = [] if with_llm else ["--model_conf", "ctc_weight=1.0"]
    model, args = build(config, options, device, dtype)
    if model.ctc is None:
        raise UserError(f"--config {config}: trains no CTC heads; name one of phase 2")
    # ESPnet's converter wants to know which token stands for unknown ones.
    model.token_list[1] = "<unk>"
    return model, args


def make_decoder(decoder: Any, model: Any, args: argparse.Namespace, **options: Any):
    """Put a model in memory into a class that loads one from files.

    Args:
        decoder: `Speech2Text` or `Speech2TextLLM`.
        model: See `build_model`.
        args: Likewise.
        options: Of the class: `device`, `dtype`, ...
    """
    from espnet_mtasr.tasks.building import ModelBuilder

    # The stand-in tokens have no sentencepiece model.
    words = {**vars(args), "token_type": "word", "bpemodel": None}
    loaded = (model.to(options["device"]), argparse.Namespace(**words))
    with mock.patch.object(ModelBuilder, "build_model_from_file", return_value=loaded):
        return decoder(**options)


def merge_adapters(model: Any) -> None:
    """Fold LoRA and `<sc>`'s row into the LM's weights: that decodes faster."""
    merged = model.teacher.llm.merge_and_unload()
    # The teacher asks peft's wrapper for the model inside.
    merged.get_base_model = lambda: merged
    model.teacher.llm = merged
    # Nothing is left to fold, in whatever precision.
    model.teacher._fold_lora = lambda fold: None


def never_end(model: Any) -> None:
    """Let the LM write until its limit: the end of sentence is never the likeliest.

    Its row of the output layer becomes 0, and so does its logit; one of a whole
    vocabulary of random rows is above that.
    """
    import torch

    teacher = model.teacher
    with torch.no_grad():
        output = teacher.llm.get_output_embeddings()
        output.weight[teacher.tokenizer.eos_id] = 0.0


def noise(rows: int, seconds: float) -> List[Any]:
    """`rows` waveforms `(N,)` of noise, float32, at 16 kHz."""
    import numpy as np

    size = (rows, round(seconds * bench.SAMPLING_RATE))
    rng = np.random.default_rng(0)
    return list(np.float32(0.1) * rng.standard_normal(size, dtype=np.float32))
