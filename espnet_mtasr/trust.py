"""What the configuration of a model that someone else trained may name.

The configuration of the user's own training may name any class that Python finds. A
packed or downloaded model may only name classes of this package and those ESPnet
classes that read nothing but the configuration, unless the user trusts it
(`trust_remote_code`, the name that transformers uses).
"""

import argparse
import contextlib
import os
import re
import sys
import threading
from contextvars import ContextVar
from typing import Any, Iterator, Mapping, Optional

from espnet_mtasr.errors import UserError

OPTION = "trust_remote_code"
PACKAGE = "espnet_mtasr"
# ESPnet's classes; others download models, or read files that may contain code.
MODULES = tuple(
    f"espnet2.{module}"
    for module in (
        "asr.encoder.branchformer_encoder",
        "asr.encoder.conformer_encoder",
        "asr.encoder.contextual_block_conformer_encoder",
        "asr.encoder.contextual_block_transformer_encoder",
        "asr.encoder.e_branchformer_encoder",
        "asr.encoder.linear_encoder",
        "asr.encoder.multiconvformer_encoder",
        "asr.encoder.rnn_encoder",
        "asr.encoder.transformer_encoder",
        "asr.encoder.vgg_rnn_encoder",
        "asr.frontend.cnn",
        "asr.frontend.default",
        "asr.frontend.windowing",
        "asr.specaug.specaug",
        "layers.global_mvn",
        "layers.utterance_mvn",
    )
)
# Tokenizers that read at most a file of pieces, which can't contain code.
TOKEN_TYPES = ("bpe", "char", "word", "hugging_face")
CLEANERS = (None, "", "tacotron")
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
ADVICE = (
    "check it, and if you trust the model, give --trust_remote_code (in Python: "
    "trust_remote_code=True)"
)

_trusts: ContextVar[bool] = ContextVar("trusts", default=True)
# The import path belongs to the whole process.
_path_lock = threading.RLock()


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add `--trust_remote_code` to a command that loads a trained model."""
    parser.add_argument(
        f"--{OPTION}",
        f"--{OPTION.replace('_', '-')}",
        action="store_true",
        help="allow the model's configuration to name any class and run its code, and "
        "to read other models; only for models that you trust",
    )


@contextlib.contextmanager
def trusting(trust_remote_code: bool) -> Iterator[None]:
    """Set whether the models that are built inside the context are trusted.

    If not, nothing is imported from the current folder: it may be the model's, and
    contain a module with the name of a package that ESPnet tries to import.
    """
    if trust_remote_code:
        with _setting(True):
            yield
        return
    with _path_lock, _setting(False):
        path = list(sys.path)
        sys.path[:] = [p for p in path if not _is_current(p)]
        try:
            yield
        finally:
            sys.path[:] = path


def _is_current(folder: str) -> bool:
    try:
        return os.path.samefile(folder or os.curdir, os.curdir)
    except OSError:
        # One of the two doesn't exist.
        return False


@contextlib.contextmanager
def _setting(trusts: bool) -> Iterator[None]:
    before = _trusts.set(trusts)
    try:
        yield
    finally:
        _trusts.reset(before)


def check_module(option: str, name: str, module: str) -> None:
    """Raise `UserError` if an untrusted model names a class that it may not use.

    Args:
        option: Option of the configuration.
        name: Its value.
        module: Module of the class; it need not have been imported.
    """
    if _trusts.get():
        return
    if module.partition(".")[0] == PACKAGE or module in MODULES:
        return
    if module.partition(".")[0] == "espnet2":
        problem = "is a class that may read other models' files, which may contain code"
    else:
        problem = "is not part of ESPnet or espnet_mtasr"
    raise UserError(f"{option}: {name}: {problem}; {ADVICE}")


def check_settings(args: argparse.Namespace) -> None:
    """Raise `UserError` for other settings that only a trusted model may have.

    Args:
        args: Of the training; `teacher` is None if none is built.
    """
    if _trusts.get():
        return
    name = getattr(args, "preprocessor", None)
    if name is not None and ":" in name:
        check_module("preprocessor", name, name.partition(":")[0])
    if args.token_type not in TOKEN_TYPES:
        raise UserError(
            f"token_type: {args.token_type}: reads other models' files; {ADVICE}"
        )
    cleaner = getattr(args, "cleaner", None)
    if cleaner not in CLEANERS:
        raise UserError(f"cleaner: {cleaner}: runs other packages' code; {ADVICE}")
    llm = None if args.teacher is None else args.teacher_conf.get("llm")
    # A folder written by stage 6 is the user's own.
    if llm is not None and not os.path.isdir(llm) and HUB_ID.fullmatch(llm):
        check_pretrained(llm, "teacher_conf: llm", {})


def check_pretrained(
    pretrained: Optional[str], option: str, conf: Mapping[str, Any]
) -> None:
    """Raise `UserError` if an untrusted part needs more than its weights.

    Args:
        pretrained: Model to read weights from; None: none.
        option: Option of its configuration.
        conf: Its configuration, in transformers' form.
    """
    if _trusts.get():
        return
    if pretrained is not None:
        raise UserError(f"{option}: {pretrained}: would read another model; {ADVICE}")
    for key, value in conf.items():
        # transformers downloads attention kernels that are named owner/name.
        if "attn_implementation" in str(key) and "/" in str(value):
            raise UserError(f"{option}: {key}: {value}: would download code; {ADVICE}")
        if isinstance(value, Mapping):
            check_pretrained(None, option, value)
