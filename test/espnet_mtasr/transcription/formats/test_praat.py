"""TextGrid, read back by praatio and by Praat itself."""

import parselmouth
import pytest
from helpers.transcripts import hard_transcript, make_transcript
from parselmouth.praat import call
from praatio import textgrid

from espnet_mtasr.transcription.formats import render

FIRST = [
    (0.1, 0.5, "don't"),
    (0.5, 0.7, "<i>"),
    (0.7, 0.701, "-->"),
    (0.8, 1.0, 'say"é'),
    (1.0, 1.3, "日本"),
]
SECOND = [
    (0.3, 0.6, "{x}"),
    (0.6, 0.9, "a\\nb"),
    (0.9, 1.2, "&amp;"),
    (1.2, 1.3, "dot"),
    (2.3, 4.0, "done"),
]


@pytest.fixture
def write(tmp_path):
    def write(transcript):
        path = tmp_path / "mix.TextGrid"
        path.write_text(render([transcript], "textgrid"), encoding="utf-8")
        return str(path)

    return write


def read_by_praat(path):
    """Length, and by tier the words that Praat finds, checked for gaps."""
    grid = parselmouth.read(path)
    tiers = {}
    for tier in range(1, call(grid, "Get number of tiers") + 1):
        words, end = [], 0.0
        for i in range(1, call(grid, "Get number of intervals", tier) + 1):
            start = call(grid, "Get start time of interval", tier, i)
            assert start == end
            end = call(grid, "Get end time of interval", tier, i)
            assert start < end
            if label := call(grid, "Get label of interval", tier, i):
                words.append((start, end, label))
        assert end == grid.xmax
        tiers[call(grid, "Get tier name", tier)] = words
    return grid.xmax, tiers


def read_by_praatio(path):
    grid = textgrid.openTextgrid(path, includeEmptyIntervals=False)
    return grid.maxTimestamp, {
        tier.name: [tuple(entry) for entry in tier.entries] for tier in grid.tiers
    }


@pytest.mark.parametrize("read", [read_by_praat, read_by_praatio])
class TestRead:
    def test_overlapping_empty_and_touching(self, write, read):
        assert read(write(hard_transcript())) == (
            4.0,
            {"talker 1": FIRST, "talker 2": SECOND, "talker 3": []},
        )

    def test_words_of_no_length_at_the_end_of_an_odd_length(self, write, read):
        words = [("a", 1.0, 1.2346), ("b", 1.2346, 1.2346), ("c", 1.24, 1.3)]
        seconds, tiers = read(write(make_transcript(words, seconds=1.2345678)))
        assert seconds == 1.2345678
        assert tiers == {
            "talker 1": [(1.0, 1.232, "a"), (1.232, 1.233, "b"), (1.233, 1.234, "c")]
        }

    def test_quotes_alone(self, write, read):
        words = [('"', 0.0, 1.0), ('""', 1.0, 2.0), ('x"', 2.0, 4.0)]
        _, tiers = read(write(make_transcript(words)))
        assert [label for *_, label in tiers["talker 1"]] == ['"', '""', 'x"']

    def test_recording_without_length(self, write, read):
        assert read(write(make_transcript([], seconds=0.0))) == (
            0.001,
            {"talker 1": []},
        )
