"""MTASRPreprocessor: SOT text to CTC targets per talker and the teacher's ids."""

import pickle

import numpy as np
import pytest
from espnet2.text.cleaner import TextCleaner
from helpers.tiny_models import CHARACTERS, LLM_VOCAB, make_tiny_tokenizer

from espnet_mtasr.train.preprocessor import MTASRPreprocessor


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tiny_tokenizer(folder)
    return str(folder)


def process(text, **options):
    options = {"token_type": "char", "token_list": CHARACTERS, **options}
    preprocessor = MTASRPreprocessor(train=True, max_num_talkers=3, **options)
    speech = np.zeros(10, dtype=np.float32)
    return preprocessor("utt", {"speech": speech, "text": text})


def ids(text):
    return [CHARACTERS.index("<space>" if c == " " else c) for c in text]


def test_each_talker_gets_its_text_and_absent_ones_an_empty_array(llm):
    data = process("had had  <sc> a b", llm=llm)
    assert sorted(data) == ["speech", "text", "text_spk1", "text_spk2", "text_spk3"]
    assert data["text_spk1"].tolist() == ids("had had")
    assert data["text_spk2"].tolist() == ids("a b")
    assert data["text_spk3"].tolist() == []
    assert {data[name].dtype for name in data} == {np.dtype("f4"), np.dtype("i8")}


def test_weakness_6_a_talkers_ids_do_not_depend_on_the_neighbour(llm):
    """Neither CTC's nor the teacher's, whatever stands around `<sc>`."""
    alone = [process(text, llm=llm) for text in ("over the sea", "had had")]
    for text in ("over the sea <sc> had had", "over the sea<sc>had had"):
        both = process(text, llm=llm)
        for k in range(2):
            wanted = alone[k]["text_spk1"].tolist()
            assert both[f"text_spk{k + 1}"].tolist() == wanted
        assert both["text"].tolist() == [
            *alone[0]["text"],
            LLM_VOCAB,
            *alone[1]["text"],
        ]


def test_a_cleaner_reaches_the_teacher_too(llm, monkeypatch):
    """Else it would be taught other words than CTC is."""
    wanted = process("over the sea <sc> had had", llm=llm)
    # ESPnet's cleaners need other packages.
    monkeypatch.setattr(TextCleaner, "__call__", lambda self, text: text.lower())
    cleaned = process("OVER the sea <sc> Had HAD", llm=llm)
    for name in ("text", "text_spk1", "text_spk2"):
        assert cleaned[name].tolist() == wanted[name].tolist()


def test_without_a_teacher_text_holds_the_ctc_ids():
    """ESPnet wants a `text`, and the sampler its length."""
    data = process("ab <sc> c")
    assert data["text"].tolist() == ids("abc")


def test_too_many_talkers():
    with pytest.raises(ValueError, match="4 talkers .* at most 3"):
        process("a <sc> b <sc> c <sc> a")


def test_no_text_in_inference():
    preprocessor = MTASRPreprocessor(
        train=False, token_type="char", token_list=CHARACTERS, llm="no/such/folder"
    )
    data = preprocessor("utt", {"speech": np.zeros(3, dtype=np.float32)})
    assert list(data) == ["speech"]


def test_goes_to_workers(llm):
    """Also after its first use."""
    preprocessor = MTASRPreprocessor(
        train=True, token_type="char", token_list=CHARACTERS, llm=llm
    )
    first = preprocessor("utt", {"text": "a <sc> b"})["text"]
    copy = pickle.loads(pickle.dumps(preprocessor))
    assert copy("utt", {"text": "a <sc> b"})["text"].tolist() == first.tolist()


def test_sentencepiece_units(tmp_path):
    """Pieces of each talker's text begin anew: ▁ starts every talker."""
    from espnet_mtasr.bin.make_token_list import main

    text = tmp_path / "text"
    text.write_text("u1 had had <sc> over the sea\nu2 bravo alpha <sc> the had\n")
    main(["--text", str(text), "--output_dir", str(tmp_path), "--nbpe", "30"])
    tokens = (tmp_path / "tokens.txt").read_text().splitlines()
    data = process(
        "the sea <sc> over",
        token_type="bpe",
        token_list=str(tmp_path / "tokens.txt"),
        bpemodel=str(tmp_path / "bpe.model"),
    )
    for name, words in (("text_spk1", "the sea"), ("text_spk2", "over")):
        pieces = [tokens[i] for i in data[name]]
        assert "".join(pieces).replace("▁", " ") == f" {words}"
