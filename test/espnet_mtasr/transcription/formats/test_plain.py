"""txt and json."""

import json

from helpers.transcripts import hard_transcript, make_transcript

from espnet_mtasr.transcription.formats import render
from espnet_mtasr.transcription.transcript import join_channels


def test_txt():
    alone = make_transcript([("hello", 0, 1), ("there", 1, 2)], recording="b")
    assert render([hard_transcript(), alone], "txt") == (
        "a mix: 3 talkers, probability 0.97\n"
        "talker 1: don't <i> --> say\"é 日本\n"
        "talker 2: {x} a\\nb &amp; dot done\n"
        "talker 3:\n"
        "\n"
        "b: 1 talker\n"
        "talker 1: hello there\n"
    )


def test_txt_of_channels():
    joined = join_channels([make_transcript([("a", 1, 2)]), make_transcript([])])
    assert render([joined], "txt") == (
        "mix: 2 talkers\ntalker 1 (channel 0): a\ntalker 2 (channel 1):\n"
    )


def test_json_of_one_recording_is_an_object():
    said = json.loads(render([hard_transcript()], "json"))
    first, second, third = said.pop("talkers")
    assert said == dict(
        recording="a mix",
        seconds=4.0,
        num_talkers=3,
        num_talkers_probability=0.966,
        labels="recording",
        warnings=[],
        version=None,
        model=None,
        revision=None,
        settings={},
    )
    assert first["text"] == "don't <i> --> say\"é 日本"
    assert first["words"][2] == dict(text="-->", start=0.7, end=0.701, confidence=0.5)
    last = dict(text="done", start=2.3, end=4.0, confidence=0.25)
    assert second["words"][-1] == last
    assert third == dict(text="", channel=None, words=[])


def test_json_of_several_recordings_is_json_lines():
    transcripts = [hard_transcript(), make_transcript([("w", 0, 1)], recording="b")]
    lines = render(transcripts, "json").splitlines()
    assert [json.loads(line)["recording"] for line in lines] == ["a mix", "b"]
    assert [line + "\n" for line in lines] == [
        render([transcript], "json") for transcript in transcripts
    ]
    assert "日本" in lines[0]
