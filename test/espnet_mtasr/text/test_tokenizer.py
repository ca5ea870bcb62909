"""Tokenizers are ESPnet's own."""

import pytest
import sentencepiece
from espnet2.text.build_tokenizer import build_tokenizer as espnets

from espnet_mtasr.text.tokenizer import build_tokenizer

TEXT = "one two two"


@pytest.fixture
def bpemodel(tmp_path):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT] * 9),
        model_prefix=str(tmp_path / "bpe"),
        vocab_size=12,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return str(tmp_path / "bpe.model")


@pytest.mark.parametrize("kind", ["bpe", "char", "word"])
def test_types(kind, bpemodel):
    model = bpemodel if kind == "bpe" else None
    ours, wanted = build_tokenizer(kind, model), espnets(kind, bpemodel=model)
    assert type(ours) is type(wanted)
    tokens = wanted.text2tokens(TEXT)
    assert ours.text2tokens(TEXT) == tokens
    assert ours.tokens2text(tokens) == wanted.tokens2text(tokens) == TEXT


@pytest.mark.parametrize("kind", ["bpe", "no_such_type"])
def test_what_cannot_be_had(kind):
    with pytest.raises(ValueError, match="bpemodel is required|token_mode must be"):
        build_tokenizer(kind)
