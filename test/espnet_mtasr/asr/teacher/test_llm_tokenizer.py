"""SOT transcripts to the language model's ids and back."""

import pytest
from helpers.tiny_models import make_tiny_tokenizer

from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer
from espnet_mtasr.errors import UserError


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tiny_tokenizer(folder)
    return LLMTokenizer(str(folder))


def test_weakness_6_each_talker_is_tokenized_alone(tokenizer):
    plain = tokenizer.tokenizer
    first, second = "over the sea", "had had"
    alone = [plain(t, add_special_tokens=False)["input_ids"] for t in (first, second)]
    ids = tokenizer.encode(f"{first} <sc> {second}")
    assert ids == [*alone[0], tokenizer.sc_id, *alone[1]]
    # As one string, the second talker's first word would have other ids.
    assert plain(f" {second}", add_special_tokens=False)["input_ids"] != alone[1]
    for spacing in ("{}<sc>{}", "{} <sc>{}", "{}  <sc>  {}"):
        assert tokenizer.encode(spacing.format(first, second)) == ids


def test_ids_hold_no_begin_or_end(tokenizer):
    ids = tokenizer.encode("a <sc> b")
    assert tokenizer.bos_id not in ids and tokenizer.eos_id not in ids


@pytest.mark.parametrize(
    "text",
    ["a", "had had <sc> over the sea <sc> bravo", "a <sc>", "<sc> b", "ü <sc> z"],
)
def test_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_sc_survives_decoding_without_special_tokens(tokenizer):
    ids = [tokenizer.bos_id, *tokenizer.encode("a <sc> b"), tokenizer.eos_id]
    assert tokenizer.decode(ids) == "a <sc> b"
    assert len(tokenizer) == tokenizer.sc_id + 1


def test_talkers_are_split_by_the_id_alone(tokenizer):
    ids = tokenizer.encode("a b <sc> <sc> c")
    assert tokenizer.split(ids) == [tokenizer.encode("a b"), [], tokenizer.encode("c")]
    assert tokenizer.split([]) == [[]]
    plain = tokenizer.tokenizer
    spelled = plain.convert_tokens_to_ids(["a", "<", "s", "c", ">", "b"])
    assert plain.decode(spelled) == "a<sc>b"
    assert tokenizer.split(spelled) == [spelled]
    assert tokenizer.decode_talker(spelled) == "a b"
    assert tokenizer.decode(spelled) == "a b"


def test_white_space_is_one_blank(tokenizer):
    """A line break would tear a table of texts apart."""
    ids = tokenizer.tokenizer("a \n\r b\x85c ", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode_talker(ids) == "a b c"
    assert tokenizer.tokens(ids[:1]) == ["a"]


def test_no_tokenizer_and_no_eos(tmp_path):
    with pytest.raises(UserError, match="neither a folder"):
        LLMTokenizer(str(tmp_path))
    plain = make_tiny_tokenizer(tmp_path)
    plain.eos_token = None
    plain.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="eos_token"):
        LLMTokenizer(str(tmp_path))
