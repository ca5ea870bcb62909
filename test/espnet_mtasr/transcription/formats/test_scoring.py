"""seglst, stm, rttm and ctm, read back by meeteval and by the rules of the formats."""

import io
import json

import meeteval
import pytest
from helpers.transcripts import hard_transcript, make_transcript
from meeteval.io import CTM, RTTM, STM, SegLST

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.formats import render

SEGMENTS = [
    ("talker_1", 0.1, 1.3, "don't <i> --> say\"é 日本"),
    ("talker_2", 0.3, 1.3, "{x} a\\nb &amp; dot"),
    ("talker_2", 2.3, 4.0, "done"),
]


def other_transcript():
    return make_transcript(
        [("one", 1.0, 1.5), ("two", 3.0, 3.5)], [("three", 1.2, 1.6)], recording="b"
    )


def read(reader, text):
    return reader.load(io.StringIO(text), parse_float=float)


class TestSegLST:
    def test_read_by_meeteval_and_as_json(self):
        text = render([hard_transcript()], "seglst")
        for segments in (read(SegLST, text), json.loads(text)):
            assert [
                (s["speaker"], s["start_time"], s["end_time"], s["words"])
                for s in segments
            ] == SEGMENTS
            assert {s["session_id"] for s in segments} == {"a mix"}
        assert "日本" in text

    def test_several_recordings_by_start(self):
        text = render([hard_transcript(), other_transcript()], "seglst")
        said = [(s["session_id"], s["words"]) for s in read(SegLST, text)][3:]
        assert said == [("b", "one"), ("b", "three"), ("b", "two")]

    def test_nothing_said(self):
        assert json.loads(render([make_transcript([], [])], "seglst")) == []


class TestSTM:
    def test_read_by_meeteval(self):
        lines = read(STM, render([hard_transcript()], "stm")).lines
        assert [
            (ln.speaker_id, ln.begin_time, ln.end_time, ln.transcript) for ln in lines
        ] == SEGMENTS

    def test_lines(self):
        assert render([hard_transcript(), other_transcript()], "stm") == (
            "a_mix 1 talker_1 0.100 1.300 don't <i> --> say\"é 日本\n"
            "a_mix 2 talker_2 0.300 1.300 {x} a\\nb &amp; dot\n"
            "a_mix 2 talker_2 2.300 4.000 done\n"
            "b 1 talker_1 1.000 1.500 one\n"
            "b 1 talker_1 3.000 3.500 two\n"
            "b 2 talker_2 1.200 1.600 three\n"
        )

    @pytest.mark.parametrize("format", ["seglst", "stm"])
    def test_meeteval_scores_it(self, format):
        reader = {"seglst": SegLST, "stm": STM}[format]
        mine = read(reader, render([other_transcript()], format))
        reference = STM.parse("b 1 X 1.2 1.6 three\nb 1 Y 1 3.5 one four\n")
        (score,) = meeteval.wer.cpwer(reference, mine).values()
        assert (score.errors, score.length) == (1, 3)

    def test_nothing_said(self):
        assert render([make_transcript([])], "stm") == ""


class TestRTTM:
    def test_lines(self):
        assert render([hard_transcript(), other_transcript()], "rttm") == (
            "SPEAKER a_mix 1 0.100 1.200 <NA> <NA> talker_1 <NA> <NA>\n"
            "SPEAKER a_mix 1 0.300 1.000 <NA> <NA> talker_2 <NA> <NA>\n"
            "SPEAKER a_mix 1 2.300 1.700 <NA> <NA> talker_2 <NA> <NA>\n"
            "SPEAKER b 1 1.000 0.500 <NA> <NA> talker_1 <NA> <NA>\n"
            "SPEAKER b 1 3.000 0.500 <NA> <NA> talker_1 <NA> <NA>\n"
            "SPEAKER b 1 1.200 0.400 <NA> <NA> talker_2 <NA> <NA>\n"
        )

    def test_read_by_meeteval(self):
        lines = read(RTTM, render([hard_transcript()], "rttm")).lines
        assert [
            (ln.speaker_id, ln.begin_time, round(ln.begin_time + ln.duration, 3))
            for ln in lines
        ] == [segment[:3] for segment in SEGMENTS]

    def test_nothing_said(self):
        assert render([make_transcript([])], "rttm") == ""


class TestCTM:
    def test_lines(self):
        assert render([hard_transcript(), other_transcript()], "ctm") == (
            "a_mix 1 0.100 0.400 don't 0.9000\n"
            "a_mix 1 0.500 0.200 <i> 0.5000\n"
            "a_mix 1 0.700 0.001 --> 0.5000\n"
            'a_mix 1 0.800 0.200 say"é 0.5000\n'
            "a_mix 1 1.000 0.300 日本 0.5000\n"
            "a_mix 2 0.300 0.300 {x} 0.5000\n"
            "a_mix 2 0.600 0.300 a\\nb 0.5000\n"
            "a_mix 2 0.900 0.300 &amp; 0.5000\n"
            "a_mix 2 1.200 0.100 dot 0.5000\n"
            "a_mix 2 2.300 1.700 done 0.2500\n"
            "b 1 1.000 0.500 one 0.5000\n"
            "b 1 3.000 0.500 two 0.5000\n"
            "b 2 1.200 0.400 three 0.5000\n"
        )

    def test_read_by_meeteval(self):
        text = render([hard_transcript()], "ctm")
        lines = read(CTM, text).lines
        assert len(lines) == 10
        assert (lines[-1].channel, lines[-1].word) == ("2", "done")
        assert lines[-1].begin_time + lines[-1].duration == 4.0
        assert float(lines[-1].confidence) == 0.25

    def test_nothing_said(self):
        assert render([make_transcript([])], "ctm") == ""


@pytest.mark.parametrize("format", ["stm", "rttm", "ctm"])
class TestNames:
    def test_a_semicolon_makes_no_comment(self, format):
        text = render([make_transcript([("w", 0, 1)], recording=";;x\ty z")], format)
        (line,) = read({"stm": STM, "rttm": RTTM, "ctm": CTM}[format], text).lines
        assert line.filename == "_;x_y_z"

    def test_names_that_become_equal(self, format):
        transcripts = [make_transcript(recording=name) for name in ("a b", "a_b")]
        with pytest.raises(UserError, match="'a_b' in stm, rttm and ctm"):
            render(transcripts, format)
