"""The tokenizer that joins CTC tokens to words, as espnet2.text.build_tokenizer does.

That module imports the tokenizers of all language models with it, which takes seconds;
here each kind is imported when it is asked for.
"""

from pathlib import Path
from typing import Iterable, Optional, Sequence, Union

from espnet2.text.abs_tokenizer import AbsTokenizer

from espnet_mtasr.errors import UserError

# Types whose tokenizer is a file, ESPnet's option `bpemodel`.
TYPES_WITH_FILE = ("bpe", "hugging_face")
# Of every token list: a model that is not trained enough may write them.
SPECIAL_TOKENS = ("<blank>", "<unk>", "<sos/eos>")


def build_tokenizer(
    token_type: str,
    bpemodel: Optional[Union[Path, str]] = None,
    token_list: Sequence[str] = (),
) -> AbsTokenizer:
    """Return ESPnet's tokenizer of a type.

    Args:
        token_type: ESPnet's name of it, for instance `bpe`, `char`, `word`.
        bpemodel: The file of a tokenizer of `TYPES_WITH_FILE`; of some others, too.
        token_list: Of the model; such a tokenizer must have the same tokens.

    Raises:
        ValueError: an unknown type, or a `bpemodel` that is missing.
        UserError: see `check_units`.

    >>> build_tokenizer("char").tokens2text(["a", "<space>", "b"])
    'a b'
    """
    if token_type == "bpe" and bpemodel is not None:
        from espnet2.text.sentencepiece_tokenizer import SentencepiecesTokenizer

        check_units(token_type, bpemodel, token_list)
        return SentencepiecesTokenizer(bpemodel)
    if token_type == "hugging_face" and bpemodel is not None:
        from espnet_mtasr.text.hugging_face_tokenizer import HuggingFaceTokenizer

        check_units(token_type, bpemodel, token_list)
        return HuggingFaceTokenizer(bpemodel)
    if token_type == "char":
        from espnet2.text.char_tokenizer import CharTokenizer

        return CharTokenizer()
    if token_type == "word":
        from espnet2.text.word_tokenizer import WordTokenizer

        return WordTokenizer()
    from espnet2.text import build_tokenizer as espnet

    return espnet.build_tokenizer(token_type, bpemodel=bpemodel)


def check_units(
    token_type: str, bpemodel: Union[Path, str], token_list: Sequence[str] = ()
) -> None:
    """Load a tokenizer's file, which ESPnet does at its first use.

    Args:
        token_type: One of `TYPES_WITH_FILE`.
        bpemodel: The file.
        token_list: Of the model that it goes with; empty: not compared.

    Raises:
        UserError: it is missing, damaged or something else, or has not the model's
            tokens.
    """
    pieces = _pieces(token_type, bpemodel)
    tokens = {token for token in token_list if not _is_special(token)}
    strange = sorted(tokens ^ {piece for piece in pieces if not _is_special(piece)})
    if token_list and strange:
        raise UserError(
            f"{bpemodel}: belongs to another model, {len(strange)} tokens differ, for "
            f"example {strange[0]!r}; replace it by the one that the model was trained "
            "with"
        )


def _pieces(token_type: str, bpemodel: Union[Path, str]) -> Iterable[str]:
    if token_type == "hugging_face":
        from espnet_mtasr.text.hugging_face_tokenizer import HuggingFaceTokenizer

        return HuggingFaceTokenizer(bpemodel).pieces()
    import sentencepiece

    if not Path(bpemodel).is_file():
        raise UserError(f"{bpemodel}: no such file; run stage 5, or give another")
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(bpemodel))
    except (OSError, RuntimeError):
        processor = None
    if processor is None or processor.get_piece_size() == 0:
        raise UserError(
            f"{bpemodel}: is damaged or not a sentencepiece model; copy it again from "
            "data/token_list of the recipe that trained the model"
        )
    return {
        processor.id_to_piece(i)
        for i in range(processor.get_piece_size())
        if not (processor.is_control(i) or processor.is_unknown(i))
    }


def _is_special(token: str) -> bool:
    return token.startswith("<") and token.endswith(">")
