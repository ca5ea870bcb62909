"""A long recording: every word is heard once, wherever windows are cut.

The model reads: samples are the numbers of words, and a word is said by sample 0.5, so
that windows show what they have heard.
"""

import json

import numpy as np
import pytest

from espnet_mtasr.transcription.long import recording as long_recording
from espnet_mtasr.transcription.long.journal import Journal
from espnet_mtasr.transcription.long.recording import LongRecording, read_head
from espnet_mtasr.transcription.recordings import Recording, Waves
from espnet_mtasr.transcription.settings import Settings
from espnet_mtasr.transcription.speech_detector import FRAME
from espnet_mtasr.transcription.transcript import (
    Origin,
    Talker,
    Transcript,
    Voice,
    Word,
)

RATE = 1000
SETTINGS = Settings(RATE, 8.0, 0.5, 20.0)
# Samples of a word, and of the silence behind it.
LENGTH, GAP = 300, 100


class ReadingDetector:
    """Speech is what isn't zero."""

    def __init__(self, rate):
        self.kept = np.zeros(0, np.float32)

    def __call__(self, samples):
        kept = np.concatenate([self.kept, samples])
        size = round(FRAME * RATE)
        whole = len(kept) // size * size
        self.kept = kept[whole:]
        return (kept[:whole].reshape(-1, size) != 0).any(1).astype(np.float32)

    def end(self):
        return np.zeros(int(len(self.kept) > 0), np.float32)


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    monkeypatch.setattr(long_recording, "SpeechDetector", ReadingDetector)


def say(numbers, pauses=()):
    """Words one after the other, with a pause behind some."""
    wave = []
    for number in numbers:
        silence = 1500 if number in pauses else GAP
        wave += [np.full(LENGTH, float(number)), np.zeros(silence)]
    return np.concatenate(wave).astype(np.float32)


def read(windows):
    """A transcript per window: words that are whole, and `cut` for others."""
    found = []
    for samples in windows:
        words = []
        edges = np.flatnonzero(np.diff(samples, prepend=0.0, append=0.0))
        for start, end in zip(edges, edges[1:]):
            if samples[start] == 0:
                continue
            text = str(int(samples[start])) if end - start == LENGTH else "cut"
            words.append(Word(text, start / RATE, end / RATE, 0.5))
        talkers = (Talker(tuple(words)),)
        found.append(Transcript("x", len(samples) / RATE, talkers, {1: 1.0}))
    return found


def waves(samples, step=777):
    columns = np.atleast_2d(samples).T
    blocks = (columns[at : at + step] for at in range(0, len(columns), step))
    return Waves("long", blocks, ["a warning"], seconds=len(columns) / RATE)


def hear(samples, **options):
    long = LongRecording(waves(samples), read, SETTINGS, **options)
    return list(long.parts()), long.transcript()


@pytest.mark.parametrize("pauses", [(), (7, 20, 21, 77), range(100)])
def test_every_word_once(pauses):
    wave = say(range(1, 101), pauses)
    parts, transcript = hear(wave)
    assert transcript.talkers[0].text.split() == list(map(str, range(1, 101)))
    for word in transcript.talkers[0].words:
        number = int(word.text)
        assert wave[round((word.start + 0.01) * RATE)] == number
    assert transcript.seconds == len(wave) / RATE
    assert transcript.warnings == ("a warning",)
    assert transcript.parts == tuple(parts) and len(parts) >= 5
    assert transcript.labels == ("part" if pauses else "recording")


def test_channels():
    left, right = say(range(1, 60)), say(range(101, 160), pauses=range(100, 200, 7))
    samples = np.zeros((2, max(len(left), len(right))), np.float32)
    samples[0, : len(left)], samples[1, : len(right)] = left, right
    parts, transcript = hear(samples)
    assert [talker.channel for talker in transcript.talkers] == [0, 1]
    expected = (range(1, 60), range(101, 160))
    for talker, numbers in zip(transcript.talkers, expected):
        assert talker.text.split() == list(map(str, numbers))
    assert {part.channel for part in parts} == {0, 1}


def test_parts_come_before_the_end():
    wave = say(range(1, 1001), pauses=range(0, 1001, 9))
    source = waves(wave)
    next(iter(LongRecording(source, read, SETTINGS).parts()))
    rest = sum(map(len, source.blocks))
    assert rest > 0.9 * len(wave)


@pytest.mark.parametrize("done", [1, 5, 17])
def test_it_goes_on_from_its_journal(tmp_path, done):
    wave = say(range(1, 301), pauses=(50, 51, 130, 222))
    parts, expected = hear(wave)
    path = tmp_path / "long.unfinished"
    journal = Journal(path, {"size": 1}, resume=True)
    assert journal.heard == []

    class Killed(Exception):
        pass

    def keep(channel, heard):
        journal.keep(channel, heard)
        if len(path.read_text().splitlines()) > done:
            raise Killed

    with pytest.raises(Killed):
        hear(wave, keep=keep)
    # As a kill may leave it, within a character too.
    with path.open("ab") as file:
        file.write('[0, "ü'.encode()[:-1])
    heard = []

    def count(windows):
        heard.extend(windows)
        return read(windows)

    again = Journal(path, {"size": 1}, resume=True)
    assert len(again.heard) == done
    long = LongRecording(
        waves(wave), count, SETTINGS, Origin(), again.heard, again.keep
    )
    assert list(long.parts()) == parts
    assert long.transcript() == expected
    assert len(heard) == len(parts) - done
    lines = path.read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 1 + len(parts)
    assert Journal(path, {"size": 2}, resume=True).heard == []
    assert Journal(path, {"size": 2}, resume=False).heard == []


def listen(samples, talkers):
    """Who says a word is its number's last digit, 0 or 1."""
    return [
        Voice((1.0, 0.0) if int(words[0].text) % 2 else (0.0, 1.0))
        for words in talkers
        if words
    ]


def test_people(tmp_path):
    """Each part has one talker, who is the first of the part."""
    numbers = [3, 5, 7, 2, 4, 9, 8, 6, 1]
    wave = say(numbers, pauses=numbers)
    settings = SETTINGS._replace(people=2)
    journal = Journal(tmp_path / "kept", {}, resume=True)
    for resume in (False, True):
        journal = Journal(tmp_path / "kept", {}, resume)
        long = LongRecording(
            waves(wave), read, settings, Origin(), journal.heard, journal.keep, listen
        )
        parts, transcript = list(long.parts()), long.transcript()
        assert [len(part.talkers) for part in parts] == [1] * 9
        said = [talker.text for talker in transcript.talkers]
        assert said == ["3 5 7 9 1", "2 4 8 6"]
        assert transcript.labels == "recording"
        assert transcript.parts[3].talkers[0].words == ()
        assert transcript.parts[3].talkers[1].text == "2"
    assert len(journal.heard) == 9
    assert hear(wave)[1].labels == "part"


def test_short_ones_are_read_whole():
    wave = say(range(1, 20))
    whole = read_head(waves(wave), len(wave))
    assert isinstance(whole, Recording)
    assert np.array_equal(whole.channels[0], wave)
    longer = read_head(waves(wave), len(wave) - 1)
    assert isinstance(longer, Waves)
    assert np.array_equal(np.concatenate(list(longer.blocks))[:, 0], wave)
