"""What the configuration of a model that someone else trained may name.

A training's own configuration may name any class that Python finds. A model that was
packed or downloaded may name classes of ESPnet and of this package alone, and none that
reads another model's files, unless its user trusts it: the option `trust_remote_code`,
as transformers calls it.
"""

import argparse
import contextlib
import os
import sys
from contextvars import ContextVar
from typing import Any, Iterator, Mapping, Optional

from espnet_mtasr.errors import UserError

OPTION = "trust_remote_code"
PACKAGES = ("espnet2", "espnet_mtasr")
# ESPnet's classes there fetch other models, or read files that may hold code.
READERS = tuple(
    f"espnet2.asr.{module}"
    for module in (
        "encoder.avhubert_encoder",
        "encoder.hubert_encoder",
        "encoder.hugging_face_transformers_encoder",
        "encoder.wav2vec2_encoder",
        "encoder.whisper_encoder",
        "frontend.espnet_ssl",
        "frontend.fused",
        "frontend.huggingface",
        "frontend.s3prl",
        "frontend.whisper",
    )
)
ADVICE = (
    "look at it, and if you trust the model, give --trust_remote_code (in Python: "
    "trust_remote_code=True)"
)

_trusts: ContextVar[bool] = ContextVar("trusts", default=True)


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Add `--trust_remote_code` to a command that loads a trained model."""
    parser.add_argument(
        f"--{OPTION}",
        f"--{OPTION.replace('_', '-')}",
        action="store_true",
        help="let the model's configuration name classes of other packages than ESPnet "
        "and espnet_mtasr, whose code is then run; only for models that you trust",
    )


@contextlib.contextmanager
def trusting(trust_remote_code: bool) -> Iterator[None]:
    """Say whether the models that are built inside are trusted.

    For one that isn't, the current folder is no place to import from: it may be the
    model's, with a module that bears the name of a package that ESPnet tries to import.
    """
    before = _trusts.set(trust_remote_code)
    first = sys.path[0] if sys.path else None
    dropped = not trust_remote_code and first in ("", os.getcwd())
    if dropped:
        del sys.path[0]
    try:
        yield
    finally:
        if dropped:
            sys.path.insert(0, first)
        _trusts.reset(before)


def check_module(option: str, name: str, module: str) -> None:
    """Raise `UserError` where an untrusted model names a class that it may not.

    Args:
        option: Of the configuration.
        name: What it names.
        module: Whose class that is; it needn't have been imported.
    """
    if _trusts.get():
        return
    if module.partition(".")[0] not in PACKAGES:
        raise UserError(
            f"{option}: {name}: is neither ESPnet's nor espnet_mtasr's code; {ADVICE}"
        )
    if module in READERS:
        raise UserError(
            f"{option}: {name}: reads another model's files, which may hold code; "
            f"{ADVICE}"
        )


def check_named(option: str, name: Optional[str]) -> None:
    """Do so for `MODULE:CLASS`; other names are ESPnet's and this package's own."""
    if name is not None and ":" in name:
        check_module(option, name, name.partition(":")[0])


def check_pretrained(
    pretrained: Optional[str], option: str, conf: Mapping[str, Any]
) -> None:
    """Raise `UserError` where an untrusted encoder asks for more than its weights.

    Args:
        pretrained: Model that weights are to be read from; None: none.
        option: Name of its configuration in `encoder_conf`.
        conf: That, in transformers' form.
    """
    if _trusts.get():
        return
    if pretrained is not None:
        raise UserError(
            f"encoder_conf: model: {pretrained}: another model is to be read; {ADVICE}"
        )
    for key, value in conf.items():
        # transformers fetches attention kernels that are named owner/name.
        if "attn_implementation" in key and "/" in str(value):
            raise UserError(
                f"encoder_conf: {option}: {key}: {value}: is code to be fetched; "
                f"{ADVICE}"
            )
