"""Times that every format can hold."""

import random

import numpy as np
import pytest
from helpers.transcripts import make_transcript

from espnet_mtasr.transcription.formats.tidy import tidy


def tidy_times(words, seconds=4.0):
    """Start and end of one talker's words, given as `(start, end)`."""
    transcript = make_transcript([("w", *word) for word in words], seconds=seconds)
    (talker,) = tidy(transcript).talkers
    return [(word.start, word.end) for word in talker.words]


@pytest.mark.parametrize(
    "words, seconds, expected",
    [
        # Rounded to milliseconds, as decimal numbers of three places.
        ([(0.1 + 0.2, 0.7004), (0.7006, 1.2345678)], 4.0, [(0.3, 0.7), (0.701, 1.235)]),
        # Before the beginning, after the end.
        ([(-0.2, 0.1), (3.9, 4.3)], 4.0, [(0.0, 0.1), (3.9, 4.0)]),
        ([(5.0, 6.0)], 4.0, [(3.999, 4.0)]),
        # A length that lies between milliseconds, and one that floats miss.
        ([(1.0, 1.2349)], 1.2349, [(1.0, 1.234)]),
        ([(0.5, 1.001)], 1.001, [(0.5, 1.001)]),
        # No length, in the middle and at both ends; end before start.
        ([(0, 0), (1, 1), (4, 4)], 4.0, [(0, 0.001), (1, 1.001), (3.999, 4)]),
        ([(2.0, 1.0)], 4.0, [(2.0, 2.001)]),
        # Several at one time.
        ([(1, 1), (1, 1), (1, 2)], 4.0, [(1, 1.001), (1.001, 1.002), (1.002, 2)]),
        ([(4, 4), (4, 4)], 4.0, [(3.998, 3.999), (3.999, 4.0)]),
        # Overlap: the first ends when the second begins.
        ([(1.0, 1.5), (1.4, 2.0)], 4.0, [(1.0, 1.4), (1.4, 2.0)]),
        ([(0.0, 0.1), (0.0, 0.1)], 0.002, [(0.0, 0.001), (0.001, 0.002)]),
    ],
)
def test_times(words, seconds, expected):
    assert tidy_times(words, seconds) == expected


def test_any_times_become_valid():
    chance = random.Random(0)
    for _ in range(300):
        seconds = chance.choice([0.05, 1.0, 3.21987])
        words = []
        for _ in range(chance.randrange(20)):
            start = chance.uniform(-0.1, seconds + 0.1)
            words.append((start, start + chance.choice([0, 1e-5, 0.02, 0.3, -0.1])))
        times = [t for word in tidy_times(sorted(words), seconds) for t in word]
        assert times == sorted(times)
        assert all(0 <= t <= seconds for t in times)
        assert all(start < end for start, end in zip(times[::2], times[1::2]))


def test_numbers_of_numpy_become_python_floats():
    words = [("w", np.float32(0.1), np.float32(0.3), np.float32(0.5))]
    made = tidy(
        make_transcript(
            words, seconds=np.float64(2.5), probabilities={1: np.float32(0.75)}
        )
    )
    word = made.talkers[0].words[0]
    numbers = [made.seconds, word.start, word.end, word.confidence]
    assert [repr(n) for n in numbers] == ["2.5", "0.1", "0.3", "0.5"]
    assert repr(made.num_talkers_probability) == "0.75"


def test_a_name_that_is_no_utf8_can_be_written():
    made = tidy(make_transcript(recording="caf\udce9"))
    assert made.recording == "caf\ufffd"


@pytest.mark.parametrize("text", ["", "two words", " w", "w\n"])
def test_no_word(text):
    with pytest.raises(ValueError, match="is not one word"):
        tidy(make_transcript([(text, 0.0, 1.0)]))


def test_more_words_than_milliseconds():
    with pytest.raises(ValueError, match="2 words do not fit into 1 ms"):
        tidy_times([(0, 0), (0, 0)], seconds=0.0015)
    assert tidy_times([], seconds=0.0) == []
