"""train-ngram: texts, what is held out, and what decoding makes of it."""

import math
import shutil
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from helpers.progress_patterns import counted
from helpers.tiny_inference import WORDS, noises, save_tiny_model

from espnet_mtasr.bin import mtasr_inference
from espnet_mtasr.bin.fit_ngram import main as fit_ngram
from espnet_mtasr.bin.train_ngram import main
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.model_zoo.model_files import files_of
from espnet_mtasr.publishing.packing import pack_model
from espnet_mtasr.text.ngram import Fit, Ngram
from espnet_mtasr.transcription.mtasr import MTASR

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


def test_kaldi_tables(place, capsys):
    (place / "more").mkdir()
    write_table(place / "more" / "text", {"id-1": "had had <sc> day", "id-2": "lunch"})
    main(options(place, "--text", place / "more" / "text"))
    assert "3 sentences of 1 texts" in capsys.readouterr().out


def test_short_test_sentences_are_left_out(place, capsys):
    write_table(place / "test", {"u3": "good lunch <sc> 'had-day"})
    (place / "book.txt").write_text("Good lunch. Had, day! Good good lunch.")
    main(options(place, "--text", place / "book.txt", "--held_out", place / "test"))
    assert "1 sentences of 1 texts" in capsys.readouterr().out


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
    assert "2 sentences of 2 texts; 9 that share eight words" in out
    assert "with all of 1 texts" in out


@pytest.mark.parametrize(
    "more, says",
    [
        (["--text", "none.txt"], "none.txt: no such file or folder"),
        (["--ngram_num", "0"], "--ngram_num 0: give 1 to 21, with 7 units"),
        (["--least", "1", "0"], "--least 1 0: give counts from 1"),
        (["--max_ngrams", "6"], "--max_ngrams 6: give 7 or more, the number of units"),
        (["--ngram_num", "30"], "--ngram_num 30: give 1 to 21"),
        (["--token_type", "bpe"], "--bpemodel is missing: --token_type bpe needs it"),
        (
            ["--text", "digits.txt"],
            "digits.txt: --text has no sentences of the trans",
        ),
        (["--token_list", "none"], "--token_list none: no such file; run stages 3"),
    ],
)
def test_refused(place, more, says, monkeypatch):
    monkeypatch.chdir(place)
    (place / "digits.txt").write_text("1. 22. 333.")
    with pytest.raises(UserError, match=says):
        main(options(place, *more))
    assert not (place / "ngram.safetensors").exists()


def share_known(texts):
    pairs = [pair for text in texts for pair in pairwise(text.split())]
    known = [pair in {("had", "lunch"), ("good", "day")} for pair in pairs]
    return np.mean(known)


@pytest.fixture
def model_file(place, tmp_path_factory):
    """A model, and beside it an n-gram that weighs a lot."""
    main(options(place))
    model_file = save_tiny_model(tmp_path_factory.mktemp("model") / "exp", WORDS)
    ngram = Ngram.read(place / "ngram.safetensors")
    ngram.fit = Fit("model.pth", 8, {2: (20.0, 0.0), 3: (20.0, 0.0)})
    ngram.write(model_file.with_name("ngram.safetensors"))
    return model_file


def test_decoding_with_it(model_file):
    waves = noises(9000, 12345)
    found = {}
    for ngram in (False, True):
        speech2text = Speech2Text(None, model_file, beam_size=8, ngram=ngram)
        found[ngram] = [t.text for h in speech2text(waves, [2, 3]) for t in h.talkers]
    assert share_known(found[True]) > 2 * share_known(found[False])
    with pytest.raises(UserError, match="--ngram true needs --beam_size 2 or more"):
        Speech2Text(None, model_file, ngram=True)


def test_others_ngrams_are_refused(model_file, tmp_path):
    path = model_file.with_name("ngram.safetensors")
    other = save_tiny_model(tmp_path / "exp").parent
    shutil.copy(path, other)
    with pytest.raises(UserError, match="was trained with other units"):
        Speech2Text(None, other / "model.pth", beam_size=2, ngram=True)
    for fit in (None, Fit("other.pth", 8, {2: (0.5, 1.0)})):
        ngram = Ngram.read(path)
        ngram.fit = fit
        ngram.write(path)
        with pytest.raises(UserError, match="was not fitted to model.pth"):
            Speech2Text(None, model_file, beam_size=2, ngram=True)
        assert not MTASR.from_files(files_of(model_file.parent)).speech2text.has_ngram


def test_a_model_uses_its_ngram(model_file, tmp_path):
    """Also packed, and unless the user wants greedy search."""
    zip_file = tmp_path / "model.zip"
    pack_model(model_file.with_name("config.yaml"), model_file, zip_file)
    texts = {}
    for model in (model_file.parent, zip_file):
        for beam_size, used, expected in ((None, True, 8), (1, False, 1), (3, True, 3)):
            loaded = MTASR.from_pretrained(model, "cpu", beam_size=beam_size)
            speech2text = loaded.speech2text
            assert (speech2text.has_ngram, speech2text.beam_size) == (used, expected)
            transcript = loaded.transcribe(
                noises(12345)[0], num_talkers=3, vad_threshold=0.0
            )
            assert transcript.origin.settings["ngram"] is used
            texts[model, beam_size] = [talker.text for talker in transcript.talkers]
    for beam_size in (None, 1, 3):
        assert texts[zip_file, beam_size] == texts[model_file.parent, beam_size]
    assert texts[zip_file, None] != texts[zip_file, 1]


def test_fitted(model_file, tmp_path, capsys):
    """On speech whose true words are what the n-gram makes of it, it gets a weight."""
    state = torch.load(model_file)
    # Less sure of itself, or no n-gram could change its mind.
    state = {k: w / 20 if "ctc_lo" in k else w for k, w in state.items()}
    torch.save(state, model_file)
    path = model_file.with_name("ngram.safetensors")
    ngram = Ngram.read(path)
    ngram.fit = Fit("model.pth", 4, {2: (0.5, 1.5), 3: (0.5, 1.5)})
    ngram.write(path)
    teller = Speech2Text(None, model_file, beam_size=4, ngram=True)
    data = tmp_path / "dev"
    tables = {"wav.scp": {}, "text": {}, "utt2num_spk": {}}
    for k, wave in enumerate(noises(9000, 8000, 9500)):
        recording = tmp_path / f"{k}.wav"
        soundfile.write(recording, wave, 16000, "FLOAT")
        tables["wav.scp"][f"u{k}"] = recording
        tables["text"][f"u{k}"] = teller([wave], [2 + k % 2])[0].sot_text
        tables["utt2num_spk"][f"u{k}"] = 2 + k % 2
    for name, table in tables.items():
        write_table(data / name, table)
    words = ["--mtasr_model_file", model_file, "--data_dir", data, "--beam_size", 4]
    raw = tmp_path / "raw.safetensors"
    ngram.fit = None
    ngram.write(raw)
    fit_ngram([str(word) for word in (*words, "--ngram_file", raw)])
    out, err = capsys.readouterr()
    table = model_file.with_name("ngram.md").read_text()
    assert table in out and "| talkers | mixtures of dev |" in table
    rows = [list(map(float, line[1:-1].split("|"))) for line in table.splitlines()[2:]]
    assert [row[:2] for row in rows] == [[2, 2], [3, 1]]
    assert counted("N-gram", err)[-1] == (2, 2)
    fit = Ngram.read_fit(model_file.with_name("ngram.safetensors"))
    assert (fit.model, fit.beam_size) == ("model.pth", 4)
    for count, _, greedy, beam, with_ngram, weight, penalty in rows:
        assert fit.weights[count] == (weight, penalty)
        assert weight > 0 and with_ngram < min(greedy, beam)
    with pytest.raises(UserError, match="--beam_size 1: give 2 or more"):
        fit_ngram(
            [str(word) for word in (*words, "--ngram_file", raw, "--beam_size", 1)]
        )


@pytest.mark.parametrize(
    "conf, says",
    [
        ("ngram: true", "--ngram true: needs --beam_size 2 or more"),
        ("ngram: maybe", "--ngram maybe: choose one of true, false"),
        ("decoder: llm\nngram: true", "--ngram true: only for decoder ctc"),
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
    words = f"--output_dir o --mtasr_model_file {model_file} --ngram true"
    words += " --beam_size 2 --data_path_and_name_and_type wav.scp,speech,sound"
    with pytest.raises(
        UserError, match="--ngram true: there is no ngram.safetensors beside"
    ):
        mtasr_inference.main(words.split())
