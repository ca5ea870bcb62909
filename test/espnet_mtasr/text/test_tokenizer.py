"""Tokenizers are ESPnet's own."""

import pickle

import pytest
import sentencepiece
from espnet2.text.build_tokenizer import build_tokenizer as espnets
from helpers.tiny_models import make_tiny_tokenizer

from espnet_mtasr.errors import UserError
from espnet_mtasr.text.hugging_face_tokenizer import export_tokenizer
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


@pytest.fixture
def llm(tmp_path):
    make_tiny_tokenizer(tmp_path / "llm")
    return tmp_path / "llm"


@pytest.mark.parametrize(
    "text", ["had had over the sea", "a b c", "", "über naïve", "don't", "<sc> </s>"]
)
def test_a_language_models_units_are_espnets(llm, tmp_path, text):
    ours, wanted = export_tokenizer(llm, tmp_path), espnets("hugging_face", str(llm))
    ours = pickle.loads(pickle.dumps(ours))
    tokens = wanted.text2tokens(text)
    assert ours.text2tokens(text) == tokens
    assert ours.tokens2text(tokens) == wanted.tokens2text(tokens)
    if "<" not in text:
        assert ours.tokens2text(tokens) == text
    # A word has another unit after a blank than at the start of a text.
    if text.startswith("had"):
        assert tokens[0] != tokens[1] and set(tokens) <= set(ours.pieces())
    assert ours.tokens2text(["<blank>", *tokens, "<unk>"]) == ours.tokens2text(tokens)


def test_units_that_are_no_pieces_of_a_text(llm, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llm)
    tokenizer.add_tokens(["  ", "one  two", "plain"])
    tokenizer.save_pretrained(llm)
    pieces = export_tokenizer(llm, tmp_path).pieces()
    assert "plain" in pieces
    assert not {"  ", "one  two", "<s>", "</s>"} & set(pieces)


def test_a_tokenizer_that_is_not_the_models(llm, tmp_path):
    pieces = export_tokenizer(llm, tmp_path).pieces()
    file = str(tmp_path / "tokenizer.json")
    assert build_tokenizer("hugging_face", file, ["<blank>", *pieces, "<sos/eos>"])
    with pytest.raises(
        UserError, match="tokenizer.json: belongs to another model, 1 tokens"
    ):
        build_tokenizer("hugging_face", file, pieces[:-1])
    for content, says in (
        ("{}", "is damaged or not a tokenizer"),
        (None, "no such file"),
    ):
        (tmp_path / "tokenizer.json").unlink()
        if content:
            (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(UserError, match=f"tokenizer.json: {says}"):
            build_tokenizer("hugging_face", file)
        (tmp_path / "tokenizer.json").touch()
    with pytest.raises(UserError, match="--llm .*/nothing: has no tokenizer"):
        export_tokenizer(tmp_path / "nothing", tmp_path)
