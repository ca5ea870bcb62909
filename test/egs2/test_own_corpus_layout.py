"""own_corpus: single-talker recordings laid out for the mixture tools."""

import doctest
import importlib.util
import random
import sys

import pytest
import soundfile
from helpers.own_corpus import RECIPE, make_own_corpus, write_tone

from espnet_mtasr.corpora.librispeech import scan_corpus
from espnet_mtasr.errors import UserError

SETS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(
        "lay_out_corpus_of_test", RECIPE / "local" / "lay_out_corpus.py"
    )
    module = importlib.util.module_from_spec(spec)
    # Its functions go to other processes by this name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def lay_out(script, tmp_path):
    def call(corpus, *options, least=1):
        out = tmp_path / "out" / "corpus"
        cmd = ["--corpus", corpus, "--out", out, "--min_talkers", least, "--nj", 1]
        script.main([str(word) for word in (*cmd, *options)])
        return out

    return call


def utterances(out):
    return {u.id: u for name in SETS for u in scan_corpus(out, name).utterances}


def talkers_of(out):
    return {
        name: {u.talker for u in scan_corpus(out, name).utterances} for name in SETS
    }


def test_examples(script):
    failed, attempted = doctest.testmod(script)
    assert attempted > 0 and failed == 0


def test_formats_rates_names_and_texts(lay_out, tmp_path):
    suffixes = ("wav", "flac", "ogg", "aiff")
    corpus = make_own_corpus(tmp_path / "c", 4, 2, suffixes, rate=22050)
    (corpus / "talker0").rename(corpus / "Änne Müller")
    (corpus / "Änne Müller" / "0.txt").write_text(
        "\ufeff“Don’t”  stop—the 'Bus'\n(at 5)!\n", encoding="utf-8"
    )
    write_tone(corpus / "talker1" / "day 2" / "0.WAV", 300)
    (corpus / "talker1" / "day 2" / "0.txt").write_text("Later on")
    (corpus / "notes.txt").write_text("of no recording")
    before = {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
    out = lay_out(corpus)
    found = utterances(out)
    assert sorted(found) == sorted(
        ["Änne_Müller-0", "Änne_Müller-1", "talker1-day_2-0"]
        + [f"talker{t}-{u}" for t in (1, 2, 3) for u in (0, 1)]
    )
    assert found["Änne_Müller-0"].text == "don't stop the bus at 5"
    assert found["talker1-0"].text == "bravo bravo"
    for utterance in found.values():
        path = out / utterance.path
        # WAV and FLAC are the corpus's own files, the others became FLAC.
        converted = utterance.id[:8] in ("talker1-", "talker3-")
        converted = converted and "day" not in utterance.id
        assert path.is_symlink() != converted
        rate = 16000 if "day" in utterance.id else 22050
        info = soundfile.info(path)
        assert (info.samplerate, info.frames) == (rate, round(1.5 * rate))
    assert before == {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
    assert not list(out.parent.glob("*.part")) and not list(
        out.parent.glob("*left_out")
    )


def test_transcripts_elsewhere_and_an_ending(lay_out, tmp_path):
    """VCTK: wav48_silence_trimmed/p225/p225_001_mic1.flac, txt/p225/p225_001.txt."""
    for k in (225, 226, 227):
        for mic in (1, 2):
            folder = tmp_path / "v" / "wav48" / f"p{k}"
            write_tone(folder / f"p{k}_001_mic{mic}.flac", k)
        text = tmp_path / "v" / "txt" / f"p{k}" / f"p{k}_001.txt"
        text.parent.mkdir(parents=True)
        text.write_text("Please call Stella.")
    options = ["--transcripts", tmp_path / "v" / "txt", "--audio_ending", "_mic1.flac"]
    found = utterances(lay_out(tmp_path / "v" / "wav48", *options))
    assert sorted(found) == ["p225_001", "p226_001", "p227_001"]
    assert {u.text for u in found.values()} == {"please call stella"}


def test_what_cannot_be_used_is_listed(lay_out, tmp_path, capsys):
    corpus = make_own_corpus(tmp_path / "c", 4, 3)
    (corpus / "talker0" / "0.txt").unlink()
    (corpus / "talker1" / "0.txt").write_text(" ... \n")
    (corpus / "talker2" / "0.wav").unlink()
    (corpus / "talker3" / "0.wav").write_bytes(b"no audio")
    out = lay_out(corpus)
    assert len(utterances(out)) == 8
    lines = out.with_name("corpus.left_out").read_text().splitlines()
    for line, part in zip(
        lines,
        (
            "talker0/0.wav has no transcript",
            "talker1/0.txt has no words",
            "talker2/0.txt has no recording",
            "talker3/0.wav: is not readable audio",
        ),
        strict=True,
    ):
        assert part in line
    assert "left out 4 files, listed in" in capsys.readouterr().out


def test_links_to_folders_are_followed(lay_out, tmp_path):
    make_own_corpus(tmp_path / "disk", 3, 1)
    (tmp_path / "c").mkdir()
    for k in range(3):
        (tmp_path / "c" / f"t{k}").symlink_to(tmp_path / "disk" / f"talker{k}")
    assert len(utterances(lay_out(tmp_path / "c"))) == 3


def test_no_talker_is_in_two_sets(lay_out, tmp_path):
    corpus = make_own_corpus(tmp_path / "c", 12, 1)
    split = talkers_of(lay_out(corpus, "--dev_talkers", 3, "--test_talkers", 4))
    assert [len(split[name]) for name in SETS] == [5, 3, 4]
    assert len(set.union(*split.values())) == 12
    # Restated: shuffled by seed, test first, then dev.
    order = sorted(f"talker{k}" for k in range(12))
    random.Random("1 talkers").shuffle(order)
    assert split["test"] == set(order[:4]) and split["dev"] == set(order[4:7])
    other = talkers_of(lay_out(corpus, "--seed", 2))
    assert other["test"] != split["test"]
    # A tenth, but at least what a mixture needs.
    assert [len(other[name]) for name in SETS] == [10, 1, 1]
    least = talkers_of(lay_out(corpus, least=3))
    assert [len(least[name]) for name in SETS] == [6, 3, 3]


def test_a_given_split_and_that_of_a_run(lay_out, tmp_path):
    corpus = make_own_corpus(tmp_path / "c", 4, 1)
    file = tmp_path / "split"
    file.write_text("talker0 dev\ntalker1 test\ntalker2 train\ntalker3 test\n")
    out = lay_out(corpus, "--split", file)
    split = talkers_of(out)
    assert split == dict(
        train={"talker2"}, dev={"talker0"}, test={"talker1", "talker3"}
    )
    (tmp_path / "again").write_text((out / "split").read_text())
    assert talkers_of(lay_out(corpus, "--split", tmp_path / "again")) == split


def test_a_second_run_keeps_what_is_there_until_something_changes(
    lay_out, tmp_path, capsys
):
    corpus = make_own_corpus(tmp_path / "c", 3, 1)
    out = lay_out(corpus)
    made = out.stat().st_ino
    capsys.readouterr()
    lay_out(corpus)
    assert "is complete" in capsys.readouterr().out and out.stat().st_ino == made
    (corpus / "talker0" / "0.txt").write_text("other words")
    lay_out(corpus)
    assert utterances(out)["talker0-0"].text == "other words"


def stray(corpus):
    (corpus / "talker0" / "0.wav").rename(corpus / "0.wav")


def same_id(corpus):
    write_tone(corpus / "talker0" / "0.flac", 200)


def same_talker(corpus):
    (corpus / "talker0").rename(corpus / "a b")
    (corpus / "talker1").rename(corpus / "a_b")


def not_utf8(corpus):
    (corpus / "talker0" / "0.txt").write_bytes(b"caf\xe9")


def long_name(corpus):
    for suffix in ("wav", "txt"):
        (corpus / "talker0" / f"0.{suffix}").rename(
            corpus / "talker0" / f"{'x' * 80}.{suffix}"
        )


@pytest.mark.parametrize(
    "change, message",
    [
        (stray, "0.wav: is not in a talker's folder; move it into .*TALKER"),
        (same_id, "0.wav: .*0.flac has the same id talker0-0; .*--audio_ending"),
        (same_talker, "talkers a b and a_b would both be called a_b; rename one"),
        (not_utf8, "talker0/0.txt: is not UTF-8; convert it"),
        (long_name, "is too long for the names of mixtures; rename"),
    ],
)
def test_bad_corpora(lay_out, tmp_path, change, message):
    corpus = make_own_corpus(tmp_path / "c", 3, 1)
    change(corpus)
    with pytest.raises(UserError, match=message):
        lay_out(corpus)
    assert not (tmp_path / "out" / "corpus").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--dev_talkers", 2], "there are 3 talkers, 2 for dev and 1 for test"),
        (["--min_talkers", 2], "need 2 in each of .*lower --talker_counts, or add"),
        (["--audio_ending", "_mic1.flac"], r"has no TALKER/\*_mic1.flac"),
        (["--transcripts", "/no/such"], "/no/such: no such folder"),
        (["--split", "/no/such"], "--split /no/such: no such file"),
    ],
)
def test_bad_options(lay_out, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        lay_out(make_own_corpus(tmp_path / "c", 3, 1), *options)


@pytest.mark.parametrize(
    "lines, message",
    [
        ("talker0 train\n", "split: lacks talker1; add a line"),
        ("talker0 tune\n", "split:1: 'talker0 tune': give TALKER train|dev|test"),
        ("nobody train\n", "split:1: no recording of nobody"),
        ("talker0 dev\ntalker0 test\n", "split:2: talker0 is listed twice"),
        ("talker0 dev\ntalker1 dev\ntalker2 dev\n", "train has 0 talkers"),
    ],
)
def test_bad_splits(lay_out, tmp_path, lines, message):
    (tmp_path / "split").write_text(lines)
    with pytest.raises(UserError, match=message):
        lay_out(make_own_corpus(tmp_path / "c", 3, 1), "--split", tmp_path / "split")
