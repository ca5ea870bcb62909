"""A teacher's tokenizer as one file, for packed models; it holds no code.

transformers reads a tokenizer from a folder whose files may name any of its classes.
This file has the content of `tokenizer.json` and the few settings that decoding needs.
"""

import json
from pathlib import Path
from typing import Any, Dict

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, WhisperTokenizer

from espnet_mtasr.errors import UserError

# The only two whose `decode` differs.
CLASSES = {c.__name__: c for c in (WhisperTokenizer, PreTrainedTokenizerFast)}
NAMES = ("bos_token", "eos_token", "unk_token")


def write_tokenizer(tokenizer: Any, path: Path) -> None:
    """Write a tokenizer of transformers.

    Raises:
        UserError: it isn't one of the library tokenizers, or reads differently from the
            file.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(
            f"teacher_conf llm: {tokenizer.name_or_path}: its tokenizer has no "
            f"tokenizer.json, so it can't be packed; omit --pack_teacher"
        )
    whisper = isinstance(tokenizer, WhisperTokenizer)
    content: Dict[str, Any] = {
        "class": (WhisperTokenizer if whisper else PreTrainedTokenizerFast).__name__,
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        "tokenizer": json.loads(backend.to_str()),
    }
    for name in NAMES:
        token = getattr(tokenizer, name)
        content[name] = None if token is None else str(token)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    if _facts(read_tokenizer(path)) != _facts(tokenizer):
        raise UserError(
            f"teacher_conf llm: {tokenizer.name_or_path}: its tokenizer "
            f"({type(tokenizer).__name__}) can't be packed; omit --pack_teacher"
        )


def read_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Read what `write_tokenizer` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        options = {name: content[name] for name in NAMES if content[name] is not None}
        if not all(isinstance(token, str) for token in options.values()):
            raise ValueError("a token is not a text")
        return CLASSES[content["class"]](
            tokenizer_object=Tokenizer.from_str(json.dumps(content["tokenizer"])),
            clean_up_tokenization_spaces=bool(content["clean_up_tokenization_spaces"]),
            **options,
        )
    # The library tokenizers raises nothing more precise.
    except Exception as e:
        raise UserError(
            f"{path}: is damaged or not a teacher's tokenizer ({type(e).__name__}); "
            f"get the model again"
        ) from e


def _facts(tokenizer: Any) -> Any:
    """All that a transcript depends on: names and texts of tokens."""
    ids = list(range(len(tokenizer)))
    return (
        tokenizer.get_vocab(),
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.convert_ids_to_tokens(ids),
        tokenizer.decode(ids, skip_special_tokens=True),
    )
