"""What a terminal shows of a transcript."""

import io
import re
import sys
from dataclasses import replace

import pytest
from helpers.transcripts import hard_transcript, make_transcript

from espnet_mtasr.console import takes_color
from espnet_mtasr.transcription.formats.terminal import render_for_terminal
from espnet_mtasr.transcription.output import Output

TALK = make_transcript(
    [("so", 0.12, 0.5), ("then", 9.6, 10.04)],
    [],
    [("i", 0.3, 0.4), ("see", 0.4, 0.6)],
    seconds=12.0,
    probabilities={3: 0.9},
)
PLAIN = """mix: 3 talkers, probability 0.90
talker 1   0.1 to  0.5 s  so
talker 3   0.3 to  0.6 s  i see
talker 1   9.6 to 10.0 s  then
talker 2  no words
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_segments_in_order_of_time():
    assert render_for_terminal(TALK, color=False) == PLAIN


def test_a_color_per_talker():
    text = render_for_terminal(TALK, color=True)
    assert re.sub(r"\033\[\d*m", "", text) == PLAIN
    _, *lines = text.splitlines()
    assert all(re.fullmatch(r"\033\[3\dm[^\033]*\033\[0m", line) for line in lines)
    first, third, again, second = (line[:5] for line in lines)
    assert first == again and len({first, second, third}) == 3


def test_channels():
    talkers = tuple(replace(t, channel=k) for k, t in enumerate(TALK.talkers))
    text = render_for_terminal(replace(TALK, talkers=talkers), color=False)
    assert "\ntalker 3 (channel 2)   0.3 to  0.6 s  i see\n" in text


def test_words_that_are_hard_to_write():
    text = render_for_terminal(hard_transcript(), color=False)
    assert text.count("\n") == 5 and "日本" in text


@pytest.mark.parametrize(
    "name, value, color",
    [("TERM", "xterm", True), ("NO_COLOR", "", True), ("NO_COLOR", "1", False)]
    + [("TERM", "dumb", False)],
)
def test_who_wants_no_color(name, value, color, monkeypatch):
    monkeypatch.setenv(name, value)
    assert takes_color(Terminal()) is color
    assert not takes_color(io.StringIO())
    monkeypatch.setattr("sys.stdout", Terminal())
    output = Output(["txt"], None, ["mix"])
    output.add(TALK)
    shown = sys.stdout.getvalue()
    assert ("\033" in shown, "0.1 to  0.5 s" in shown) == (color, True)


def test_pipes_and_other_formats_stay_as_they_are(capsys, monkeypatch):
    Output(["txt"], None, ["mix"]).add(TALK)
    assert capsys.readouterr().out == TALK.to_txt()
    monkeypatch.setattr("sys.stdout", Terminal())
    Output(["json"], None, ["mix"]).add(TALK)
    assert sys.stdout.getvalue() == TALK.to_json()
