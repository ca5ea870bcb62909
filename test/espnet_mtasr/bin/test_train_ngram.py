"""train-ngram: texts, what is held out, and what decoding makes of it."""

import math
from itertools import pairwise

import numpy as np
import pytest
from helpers.tiny_inference import WORDS, noises, save_tiny_model

from espnet_mtasr.bin import mtasr_inference
from espnet_mtasr.bin.train_ngram import main
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.text.ngram import Ngram

HAD, LUNCH, GOOD, DAY = range(2, 6)
BOUNDARY = len(WORDS)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tokens.txt").write_text("\n".join(WORDS) + "\n")
    write_table(tmp_path / "train", {"u1": "had lunch <sc> good day", "u2": "good day"})
    write_table(tmp_path / "test", {"u3": "a b c d e f g h i"})
    return tmp_path


def options(place, *more):
    words = ["--transcripts", place / "train", "--token_list", place / "tokens.txt"]
    words += ["--token_type", "word", "--output", place / "ngram.safetensors", *more]
    return [str(word) for word in words]


def probability(place, context, unit):
    ngram = Ngram.read(place / "ngram.safetensors")
    return math.exp(ngram.log_probs((BOUNDARY, *context))[unit])


def test_transcripts_alone(place, capsys):
    main(options(place))
    assert "n-grams of 4 units" in capsys.readouterr().out
    assert probability(place, [GOOD], DAY) > 0.5 > 0.2 > probability(place, [GOOD], HAD)
    # The longest n-grams have six units.
    assert len(Ngram.read(place / "ngram.safetensors").orders) == 6


def test_further_texts(place, capsys):
    """A book: letters as in the transcripts, and sentences of its own."""
    book = place / "books" / "sub" / "book.txt"
    book.parent.mkdir(parents=True)
    book.write_text(
        "Licence.\n*** START OF THIS BOOK ***\n"
        "Had Had;\nhad, HAD!  'good' had 7 lunch.\nLunch-\nday\n\nday \u201chad\u201d\n"
        "*** END OF THIS BOOK ***\nMore licence.\n"
    )
    lines = place / "lines.txt"
    lines.write_text("good lunch\nGOOD LUNCH\n")
    main(options(place, "--text", place / "books", lines, "--ngram_num", 2))
    out = capsys.readouterr().out
    # Had had; had had; lunch day; day; had. The one with a 7 is left out.
    assert "7 sentences of 2 texts; 0 that" in out and "n-grams of 16 units" in out
    assert len(Ngram.read(place / "ngram.safetensors").orders) == 2


def test_test_sentences_are_left_out(place, capsys):
    """Those in other texts; of the books that were read, all sentences."""
    write_table(place / "train", {"u1": "abc def ghi"})
    held = "a b c d e f g h"
    (place / "one.txt").write_text(f"abc def. x {held}. ghi.")
    book = [f"{held} {word}." for word in ("ab", "bc", "cd") * 3]
    (place / "book.txt").write_text(" ".join(["abc abc abc.", *book]))
    texts = [place / "one.txt", place / "book.txt"]
    main(options(place, "--text", *texts, "--held_out", place / "test"))
    out = capsys.readouterr().out
    # Of one.txt "abc def" and "ghi" are left; x is no letter of the transcripts.
    assert "2 sentences of 2 texts; 9 that held-out sets may have" in out
    assert "with all of 1 texts" in out


@pytest.mark.parametrize(
    "more, says",
    [
        (["--text", "none.txt"], "none.txt: no such file or folder"),
        (["--ngram_num", "0"], "--ngram_num 0: give 1 or more"),
        (["--least", "1", "0"], "--least 1 0: give counts from 1"),
        (["--ngram_num", "30"], "--ngram_num 30: with 7 units at most 21"),
        (["--token_list", "none"], "--token_list none: no such file; run stages 3"),
    ],
)
def test_refused(place, more, says):
    with pytest.raises(UserError, match=says):
        main(options(place, *more))
    assert not (place / "ngram.safetensors").exists()


def share_known(texts):
    pairs = [pair for text in texts for pair in pairwise(text.split())]
    known = [pair in {("had", "lunch"), ("good", "day")} for pair in pairs]
    return np.mean(known)


def test_decoding_with_it(place, tmp_path_factory):
    main(options(place))
    model_file = save_tiny_model(tmp_path_factory.mktemp("model") / "exp", WORDS)
    ngram = place / "ngram.safetensors"
    waves = noises(9000, 12345)
    found = {}
    for weight in (0.0, 20.0):
        speech2text = Speech2Text(
            None, model_file, beam_size=8, ngram_file=ngram, ngram_weight=weight
        )
        found[weight] = [t.text for h in speech2text(waves, [2, 3]) for t in h.talkers]
    assert share_known(found[20.0]) > 2 * share_known(found[0.0])
    with pytest.raises(UserError, match="--ngram_file .*: needs --beam_size 2 or more"):
        Speech2Text(None, model_file, ngram_file=ngram)
    for bad in (dict(ngram_weight=-1.0), dict(penalty=np.nan)):
        with pytest.raises(UserError, match="--ngram_weight .*: give numbers"):
            Speech2Text(None, model_file, beam_size=2, ngram_file=ngram, **bad)
    other = save_tiny_model(tmp_path_factory.mktemp("other") / "exp")
    with pytest.raises(UserError, match="was trained with other units"):
        Speech2Text(None, other, beam_size=2, ngram_file=ngram)


@pytest.mark.parametrize(
    "conf, says",
    [
        ("ngram_weight: 1", "--ngram_weight 1: needs --ngram_file"),
        ("ngram_file: x\npenalty: [1]", r"--penalty \[1\]: give a number"),
        ("decoder: llm\nngram_file: x", "--ngram_file x: only for decoder ctc"),
    ],
)
def test_refused_by_the_decoder(tmp_path, conf, says):
    path = tmp_path / "decode.yaml"
    path.write_text(conf)
    words = f"--config {path} --output_dir o --mtasr_model_file m"
    words += " --data_path_and_name_and_type wav.scp,speech,sound"
    with pytest.raises(UserError, match=says):
        mtasr_inference.parse_arguments(words.split())


def test_a_missing_file_is_told_before_anything_is_loaded(tmp_path):
    model_file = tmp_path / "model.pth"
    model_file.touch()
    words = f"--output_dir o --mtasr_model_file {model_file} --ngram_file none"
    words += " --beam_size 2 --data_path_and_name_and_type wav.scp,speech,sound"
    with pytest.raises(UserError, match="--ngram_file none: no such file; run stage 5"):
        mtasr_inference.main(words.split())
