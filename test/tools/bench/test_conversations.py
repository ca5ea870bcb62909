"""The conversations that the benchmark makes, and what it counts."""

import numpy as np
import pytest
import soundfile

from espnet_mtasr.mixture.spec import MixtureSpec, Source
from espnet_mtasr.transcription.transcript import Part, Talker, Transcript, Word
from tools.bench.conversations import (
    Corpus,
    Said,
    label_by_oracle,
    measure,
    right_share,
    score,
    summarize,
)

RATE = 16000


@pytest.fixture
def corpus(tmp_path):
    """Sources of constant samples, a level for each talker."""
    lines, texts = [], []
    for number, talkers in enumerate(["ab", "bc", "abc", "ca"]):
        sources = []
        for talker in talkers:
            path = tmp_path / f"{talker}{number}.wav"
            level = 0.01 * (1 + "abc".index(talker))
            soundfile.write(path, np.full((1 + number) * RATE, level), RATE)
            sources.append(Source(str(path), 1.0, talker, 1.0 + number))
        spec = MixtureSpec(tuple(sources), (0.0, 0.5, 0.8)[: len(sources)])
        lines.append(f"u{number} {spec.to_line()}")
        said = " <sc> ".join(f"{talker} {talker}{number}" for talker in talkers)
        texts.append(f"u{number} {said}")
    (tmp_path / "utt2mixture").write_text("\n".join(lines) + "\n")
    (tmp_path / "text").write_text("\n".join(texts) + "\n")
    return Corpus([tmp_path])


def test_who_says_what_when(corpus):
    assert {talker: len(s) for talker, s in corpus.sentences.items()} == {
        **{"a": 3, "b": 3, "c": 3}
    }
    wave, said = corpus.converse(["a", "c"], 60.0, np.random.default_rng(0))
    assert 60 <= len(wave) / RATE < 70
    assert {entry.person for entry in said} == {"a", "c"}
    for entry in said:
        # Only their own words, and while they talk there is at least their level.
        assert entry.words[0] == entry.person
        level = 0.01 * (1 + "abc".index(entry.person))
        first, last = round(entry.start * RATE) + 1, round(entry.end * RATE) - 1
        assert wave[first:last].min() >= 0.99 * level
        number = int(entry.words[1][1:])
        assert entry.end - entry.start == pytest.approx(1.0 + number)


def talker(text, start):
    words = [
        Word(w, start + n, start + n + 0.5, 1.0) for n, w in enumerate(text.split())
    ]
    return Talker(tuple(words))


SAID = [
    Said("a", ["one", "two", "three"], 0.0, 3.0),
    Said("b", ["four", "five", "six"], 1.0, 4.0),
    Said("a", ["seven", "eight"], 20.0, 22.0),
    Said("b", ["nine", "ten"], 21.0, 23.0),
]


def transcript(*parts):
    found = tuple(
        Part(start, start + 4, tuple(talker(t, start) for t in texts))
        for start, texts in parts
    )
    return Transcript("x", 30.0, (), parts=found)


def test_oracle():
    # Words of the other part are far away.
    part = Part(20.0, 23.0, (talker("ten one", 20.0), talker("seven eight", 21.0)))
    assert label_by_oracle(part, SAID, ["a", "b"]) == [1, 0]


def test_errors():
    right = [[(["one", "two", "three"], 7)], [(["seven", "eight"], 7)]]
    assert score(SAID, right).errors == 5
    swapped = [[(["one", "two", "three"], 7)], [(["seven", "eight"], 8)]]
    assert score(SAID, swapped).errors > 5


def test_share_of_right_labels():
    assert right_share([0, 1, 0, 1], [1, 0, 1, 0], [3, 3, 2, 2]) == 1.0
    assert right_share([0, 1, 0, 1], [1, 0, 0, 1], [3, 3, 2, 2]) == 0.6


def test_figures():
    rng = np.random.default_rng(0)
    right = transcript(
        (0.0, ["one two three", "four five six"]), (20.0, ["seven eight", "nine ten"])
    )
    wrong = transcript(
        (0.0, ["one two three", "four five six"]), (20.0, ["nine ten", "seven eight"])
    )
    rows = [measure(found, SAID, rng) for found in (right, wrong)]
    assert rows[0]["words"] == 10
    assert (rows[0]["voices"]["errors"], rows[0]["oracle"]["errors"]) == (0, 0)
    assert (rows[1]["voices"]["errors"], rows[1]["oracle"]["errors"]) == (4, 0)
    assert rows[1]["voices"]["right_label"] == 0.6
    rows[0]["oracle"]["errors"] = 2
    found = summarize(rows)
    assert found["ratio"] == 2.0
    assert found["voices"]["cpwer"] == 0.2
    assert found["voices"]["least_right_label"] == 0.6
