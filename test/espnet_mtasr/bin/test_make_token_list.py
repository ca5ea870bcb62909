"""Stage 5: the CTC units of all three kinds, from SOT text."""

import pytest
import sentencepiece
from helpers.tiny_models import make_tiny_tokenizer

from espnet_mtasr.bin.make_token_list import main
from espnet_mtasr.errors import UserError

TEXT = "u1 had had lunch <sc> good day\nu2 good lunch <sc> had a day <sc> the sea\n"
# Enough for a unigram model to find pieces of several characters.
WORDS = "had lunch good day the sea over there hand land lung the good".split()
LONG_TEXT = "".join(
    f"u{k} {WORDS[k % 13]} {WORDS[k % 7]} <sc> {WORDS[k % 5]} {WORDS[k % 11]}\n"
    for k in range(100, 300)
)


def make(tmp_path, *options, text=TEXT):
    path = tmp_path / "text"
    path.write_text(text, encoding="utf-8")
    out = tmp_path / "tokens"
    main(["--text", str(path), "--output_dir", str(out), *options])
    return (out / "tokens.txt").read_text(encoding="utf-8").splitlines()


def test_words_by_frequency(tmp_path, capsys):
    tokens = make(tmp_path, "--token_type", "word")
    assert tokens == [
        *("<blank>", "<unk>", "had", "day", "good", "lunch"),
        *("a", "sea", "the", "<sos/eos>"),
    ]
    assert capsys.readouterr().out == f"{tmp_path}/tokens/tokens.txt: 10 tokens\n"


def test_a_text_of_others_in_upper_case(tmp_path):
    """It needn't have gone through stage 3 (--bpe_train_text)."""
    options = ["--token_type", "word"]
    assert make(tmp_path, *options, text=TEXT.upper()) == make(tmp_path, *options)


def test_characters(tmp_path):
    tokens = make(tmp_path, "--token_type", "char")
    assert set(tokens) == {
        "<blank>",
        "<unk>",
        "<sos/eos>",
        "<space>",
        *"hadlunchgoytse",
    }
    assert (tokens[:2], tokens[-1]) == (["<blank>", "<unk>"], "<sos/eos>")
    # 7 of each; the spaces around <sc> belong to nobody.
    assert tokens[2:5] == ["<space>", "a", "d"]


@pytest.mark.parametrize("bpemode", ["unigram", "bpe"])
def test_pieces(tmp_path, bpemode):
    tokens = make(tmp_path, "--nbpe", "26", "--bpemode", bpemode, text=LONG_TEXT)
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(tmp_path / "tokens" / "bpe.model")
    )
    assert (tokens[:2], tokens[-1]) == (["<blank>", "<unk>"], "<sos/eos>")
    # sentencepiece has <unk>, <s> and </s> among its 26.
    assert len(tokens) == 26
    assert max(map(len, tokens[2:-1])) >= 3
    for text in ("had had lunch", "over there"):
        pieces = model.encode(text, out_type=str)
        assert set(pieces) <= set(tokens)
        assert model.decode(pieces) == text
    # Both texts of an utterance are in it, the mark between them is not.
    assert not any("<sc" in token or "<" in token for token in tokens[2:-1])
    files = {p.name for p in (tmp_path / "tokens").iterdir()}
    assert files == {"tokens.txt", "bpe.model", "bpe.vocab"}


@pytest.mark.parametrize("bpemode", ["unigram", "bpe"])
def test_a_small_corpus_gets_fewer_pieces(tmp_path, bpemode):
    tokens = make(tmp_path, "--nbpe", "5000", "--bpemode", bpemode)
    assert 15 < len(tokens) < 100
    assert len(set(tokens)) == len(tokens)


def test_a_closed_vocabulary_gets_a_piece_per_word(tmp_path):
    """8 words, 9 letters, the word start and 3 special pieces find room in 21."""
    words = "alpha bravo deal grab had over reveal hall".split()
    text = "".join(f"u{k} {word} had\n" for k, word in enumerate(words))
    whole = {f"\u2581{word}" for word in words}
    tokens = make(tmp_path, "--nbpe", "30", text=text)
    assert whole < set(tokens)
    folder = tmp_path / "tokens"
    pieces = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/bpe.model")
    for word in words:
        assert pieces.encode(word, out_type=str) == [f"\u2581{word}"]
    assert not list(folder.glob("*.part"))
    # Without the room, some words are several pieces.
    assert not whole < set(make(tmp_path, "--nbpe", "18", text=text))


def test_a_language_models_units(tmp_path):
    """All of them, not only those of the training text."""
    tokenizer = make_tiny_tokenizer(tmp_path / "llm")
    options = ["--token_type", "hugging_face", "--llm", str(tmp_path / "llm")]
    tokens = make(tmp_path, *options)
    assert (tokens[:2], tokens[-1]) == (["<blank>", "<unk>"], "<sos/eos>")
    assert len(set(tokens)) == len(tokens) == len(tokenizer) + 1
    assert set(tokenizer.tokenize("over the sea")) <= set(tokens)
    files = {p.name for p in (tmp_path / "tokens").iterdir()}
    assert files == {"tokens.txt", "tokenizer.json"}
    with pytest.raises(UserError, match="hugging_face: needs a tokenizer; give --llm"):
        make(tmp_path, *options[:2])


def test_fewer_pieces_than_characters(tmp_path):
    with pytest.raises(UserError, match="--nbpe 6: sentencepiece says"):
        make(tmp_path, "--nbpe", "6")
    assert not (tmp_path / "tokens" / "tokens.txt").exists()


def test_the_same_text_gives_the_same_pieces(tmp_path):
    first = make(tmp_path, "--nbpe", "30", text=LONG_TEXT)
    model = (tmp_path / "tokens" / "bpe.model").read_bytes()
    assert make(tmp_path, "--nbpe", "30", text=LONG_TEXT) == first
    assert (tmp_path / "tokens" / "bpe.model").read_bytes() == model


@pytest.mark.parametrize(
    "text, message",
    [
        ("u1 <sc>\nu2\n", "text: has no words"),
        ("", "text: is empty"),
        ("b a\na b\n", "text:2: id a after b is not sorted"),
    ],
)
def test_bad_texts(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        make(tmp_path, text=text)


def test_units_that_are_there(tmp_path, capsys):
    options = ["--token_type", "char"]
    tokens = make(tmp_path, *options)
    assert make(tmp_path, *options, "--check", "true", text="u1 hat\n") == tokens
    assert "tokens: the existing units fit" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"no units for 50.0 % of the texts \(x, q\)"):
        make(tmp_path, *options, "--check", "true", text="u1 xxqhat\n")


def test_pieces_that_are_there(tmp_path):
    make(tmp_path, "--nbpe", "26", text=LONG_TEXT)
    make(tmp_path, "--check", "true", text="u1 the hand\n")
    with pytest.raises(UserError, match="has no units for"):
        make(tmp_path, "--check", "true", text="u1 the quiz\n")
