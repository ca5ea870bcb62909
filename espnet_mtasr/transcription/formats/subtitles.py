"""srt and vtt, for players; written by pysubs2.

Talkers overlap, and so do their subtitles: each names its talker, srt in the text, vtt
in a voice tag. Talkers without words have none. Source of what vtt needs: W3C,
WebVTT, section 3.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Callable, Sequence

from espnet_mtasr.transcription.formats.segments import (
    Segment,
    cut_at_pauses,
    in_order_of_time,
)
from espnet_mtasr.transcription.formats.tidy import milliseconds

if TYPE_CHECKING:
    from espnet_mtasr.transcription.transcript import Transcript

# Invisible; only separates two characters.
WORD_JOINER = "\u2060"


def render_srt(transcripts: Sequence[Transcript]) -> str:
    """SubRip: `talker 1: words`.

    SubRip can't escape anything. So that players show `<i>`, `{x}`, `-->` and a
    backslash instead of obeying them, an invisible word joiner (U+2060) stands inside
    them.
    """
    return _render(transcripts, "srt", _srt_text)


def render_vtt(transcripts: Sequence[Transcript]) -> str:
    """WebVTT: `<v talker 1>words`.

    WebVTT uses the voice tag for the speaker; players can style it, and programs can
    read it.
    """
    return _render(transcripts, "vtt", _vtt_text)


def _srt_text(segment: Segment) -> str:
    text = re.sub(r"([<{\\]|--(?=>))", rf"\1{WORD_JOINER}", segment.text)
    return f"talker {segment.talker}: {text}"


def _vtt_text(segment: Segment) -> str:
    # pysubs2 would replace a backslash before h, n and N by a space or a new line.
    text = html.escape(segment.text, quote=False).replace("\\", "&#92;")
    return f"<v talker {segment.talker}>{text}"


def _render(
    transcripts: Sequence[Transcript], name: str, to_text: Callable[[Segment], str]
) -> str:
    from pysubs2 import SSAEvent, SSAFile

    (transcript,) = transcripts
    subtitles = SSAFile()
    subtitles.events = [
        SSAEvent(
            start=milliseconds(segment.start),
            end=milliseconds(segment.end),
            text=to_text(segment),
        )
        for segment in in_order_of_time(cut_at_pauses(transcript))
    ]
    # Without it, pysubs2 deletes everything in curly brackets.
    return subtitles.to_string(name, keep_ssa_tags=True)
