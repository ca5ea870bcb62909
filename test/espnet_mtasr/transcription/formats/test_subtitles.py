"""srt and vtt, read back by pysubs2 and by another reader of each."""

import html
import re

import pysubs2
import pytest
import srt
import webvtt
from helpers.transcripts import hard_transcript, make_transcript

from espnet_mtasr.transcription.formats import render

TIMES = [(100, 1300), (300, 1300), (2300, 4000)]
TALKERS = ["talker 1", "talker 2", "talker 2"]
TEXTS = ["don't <i> --> say\"é 日本", "{x} a\\nb &amp; dot", "done"]
SHOWN = [f"{talker}: {text}" for talker, text in zip(TALKERS, TEXTS)]


def seconds_of(stamp):
    hours, minutes, seconds = stamp.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_times_read_by_pysubs2(format):
    read = pysubs2.SSAFile.from_string(render([hard_transcript()], format))
    assert read.format == format
    assert [(event.start, event.end) for event in read] == TIMES


class TestSRT:
    def test_read_by_srt(self):
        read = list(srt.parse(render([hard_transcript()], "srt")))
        assert [
            (1000 * s.start.total_seconds(), 1000 * s.end.total_seconds()) for s in read
        ] == TIMES
        assert [s.index for s in read] == [1, 2, 3]
        assert [s.content.replace("\u2060", "") for s in read] == SHOWN

    def test_readers_find_no_markup_in_words(self):
        first, second, _ = pysubs2.SSAFile.from_string(
            render([hard_transcript()], "srt"), format_="srt"
        )
        assert first.text.replace("\u2060", "") == SHOWN[0]
        assert not re.search(r"<\w|-->|\{\\|\\[nNh]", first.text + second.text)

    def test_words_that_look_like_times(self):
        words = [("00:00:01,000", 0, 1), ("-->", 1, 2), ("00:00:02,000", 2, 3)]
        (read,) = srt.parse(render([make_transcript(words)], "srt"))
        assert "-->" not in read.content

    def test_nothing_said(self):
        assert render([make_transcript([])], "srt") == ""


class TestVTT:
    def test_read_by_webvtt(self):
        read = list(webvtt.from_string(render([hard_transcript()], "vtt")))
        times = [(seconds_of(c.start), seconds_of(c.end)) for c in read]
        assert times == [(start / 1000, end / 1000) for start, end in TIMES]
        assert [c.voice for c in read] == TALKERS
        assert [html.unescape(c.text) for c in read] == TEXTS

    def test_a_cues_text_has_no_mark_but_its_voice(self):
        lines = render([hard_transcript()], "vtt").splitlines()
        assert lines[0] == "WEBVTT"
        spoken = [line for line in lines if line.startswith("<v ")]
        assert spoken == [
            "<v talker 1>don't &lt;i&gt; --&gt; say\"é 日本",
            "<v talker 2>{x} a&#92;nb &amp;amp; dot",
            "<v talker 2>done",
        ]

    def test_over_an_hour(self):
        transcript = make_transcript([("late", 3661.5, 3662.0)], seconds=4000)
        assert "\n01:01:01.500 --> 01:01:02.000\n" in render([transcript], "vtt")

    def test_nothing_said(self):
        text = render([make_transcript([])], "vtt")
        assert text.split() == ["WEBVTT"]
        assert len(webvtt.from_string(text)) == 0
