"""Synthetic voices for mini_librispeech_mix: sentences, readings, what is left out."""

import doctest
import importlib
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from helpers.recipe_copy import ROOT
from helpers.stand_in_engines import write_engines
from helpers.tiny_real_corpora import RATE, tone

from espnet_mtasr.corpora.cleaning import words_of
from espnet_mtasr.corpora.librispeech import scan_corpus
from espnet_mtasr.errors import UserError

LOCAL = ROOT / "egs2" / "mini_librispeech_mix" / "mtasr1" / "local"
SENTENCES = [
    "The cat sat on the mat.",
    "Nobody knew, he said: why?",
    "- A well-known man came in.",
    "the CAT sat on the mat",
    "He had 5 pounds.",
    "We know it.",
    "Come home soon!",
    "no " * 41,
]
READ = {
    "the cat sat on the mat",
    "nobody knew he said why",
    "a well known man came in",
    "come home soon",
}
no_engine = not (shutil.which("flite") or shutil.which("espeak-ng"))


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(LOCAL))
    return importlib.import_module("synthesize_corpus")


@pytest.fixture
def writer(monkeypatch):
    monkeypatch.syspath_prepend(str(LOCAL))
    return importlib.import_module("write_sentences")


@pytest.fixture
def corpus(tmp_path):
    """A corpus in which a talker of dev and one of test say a sentence each."""
    for subset, text in (("dev_ml", "WE KNOW IT"), ("test_so", "good night")):
        chapter = tmp_path / "corpus" / subset / "7" / "0"
        chapter.mkdir(parents=True)
        soundfile.write(chapter / "7-1.flac", tone(300, 0.5), RATE)
        (chapter / "7.trans.txt").write_text(f"7-1 {text}\n")
    (tmp_path / "sentences.txt").write_text("\n".join(SENTENCES) + "\n")
    return tmp_path / "corpus"


def run(corpus, *options, path=None):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    engines = write_engines(corpus.parent / "engines") if path is None else path
    env["PATH"] = f"{engines}:{env['PATH']}"
    command = [sys.executable, LOCAL / "synthesize_corpus.py", "--corpus", corpus]
    command += ["--sentences", corpus.parent / "sentences.txt", "--nj", "2", *options]
    return subprocess.run(
        [str(word) for word in command], env=env, capture_output=True, text=True
    )


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.rglob("*.flac")}


def test_readings(corpus):
    done = run(corpus, "--n", "10")
    assert done.returncode == 0, done.stderr
    for reason in (
        "1 sentences that occur in dev or test",
        "1 sentences that occur twice",
        "1 sentences that have no letters, or letters other than a to z",
        "1 sentences that have more than 40 words",
    ):
        assert f"left out {reason}" in done.stdout
    found = scan_corpus(corpus, "train_sy").utterances
    # Each comes once before one comes again.
    assert len(found) == 10
    assert {u.text for u in found} == READ
    assert all(u.id.startswith(f"{u.talker}-") for u in found)
    assert len({u.talker for u in found}) > 3
    for utt in found:
        samples, rate = soundfile.read(corpus / utt.path)
        assert rate == RATE
        # Of the silence that engines give, a tenth of a second stays at both ends.
        assert all(
            np.abs(end).max() > 0.02 for end in (samples[:4800], samples[-4800:])
        )


def test_goes_on_where_it_was(corpus):
    assert run(corpus, "--n", "6").returncode == 0
    first = contents(corpus / "train_sy")
    assert len(first) == 6
    lost = sorted((corpus / "train_sy").rglob("*.flac"))[2]
    lost.unlink()
    kept = {p: p.stat().st_mtime_ns for p in (corpus / "train_sy").rglob("*.flac")}
    assert run(corpus, "--n", "9").returncode == 0
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    more = contents(corpus / "train_sy")
    assert len(more) == 9 and first.items() <= more.items()
    assert len(scan_corpus(corpus, "train_sy").utterances) == 9
    # Fewer: transcripts say which.
    assert run(corpus, "--n", "4").returncode == 0
    assert len(scan_corpus(corpus, "train_sy").utterances) == 4
    done = run(corpus, "--n", "6", "--seed", "2")
    assert "making it again" in done.stdout
    assert contents(corpus / "train_sy") != first


def test_what_engines_do_wrong(corpus):
    sentences = corpus.parent / "sentences.txt"
    sentences.write_text("This is broken.\nHush, little baby.\nCome home soon.\n")
    done = run(corpus, "--n", "30")
    assert done.returncode == 0, done.stderr
    bad = (corpus / "train_sy.bad_audio").read_text()
    texts = {u.text for u in scan_corpus(corpus, "train_sy").utterances}
    assert "come home soon" in texts
    assert "no such sound" in bad and "is silent" in bad
    assert f"left out {bad.count(chr(10))} recordings" in done.stdout
    sentences.write_text("We know it.\n")
    done = run(corpus)
    assert done.returncode == 2
    assert "sentences.txt: has no usable sentence" in done.stderr
    sentences.unlink()
    assert "sentences.txt: no such file" in run(corpus).stderr


def test_no_engines(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "available_engines", lambda: [])
    message = "no synthesizer is installed; .*install flite.* install espeak-ng"
    with pytest.raises(UserError, match=message):
        script.main(["--check_engines"])
    monkeypatch.setattr(script, "available_engines", lambda: ["flite"])
    assert {t.engine for t in script.installed_talkers()} == {"flite"}
    assert "without the program espeak-ng" in capsys.readouterr().out


def test_options_of_engines(script):
    """A sentence is no option and no markup, whatever a line begins with."""
    sentences = script.read_sentences(LOCAL / "sentences" / "smollm2.txt", set())
    assert all(text[0].isalpha() for text in sentences.values())


@pytest.mark.skipif(no_engine, reason="no flite, no espeak-ng")
def test_real_engines(corpus, tmp_path):
    done = run(corpus, "--n", "8", path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (corpus / "train_sy.bad_audio").exists()
    made = contents(corpus / "train_sy")
    shutil.rmtree(corpus / "train_sy")
    assert run(corpus, "--n", "8", path=tmp_path).returncode == 0
    assert contents(corpus / "train_sy") == made and len(made) == 8


def test_doctests(writer):
    assert doctest.testmod(writer).failed == 0


def test_what_is_no_sentence(writer):
    for passage in (
        "The cat and the cat and the cat and the cat sat. End",
        "for x in range: print x y z. End",
        "Mr Smith came home at last. End",
        "They live in the USA now. End",
        "Hmm grr brr tsk. End",
        "Too short now. End",
        "This one is broken off and",
    ):
        assert writer.sentences_of(passage) == []
    assert writer.sentences_of('"Come in," he\nsaid. She left at once! End') == [
        "Come in, he said.",
        "She left at once!",
    ]


class Passages:
    """Stands for tokenizer and model: passages in turn."""

    pad_token = eos_token = "x"
    pad_token_id = 0

    def __init__(self, *batches):
        self.batches = list(batches)

    def __call__(self, openings, **_):
        return {}

    def eval(self):
        return self

    def generate(self, **_):
        return None

    def batch_decode(self, ids, **_):
        return self.batches.pop(0) if self.batches else []


def test_written_sentences(writer, corpus, tmp_path, monkeypatch):
    import transformers

    model = Passages(
        [
            "We know it now well. We know it now well enough. End",
            "Come home soon, I say. E",
        ],
        ["Come home soon, I say. The cat sat on the mat. End"],
    )
    for name in ("AutoTokenizer", "AutoModelForCausalLM"):
        auto = getattr(transformers, name)
        monkeypatch.setattr(auto, "from_pretrained", lambda *_, **__: model)
    chapter = corpus / "dev_ml" / "7" / "0" / "7.trans.txt"
    chapter.write_text("7-1 THE CAT SAT ON THE MAT\n")
    out = tmp_path / "out.txt"
    options = [str(out), "--model", str(tmp_path), "--known", str(corpus)]
    with pytest.raises(UserError, match="wrote no new sentence"):
        writer.main([*options, "--n", "3"])
    assert out.read_text() == "We know it now well.\nCome home soon, I say.\n"


def test_kept_sentences(writer):
    """What the recipe brings: each can be read, and none stands twice."""
    path = LOCAL / "sentences" / "smollm2.txt"
    lines = path.read_text(encoding="ascii").splitlines()
    assert len(lines) >= 500 and path.stat().st_size < 200_000
    assert all(writer.is_speakable(line) for line in lines)
    assert len({words_of(line) for line in lines}) == len(lines)
    beside = (path.parent / "README.md").read_text()
    assert "SmolLM2" in beside and "Apache" in beside
