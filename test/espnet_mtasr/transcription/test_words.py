"""Words out of tokens: which tokens, which frames, which probability, which times."""

import math

import pytest
from espnet2.text.build_tokenizer import build_tokenizer

from espnet_mtasr.asr.ctc_alignment import TokenSpan
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.words import (
    WordSpan,
    group_by_word,
    word_times,
    words_of,
)

CHAR = build_tokenizer("char").tokens2text
WORD = build_tokenizer("word").tokens2text


def spell(tokens):
    """sentencepiece's way, which marks the beginnings of words."""
    return "".join(tokens).replace("▁", " ").removeprefix(" ")


@pytest.mark.parametrize(
    "tokens, tokens2text, expected",
    [
        (list("go") + ["<space>"] + list("on"), CHAR, [[0, 1], [3, 4]]),
        (["<space>", "a", "<space>", "<space>", "b", "<space>"], CHAR, [[1], [4]]),
        (["go", "on", "go"], WORD, [[0], [1], [2]]),
        (["▁go", "ing", "▁", "on", "▁now"], spell, [[0, 1], [3], [4]]),
        (["go", "ing", "▁on"], spell, [[0, 1], [2]]),
        # One token for two words belongs to both.
        (["▁go▁on", "▁now"], spell, [[0], [0], [1]]),
        ([], spell, []),
    ],
)
def test_tokens_of_words(tokens, tokens2text, expected):
    assert group_by_word(tokens, tokens2text) == expected
    assert len(tokens2text(tokens).split()) == len(expected)


def test_words_have_frames_and_probabilities():
    spans = [TokenSpan(2, 4, 0.9), TokenSpan(5, 6, 0.5), TokenSpan(9, 10, 0.8)]
    first, second = words_of(["▁go", "ing", "▁on"], spans, spell)
    assert (first.text, first.start, first.end) == ("going", 2, 6)
    assert first.probability == pytest.approx(0.45)
    assert second == WordSpan("on", 9, 10, 0.8)
    with pytest.raises(ValueError, match="2 tokens, 3 spans"):
        words_of(["a", "b"], spans, spell)


def words(*frames):
    return [WordSpan("w", start, end, 0.5) for start, end in frames]


@pytest.mark.parametrize(
    "frames, shifts, expected",
    [
        ([(0, 1), (5, 7)], (0.0, 0.0), [(0.0, 0.1), (0.5, 0.7)]),
        # An end does not reach into the next word, nor beyond the recording.
        ([(0, 1), (5, 7)], (0.0, 0.6), [(0.0, 0.5), (0.5, 1.0)]),
        # No word begins before the recording, and each keeps a frame.
        ([(0, 1), (1, 2)], (-0.4, 0.0), [(0.0, 0.1), (0.1, 0.2)]),
        # Nor does one begin at its end.
        ([(8, 9)], (0.5, 0.5), [(0.9, 1.0)]),
        ([(3, 4)], (0.2, -0.5), [(0.5, 0.6)]),
        ([], (0.0, 0.0), []),
    ],
)
def test_times(frames, shifts, expected):
    calibration = Calibration(start_seconds=shifts[0], end_seconds=shifts[1])
    times = word_times(words(*frames), 0.1, 1.0, calibration)
    assert [t for time in times for t in time] == pytest.approx(
        [t for time in expected for t in time]
    )


def test_words_never_overlap():
    frames = [(0, 1), (1, 2), (2, 4), (9, 10)]
    for shift in (-1.0, -0.3, 0.05, 0.3, 1.0):
        for other in (-1.0, 0.0, 1.0):
            calibration = Calibration(start_seconds=shift, end_seconds=other)
            times = word_times(words(*frames), 0.1, 1.0, calibration)
            flat = [t for time in times for t in time]
            assert flat == sorted(flat)
            assert min(flat) >= 0.0 and max(flat) <= 1.0
            assert not any(map(math.isnan, flat))
