"""seglst, stm, rttm and ctm, for scoring tools.

Sources: meeteval's file formats, and NIST's SCTK, doc/infmts.htm. meeteval's classes
write stm and ctm; for SegLST, which is JSON, it would need one more package. These
formats omit talkers without words.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Dict, Sequence

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.formats.segments import cut_at_pauses, in_order_of_time
from espnet_mtasr.transcription.formats.tidy import milliseconds

if TYPE_CHECKING:
    from espnet_mtasr.transcription.transcript import Transcript

# Formats whose columns are separated by spaces.
IN_COLUMNS = ("stm", "rttm", "ctm")


def render_seglst(transcripts: Sequence[Transcript]) -> str:
    """SegLST: a JSON list of segments of all recordings, each recording's by start."""
    segments = [
        {
            "session_id": transcript.recording,
            "speaker": _talker_name(segment.talker),
            "start_time": segment.start,
            "end_time": segment.end,
            "words": segment.text,
        }
        for transcript in transcripts
        for segment in in_order_of_time(cut_at_pauses(transcript))
    ]
    return json.dumps(segments, ensure_ascii=False, indent=2) + "\n"


def render_stm(transcripts: Sequence[Transcript]) -> str:
    """STM: a line per segment, by recording, talker and start.

    The channel is the talker's number, as in the CTM file: SCTK matches the two files
    by it. Spaces in a recording's name become `_`. Words are written unchanged: SCTK
    interprets `(word)`, `{ a / b }` and a first word in angle brackets as its own
    markup.

    Raises:
        UserError: two recordings' names become the same.
    """
    from meeteval.io import STM, STMLine

    names = column_names([t.recording for t in transcripts])
    lines = [
        STMLine(
            filename=names[transcript.recording],
            channel=segment.talker,
            speaker_id=_talker_name(segment.talker),
            begin_time=_decimal(segment.start),
            end_time=_decimal(segment.end),
            transcript=segment.text,
        )
        for transcript in transcripts
        for segment in cut_at_pauses(transcript)
    ]
    return STM(lines).dumps()


def render_rttm(transcripts: Sequence[Transcript]) -> str:
    """RTTM: a line per segment, who talks when, by recording, talker and start.

    Words are left out. Spaces in a recording's name become `_`.

    Raises:
        UserError: two recordings' names become the same.
    """
    from meeteval.io import RTTM, RTTMLine

    names = column_names([t.recording for t in transcripts])
    lines = [
        RTTMLine(
            filename=names[transcript.recording],
            channel="1",
            begin_time=_decimal(segment.start),
            duration=_decimal(segment.end) - _decimal(segment.start),
            speaker_id=_talker_name(segment.talker),
        )
        for transcript in transcripts
        for segment in cut_at_pauses(transcript)
    ]
    return RTTM(lines).dumps()


def render_ctm(transcripts: Sequence[Transcript]) -> str:
    """CTM: a line per word with its confidence, by recording, talker and start.

    CTM has no column for talkers: the channel is the talker's number. (meeteval ignores
    it, and reads a CTM file as one talker's: seglst and stm are for meeteval.) Spaces
    in a recording's name become `_`.

    Raises:
        UserError: two recordings' names become the same.
    """
    from meeteval.io import CTM, CTMLine

    names = column_names([t.recording for t in transcripts])
    lines = [
        CTMLine(
            filename=names[transcript.recording],
            channel=number,
            begin_time=_decimal(word.start),
            duration=_decimal(word.end) - _decimal(word.start),
            word=word.text,
            confidence=f"{word.confidence:.4f}",
        )
        for transcript in transcripts
        for number, talker in enumerate(transcript.talkers, 1)
        for word in talker.words
    ]
    return CTM(lines).dumps()


def _talker_name(number: int) -> str:
    return f"talker_{number}"


def _decimal(seconds: float) -> Decimal:
    """Seconds with three decimals, because meeteval writes numbers with str()."""
    return Decimal(milliseconds(seconds)).scaleb(-3)


def column_names(recordings: Sequence[str]) -> Dict[str, str]:
    """Names of recordings for files with columns separated by spaces.

    Raises:
        UserError: two would have the same.
    """
    names: Dict[str, str] = {}
    taken = set()
    for recording in recordings:
        # A line that begins with a semicolon is a comment.
        column = re.sub(r"\s|^;", "_", recording)
        if column in taken:
            raise UserError(
                f"two recordings are called {column!r} in stm, rttm and ctm, where "
                "names have no spaces: rename one"
            )
        taken.add(column)
        names[recording] = column
    return names
