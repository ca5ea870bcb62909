"""Stage 13's further files and options: STM, SegLST, conditions, normalized texts."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_mtasr.bin.mtasr_score import main
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.spec import MixtureSpec, Source
from espnet_mtasr.scoring.conditions import Conditions

MEETEVAL = Path(sys.executable).with_name("meeteval-wer")
WORDS = ["a", "b", "c", "it's", "ä", "über"]


def score(root, *options):
    words = ["--sets", "test_x", "--data_dir", root / "data", "--output_dir"]
    words += [root / "exp", "--decode_dir", root / "decode", "--mixtures", "made up"]
    words += ["--talker_counts", "1 2 3", "--model", "none", *options]
    main([str(word) for word in words])
    return json.loads((root / "exp" / "results.json").read_text())


def write_set(root, references, hypotheses):
    """Write texts of talkers and streams. No hypothesis: None, an empty one: []."""
    given = {utt: h for utt, h in hypotheses.items() if h is not None}
    for folder, texts in (("data", references), ("decode", given)):
        path = root / folder / "test_x"
        write_table(path / "text", {u: " <sc> ".join(t) for u, t in texts.items()})
        write_table(path / "utt2num_spk", {u: len(t) for u, t in texts.items()})


def draw(rng, low, high, fewest_words):
    return [
        " ".join(rng.choices(WORDS, k=rng.randint(fewest_words, 5)))
        for _ in range(rng.randint(low, high))
    ]


@pytest.fixture
def drawn(tmp_path):
    """60 mixtures; a third lacks a hypothesis, others have empty or surplus streams."""
    rng = random.Random(0)
    references = {f"u{k:02d}": draw(rng, 1, 3, 1) for k in range(60)}
    hypotheses = {
        utt: None if k % 3 == 0 else [] if k % 7 == 0 else draw(rng, 1, 5, 0)
        for k, utt in enumerate(references)
    }
    write_set(tmp_path, references, hypotheses)
    return tmp_path


@pytest.mark.parametrize("kind", ["stm", "seglst.json"])
def test_meeteval_gives_the_same_figure(drawn, kind):
    mine = score(drawn)["sets"]["test_x"]
    folder = drawn / "exp" / "scoring" / "test_x"
    command = [MEETEVAL, "cpwer", "-r", folder / f"ref.{kind}"]
    command += ["-h", folder / f"hyp.{kind}", "--average-out", drawn / "average.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = json.loads((drawn / "average.json").read_text())
    assert mine["n_missing"] == 20
    assert theirs["length"] == mine["n_words"]
    counts = [mine[name] for name in ("sub", "del", "ins")]
    keys = ("substitutions", "deletions", "insertions")
    assert [theirs[key] for key in keys] == counts and all(counts)
    assert 100 * theirs["error_rate"] == pytest.approx(mine["cpwer"], abs=1e-4)


def test_times_of_talkers_and_recordings(tmp_path):
    """u's parts are known, v's length is, of w nothing."""
    references = {"u": ["a b", "c"], "v": ["a", "b"], "w": ["a", "b"]}
    write_set(tmp_path, references, {"u": ["a b", ""], "v": None, "w": ["a"]})
    data = tmp_path / "data" / "test_x"
    sources = (Source("1.wav", 1.0, "1", 2.0), Source("2.wav", 1.0, "2", 3.0, 2.0))
    write_table(
        data / "utt2mixture", {"u": MixtureSpec(sources, (0.0, 0.75)).to_line()}
    )
    write_table(data / "utt2num_samples", {"v": 12000})
    score(tmp_path, "--fs", 8000)
    folder = tmp_path / "exp" / "scoring" / "test_x"
    assert (folder / "ref.stm").read_text().splitlines() == [
        "u 1 talker_1 0.0000 2.0000 a b",
        "u 1 talker_2 0.7500 2.2500 c",
        "v 1 talker_1 0.0000 1.5000 a",
        "v 1 talker_2 0.0000 1.5000 b",
        "w 1 talker_1 0.0000 0.0000 a",
        "w 1 talker_2 0.0000 0.0000 b",
    ]
    assert (folder / "hyp.stm").read_text().splitlines() == [
        "u 1 stream_1 0.0000 2.2500 a b",
        "u 1 stream_2 0.0000 2.2500",
        "v 1 stream_1 0.0000 1.5000",
        "w 1 stream_1 0.0000 0.0000 a",
    ]
    assert json.loads((folder / "hyp.seglst.json").read_text())[0] == {
        "session_id": "u",
        "speaker": "stream_1",
        "start_time": 0.0,
        "end_time": 2.25,
        "words": "a b",
    }


def test_breakdowns_by_conditions(tmp_path):
    """u has 1 error in 4 words, v none in 2, w's conditions are unknown."""
    references = {"u": ["a b", "c d"], "v": ["a", "b"], "w": ["a", "b"]}
    write_set(tmp_path, references, {"u": ["a b", "c"], "v": ["a", "b"], "w": ["x"]})
    conditions = {
        "u": Conditions(0.5, -12.0, 3.0, "same"),
        "v": Conditions(3.5, 0.0, 12.0, "mixed"),
        "w": Conditions(),
    }
    lines = {utt: c.to_line() for utt, c in conditions.items()}
    write_table(tmp_path / "data" / "test_x" / "utt2conditions", lines)
    row = score(tmp_path)["sets"]["test_x"]
    found = {
        name: [b for b in row[name] if b["n_words"]]
        for name in ("by_onset_gap", "by_snr", "by_level_difference")
    }
    assert found == {
        "by_onset_gap": [
            {"lo": 0.5, "hi": 0.75, "n_words": 4, "cpwer": 25.0},
            {"lo": 3.0, "hi": None, "n_words": 2, "cpwer": 0.0},
        ],
        "by_snr": [
            {"lo": None, "hi": -10.0, "n_words": 4, "cpwer": 25.0},
            {"lo": 0.0, "hi": 5.0, "n_words": 2, "cpwer": 0.0},
        ],
        "by_level_difference": [
            {"lo": 2.0, "hi": 4.0, "n_words": 4, "cpwer": 25.0},
            {"lo": 10.0, "hi": None, "n_words": 2, "cpwer": 0.0},
        ],
    }
    assert row["by_gender"] == [
        {"genders": "same", "n_words": 4, "cpwer": 25.0},
        {"genders": "mixed", "n_words": 2, "cpwer": 0.0},
    ]
    markdown = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert "| set | below -10 | 0 to 5 |" in markdown
    assert "| set | 2 to 4 | from 10 |" in markdown
    assert "| set | same | mixed |" in markdown
    assert "by overlap" not in markdown


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("utt2conditions", "u {}\nv {}\n", "utt2conditions: lacks id w|lacks id v"),
        ("utt2conditions", 'u {"snr": "x"}\n', "utt2conditions: u: not the conditions"),
        ("utt2num_samples", "u many\n", "utt2num_samples: u many: is not a number"),
        ("utt2mixture", "u {\n", "utt2mixture: u: is not JSON"),
    ],
)
def test_bad_tables(tmp_path, name, content, message):
    write_set(tmp_path, {"u": ["a", "b"]}, {"u": ["a", "b"]})
    (tmp_path / "data" / "test_x" / name).write_text(content)
    with pytest.raises(UserError, match=message):
        score(tmp_path)
    assert not (tmp_path / "exp").exists()


NORMALIZED = [
    ("none", "Mr. Smith can't pay twenty one pounds", 4),
    ("whisper_basic", "mr smith can t pay twenty one pounds", 3),
    ("whisper_english", "mister smith can not pay £21", 0),
]


@pytest.mark.parametrize("name, text, errors", NORMALIZED)
def test_normalized_texts(tmp_path, name, text, errors):
    pytest.importorskip("whisper_normalizer")
    said = "Mr. Smith can't pay twenty one pounds"
    written = "mister smith can't pay 21 pounds"
    write_set(tmp_path, {"u": [said, "Yes"]}, {"u": [written, "Yes"]})
    results = score(tmp_path, "--text_normalizer", name)
    assert results["text_normalizer"] == name
    row = results["sets"]["test_x"]
    stm = (tmp_path / "exp" / "scoring" / "test_x" / "ref.stm").read_text()
    assert stm.splitlines()[0].split(maxsplit=5)[5] == text
    assert row["sub"] + row["del"] + row["ins"] == errors
    markdown = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert f"- Text normalizer: {name}\n" in markdown


def test_the_package_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "whisper_normalizer.basic", None)
    with pytest.raises(UserError, match="pip install whisper-normalizer") as e:
        score(tmp_path, "--text_normalizer", "whisper_basic")
    assert "\n" not in str(e.value)


def test_bad_rate(tmp_path):
    with pytest.raises(UserError, match="--fs 0: give a rate in Hz"):
        score(tmp_path, "--fs", 0)
