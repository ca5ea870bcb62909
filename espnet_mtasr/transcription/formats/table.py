"""The formats by name, and the one way to render them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Dict, Sequence

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.formats.plain import (
    render_json,
    render_jsonl,
    render_txt,
)
from espnet_mtasr.transcription.formats.praat import render_textgrid
from espnet_mtasr.transcription.formats.scoring import (
    render_ctm,
    render_rttm,
    render_seglst,
    render_stm,
)
from espnet_mtasr.transcription.formats.subtitles import render_srt, render_vtt
from espnet_mtasr.transcription.formats.tidy import tidy

if TYPE_CHECKING:
    from espnet_mtasr.transcription.transcript import Transcript


@dataclass(frozen=True)
class Format:
    """A way to write transcripts.

    Attributes:
        suffix: Ends the file's name.
        holds_several: Whether one text can contain several recordings.
        render_tidy: Makes the text, of transcripts from `tidy`; of exactly one where it
            can't hold several.
        needs_times: Whether it can only be written of words with times.
    """

    suffix: str
    holds_several: bool
    render_tidy: Callable[[Sequence[Transcript]], str]
    needs_times: bool = True


FORMATS: Dict[str, Format] = {
    "txt": Format(".txt", True, render_txt, needs_times=False),
    "json": Format(".json", True, render_json, needs_times=False),
    "jsonl": Format(".jsonl", True, render_jsonl, needs_times=False),
    "seglst": Format(".seglst.json", True, render_seglst),
    "stm": Format(".stm", True, render_stm),
    "rttm": Format(".rttm", True, render_rttm),
    "ctm": Format(".ctm", True, render_ctm),
    "srt": Format(".srt", False, render_srt),
    "vtt": Format(".vtt", False, render_vtt),
    "textgrid": Format(".TextGrid", False, render_textgrid),
}


def get_format(name: str) -> Format:
    """Look up a format.

    Raises:
        UserError: there is none of that name.
    """
    if name not in FORMATS:
        raise UserError(f"unknown format {name!r}: choose from {', '.join(FORMATS)}")
    return FORMATS[name]


def check_times(formats: Sequence[str]) -> None:
    """Raise `UserError` if a format needs times of words; there are none."""
    for name in formats:
        if get_format(name).needs_times:
            others = [n for n, format in FORMATS.items() if not format.needs_times]
            raise UserError(
                f"--format {name}: needs times of words, which a teacher doesn't give; "
                f"choose from {', '.join(others)}, or decode by CTC"
            )


def render(transcripts: Sequence[Transcript], format: str) -> str:
    """Turn transcripts into text.

    Times are in whole milliseconds, inside the recording, and a talker's words don't
    overlap (see `tidy.tidy`). txt, json and textgrid keep talkers without words; the
    others, made of segments or words, can't. In seglst, stm, rttm, srt and vtt, a
    talker's words are split into segments at pauses of a second or more.

    Args:
        transcripts: In the order of the output.
        format: A key of `FORMATS`.

    Returns:
        The text, with a newline at its end unless it is empty.

    Raises:
        UserError: no such format, two recordings of one name, several recordings in a
            format that holds one, or words without times in a format that needs them.
        ValueError: a transcript has invalid words (see `tidy.tidy`).
    """
    chosen = get_format(format)
    if not chosen.holds_several and len(transcripts) != 1:
        raise UserError(
            f"{format} can only contain one recording, not {len(transcripts)}: write "
            "files into a folder instead"
        )
    if not all(transcript.timed for transcript in transcripts):
        check_times([format])
    transcripts = [tidy(transcript) for transcript in transcripts]
    seen = set()
    for transcript in transcripts:
        if transcript.recording in seen:
            raise UserError(
                f"two recordings are called {transcript.recording!r}: rename one, or "
                "transcribe them separately"
            )
        seen.add(transcript.recording)
    return chosen.render_tidy(transcripts)
