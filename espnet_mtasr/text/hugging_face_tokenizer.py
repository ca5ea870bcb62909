"""CTC units of a language model: the pieces of its Hugging Face tokenizer.

ESPnet's `token_type: hugging_face` reads a model's folder by transformers. Here the
tokenizer is one file, `tokenizer.json`, which a packed model takes along, and which
holds no code.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Iterable, List, Optional, Union

from espnet2.text.abs_tokenizer import AbsTokenizer

from espnet_mtasr.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE_NAME = "tokenizer.json"


class HuggingFaceTokenizer(AbsTokenizer):
    """Texts to pieces of a language model's tokenizer, and back.

    Args:
        file: Its `tokenizer.json`.

    Raises:
        UserError: the file is missing, damaged or something else.
    """

    def __init__(self, file: Union[Path, str]):
        from tokenizers import Tokenizer

        if not Path(file).is_file():
            raise UserError(f"{file}: no such file; run stage 5, or give another")
        try:
            self.tokenizer: Tokenizer = Tokenizer.from_file(str(file))
        # The library raises nothing more precise.
        except Exception as e:
            raise UserError(
                f"{file}: is damaged or not a tokenizer ({e}); copy it again from "
                "data/token_list of the recipe that trained the model"
            ) from None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def text2tokens(self, line: str) -> List[str]:
        """Return the pieces of a text."""
        return self.tokenizer.encode(line, add_special_tokens=False).tokens

    def tokens2text(self, tokens: Iterable[str]) -> str:
        """Return the text of pieces; what the tokenizer doesn't know is left out."""
        ids = map(self.tokenizer.token_to_id, tokens)
        return self.tokenizer.decode([i for i in ids if i is not None]).strip()

    def pieces(self) -> List[str]:
        """Return all pieces that a text may have, in the order of their ids."""
        added = self.tokenizer.get_added_tokens_decoder().values()
        special = {token.content for token in added if token.special}
        vocabulary = self.tokenizer.get_vocab()
        names = sorted(vocabulary, key=lambda name: vocabulary[name])
        # Runs of blanks are pieces of some; our texts have none, nor lists of tokens.
        return [n for n in names if n not in special and n.split() == [n]]


def export_tokenizer(llm: Union[Path, str], folder: Path) -> HuggingFaceTokenizer:
    """Write the tokenizer of a language model into `folder`, whole; return it.

    Raises:
        UserError: `llm` has no tokenizer, or one that isn't of the library tokenizers.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(llm, trust_remote_code=False)
    except (OSError, ValueError) as e:
        raise UserError(
            f"--llm {llm}: has no tokenizer ({type(e).__name__}); give a folder in "
            "Hugging Face format"
        ) from e
    backend: Optional["Tokenizer"] = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(
            f"--llm {llm}: its tokenizer has no {FILE_NAME}; choose another "
            f"--token_type"
        )
    target = folder / FILE_NAME
    part = target.with_name(target.name + ".part")
    backend.save(str(part))
    os.replace(part, target)
    return HuggingFaceTokenizer(target)
