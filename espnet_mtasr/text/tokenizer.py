"""The tokenizer that joins CTC tokens to words, as espnet2.text.build_tokenizer does.

That module imports the tokenizers of all language models with it, which takes seconds;
here each kind is imported when it is asked for.
"""

from pathlib import Path
from typing import Optional, Union

from espnet2.text.abs_tokenizer import AbsTokenizer


def build_tokenizer(
    token_type: str, bpemodel: Optional[Union[Path, str]] = None
) -> AbsTokenizer:
    """Return ESPnet's tokenizer of a type.

    Args:
        token_type: ESPnet's name of it, for instance `bpe`, `char`, `word`.
        bpemodel: The model of a sentencepiece tokenizer (`bpe`); of some others, too.

    Raises:
        ValueError: an unknown type, or a `bpemodel` that is missing.

    >>> build_tokenizer("char").tokens2text(["a", "<space>", "b"])
    'a b'
    """
    if token_type == "bpe" and bpemodel is not None:
        from espnet2.text.sentencepiece_tokenizer import SentencepiecesTokenizer

        return SentencepiecesTokenizer(bpemodel)
    if token_type == "char":
        from espnet2.text.char_tokenizer import CharTokenizer

        return CharTokenizer()
    if token_type == "word":
        from espnet2.text.word_tokenizer import WordTokenizer

        return WordTokenizer()
    from espnet2.text import build_tokenizer as espnet

    return espnet.build_tokenizer(token_type, bpemodel=bpemodel)
