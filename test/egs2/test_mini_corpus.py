"""The mini recipe's synthetic corpus, noise and stage 1, at their smallest."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.tiny_corpus import make_tiny_corpus

from espnet_mtasr.data.tables import read_data_dir

REPO = Path(__file__).parents[2]
RECIPE = REPO / "egs2" / "mini_librimix" / "mtasr1"
LOCAL = RECIPE / "local"
CORPUS = LOCAL / "corpus"
EXPERIMENTS = LOCAL / "experiments"
SPLITS = ("train-clean-100", "dev-clean", "test-clean")
TINY = []
for _split, _talkers in (("train", 4), ("dev", 3), ("test", 3)):
    TINY += [f"--{_split}_talkers", str(_talkers), f"--{_split}_utts", "2"]

no_engine = not (shutil.which("flite") or shutil.which("espeak-ng"))
needs_engine = pytest.mark.skipif(no_engine, reason="no flite, no espeak-ng")


def run(*words, cwd=None):
    env = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    env["VIRTUAL_ENV"] = sys.prefix
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd)


def make_corpus(out, *options):
    script = CORPUS / "make_mini_librispeech.py"
    return run(sys.executable, script, out, *TINY, *options)


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    done = make_corpus(out, "--nj", "2")
    assert done.returncode == 0, done.stderr
    return out / "LibriSpeech"


@needs_engine
def test_layout_is_librispeechs(corpus):
    talkers, texts, words = {}, [], {}
    for split in SPLITS:
        audio = sorted((corpus / split).glob("*/*/*.flac"))
        talkers[split] = {p.parts[-3] for p in audio}
        for path in audio:
            talker, chapter, _ = path.stem.split("-")
            assert (talker, chapter) == path.parts[-3:-1]
            info = soundfile.info(path)
            assert info.samplerate == 16000
            assert 0.8 < info.duration < 8
            lines = (path.parent / f"{talker}-{chapter}.trans.txt").read_text()
            text = re.search(rf"^{path.stem} ([A-Z ]+)$", lines, re.MULTILINE)
            texts.append(text.group(1))
            words.setdefault(split, set()).update(text.group(1).split())
    assert [len(talkers[split]) for split in SPLITS] == [4, 3, 3]
    assert len(set.union(*talkers.values())) == 10
    assert len(set(texts)) == len(texts) == 20
    assert words["test-clean"] | words["dev-clean"] <= words["train-clean-100"]
    table = (corpus / "SPEAKERS.TXT").read_text().splitlines()
    assert table[11].startswith(";ID  |SEX| SUBSET")
    assert len(table) == 12 + 10
    assert (corpus / ".complete").exists()


@needs_engine
def test_corpus_is_deterministic_and_resumes(corpus, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "LibriSpeech")
    (copy / ".complete").unlink()
    lost = next(copy.glob("test-clean/*/*/*.flac"))
    lost.unlink()
    assert make_corpus(tmp_path, "--nj", "1").returncode == 0
    assert contents(copy) == contents(corpus)
    again = make_corpus(tmp_path)
    assert again.stdout == f"{copy}: is complete\n"


@pytest.fixture(scope="module")
def placed(corpus, tmp_path_factory):
    """A corpus of placed words, and what words.ctm says by utterance."""
    out = tmp_path_factory.mktemp("placed")
    script = CORPUS / "make_placed_words.py"
    small = ("--talkers", "3", "--utts", "1")
    done = run(sys.executable, script, out, "--corpus", corpus, *small)
    assert done.returncode == 0, done.stderr
    words = {}
    for line in (out / "LibriSpeech" / "words.ctm").read_text().splitlines():
        utt, _, start, seconds, word = line.split()
        words.setdefault(utt, []).append((float(start), float(seconds), word))
    return out / "LibriSpeech", words


@needs_engine
def test_placed_words_are_where_words_ctm_says(corpus, placed):
    root, words = placed
    recordings = {path.stem: path for path in root.rglob("*.flac")}
    assert set(recordings) == set(words) and len(words) == 6
    known = {
        u for path in corpus.rglob("*.trans.txt") for u in path.read_text().split()
    }
    for utt, path in recordings.items():
        samples, rate = soundfile.read(path)
        folder, stem = path.parent, utt.rsplit("-", 1)[0]
        text = (folder / f"{stem}.trans.txt").read_text().strip()
        assert text == f"{utt} {' '.join(word.upper() for _, _, word in words[utt])}"
        assert {word.upper() for _, _, word in words[utt]} <= known
        silent = np.ones(len(samples), dtype=bool)
        end = 0.0
        for start, seconds, _ in words[utt]:
            assert 0.01 < start - end < 0.13
            end = start + seconds
            first, last = round(start * rate), round(end * rate)
            # words.ctm is rounded to 0.1 ms.
            silent[first - 2 : last + 2] = False
            assert np.abs(samples[first:last]).max() > 0.02
        # Between the words there is but the floor.
        assert np.abs(samples[silent]).max() < 5e-3


@needs_engine
def test_word_times_of_mixtures(placed, tmp_path):
    root, words = placed
    first, second = sorted(root.rglob("*.flac"))[:2]
    sources = [
        {"path": str(p), "gain": 1.0, "talker": p.stem, "seconds": 1.0}
        for p in (first, second)
    ]
    spec = {"sources": sources, "onsets": [0.0, 0.7], "rate": 16000}
    (tmp_path / "utt2mixture").write_text(f"mix {json.dumps(spec)}\n")
    script = EXPERIMENTS / "mixture_word_times.py"
    done = run(sys.executable, script, "--words", root / "words.ctm", tmp_path)
    assert done.returncode == 0, done.stderr
    expected = [
        f"mix {k} {onset + start:.4f} {seconds:.4f} {word}"
        for k, (path, onset) in enumerate(((first, 0.0), (second, 0.7)), 1)
        for start, seconds, word in words[path.stem]
    ]
    assert (tmp_path / "words.ctm").read_text().splitlines() == expected
    (tmp_path / "few.ctm").write_text("other 1 0.0 0.1 word\n")
    done = run(sys.executable, script, "--words", tmp_path / "few.ctm", tmp_path)
    assert done.returncode == 2
    assert f"has no words of {first.stem} (mix)" in done.stderr


@pytest.mark.parametrize(
    "options, message",
    [
        (["--exp", "no/exp"], "no/exp/valid.loss_ctc.ave.pth: no such file; run stage"),
        (["extra"], "unknown option extra"),
    ],
)
def test_calibrate_says_what_it_lacks(options, message):
    done = run(EXPERIMENTS / "calibrate.sh", *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "LibriSpeech").mkdir()
    (tmp_path / "LibriSpeech" / "mine").touch()
    done = make_corpus(tmp_path)
    assert done.returncode == 2
    assert "wasn't made by this script" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "LibriSpeech" / "mine").exists()


@pytest.fixture
def local(monkeypatch):
    monkeypatch.syspath_prepend(str(CORPUS))


def test_missing_engines(local, capsys):
    import make_mini_librispeech as script

    from espnet_mtasr.errors import UserError

    everyone = dict.fromkeys(SPLITS)
    for pair in (["flite", "espeak"], ["flite", "pico"], ["espeak", "pico"]):
        chosen = script.choose_talkers(pair, everyone)
        assert {t.engine for t in chosen["test-clean"]} == set(pair)
        assert len(chosen["train-clean-100"]) >= 12
    assert "warning: lacks the program flite" in capsys.readouterr().err
    with pytest.raises(UserError, match="12 are needed; install the program flite"):
        script.choose_talkers(["pico"], everyone)


def test_grammar_and_talkers(local):
    import random

    from grammar import VOCABULARY, draw_sentences
    from talkers import TALKERS

    assert len(VOCABULARY) >= 60
    taken = {"READY BARON GO TO RED ONE NOW"}
    drawn = draw_sentences(random.Random(0), 1500, taken)
    assert len(set(drawn)) == 1500
    assert "READY BARON GO TO RED ONE NOW" not in drawn
    assert {w for text in drawn for w in text.split()} == VOCABULARY
    with pytest.raises(ValueError, match=r"found \d+ of 9999 new sentences"):
        draw_sentences(random.Random(0), 9999, set(), ["ONE", "TWO"], max_draws=2000)
    everyone = [t for members in TALKERS.values() for t in members]
    assert len({t.id for t in everyone}) == len(everyone)
    voices = {(t.engine, t.voice, t.warp, t.pitch) for t in everyone}
    assert len(voices) == len(everyone)


def recipe_folder(root):
    """Copy what stage 1 needs of the recipe, so that its outputs stay out of it."""
    shutil.copytree(REPO / "egs2" / "TEMPLATE", root / "egs2" / "TEMPLATE")
    folder = root / "egs2" / "mini_librimix" / "mtasr1"
    shutil.copytree(LOCAL, folder / "local")
    for name in ("utils", "path.sh", "cmd.sh"):
        (folder / name).symlink_to(Path("../../TEMPLATE/mtasr1") / name)
    return folder


@needs_engine
def test_stage_1_from_nothing(tmp_path):
    folder = recipe_folder(tmp_path)
    options = ["--corpus_options", " ".join(TINY), "--n_train", "4", "--n-dev", "2"]
    options += ["--noise_options", "--n_tr 4 --n_cv 4 --n_tt 4"]
    done = run("local/data.sh", *options, "--n_test", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    for x in ("train", "dev", "test"):
        for k in (2, 3):
            if x != "train":
                for variant in ("clean", "noisy"):
                    data = folder / "data" / f"{x}_mini{k}mix_{variant}"
                    assert len(read_data_dir(data, [k])["text"]) == 2
    train = read_data_dir(folder / "data" / "train", [2, 3])
    assert len(train["text"]) == 8
    assert sum("_noisy_" in utt for utt in train["text"]) == 4
    assert len(read_data_dir(folder / "data" / "dev", [2, 3])["text"]) == 8
    onsets = [list(map(float, o.split())) for o in train["onsets"].values()]
    gaps = [b - a for o in onsets for a, b in zip(o, o[1:])]
    assert all(0.4999 <= gap <= 1.0001 for gap in gaps)
    assert "test_mini3mix_noisy" in done.stdout

    again = run("local/data.sh", *options, "--n_test", "2", cwd=folder)
    assert again.returncode == 0, again.stderr
    # The corpus, 3 splits of noise, and 6 metadata files.
    assert again.stdout.count("is complete") == 1 + 3 + 6


def test_stage_1_takes_another_corpus(tmp_path):
    shape = {"rate": 8000, "suffix": "wav", "seconds": (0.3, 3.0), "n_talkers": 4}
    for subset in ("one", "two", "three"):
        make_tiny_corpus(tmp_path / "other", subset, **shape)
    folder = recipe_folder(tmp_path)
    options = ["--librispeech", tmp_path / "other" / "LibriSpeech"]
    options += ["--train_subset", "one", "--dev_subset", "two"]
    options += ["--test_subset", "three", "--noise", "noisy", "--talker_counts", "3"]
    options += ["--n_train", "5", "--n_dev", "2", "--n_test", "3"]
    options += ["--noise_options", "--n_tr 4 --n_cv 4 --n_tt 4"]
    done = run("local/data.sh", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    train = read_data_dir(folder / "data" / "train", [3])
    assert len(train["text"]) == 5
    assert soundfile.info(next(iter(train["wav.scp"].values()))).samplerate == 16000
    assert len(read_data_dir(folder / "data" / "dev", [3])["text"]) == 4


@pytest.mark.parametrize(
    "options, message",
    [
        (["--n_train", "many"], "give numbers"),
        (["--noise", "loud"], "choose clean, noisy or both"),
        (["--onset_gap", "1"], "two numbers"),
        (["--librispeech", "nowhere"], "nowhere: no such folder"),
        (["--talker_counts", ""], "--talker_counts is empty"),
    ],
)
def test_data_sh_refuses_bad_options(tmp_path, options, message):
    done = run("local/data.sh", *options, cwd=recipe_folder(tmp_path))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@needs_engine
@pytest.mark.slow
def test_the_default_test_sets_overlap_for_real(tmp_path):
    """Half of the speech time overlaps, and three talkers do talk at once."""
    folder = recipe_folder(tmp_path)
    done = run("local/data.sh", "--n_train", 24, "--n_dev", 10, cwd=folder)
    assert done.returncode == 0, done.stderr
    report = [line.split() for line in done.stdout.splitlines()]
    rows = {words[0]: words for words in report if words and "mix_" in words[0]}
    for name in ("clean", "noisy"):
        two, three = rows[f"test_mini2mix_{name}"], rows[f"test_mini3mix_{name}"]
        assert int(two[1]) == int(three[1]) == 200
        assert float(two[4]) >= 0.45 and float(three[4]) >= 0.45
        assert float(three[5]) >= 80.0
