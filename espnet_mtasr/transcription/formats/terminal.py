"""Transcripts on a terminal: who says what when, with a color per talker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from espnet_mtasr.transcription.formats.plain import heading, talker_name
from espnet_mtasr.transcription.formats.segments import cut_at_pauses, in_order_of_time
from espnet_mtasr.transcription.formats.tidy import tidy

if TYPE_CHECKING:
    from espnet_mtasr.transcription.transcript import Transcript

# Cyan, yellow, magenta, green, blue: readable on black and on white.
COLORS = (36, 33, 35, 32, 34)


def render_for_terminal(transcript: Transcript, color: bool) -> str:
    """Return name and talker count, then a line per segment in order of time.

    A talker's words are cut at pauses of a second or more. Talkers without words come
    last. If words have no times, it is a line per talker.

    Args:
        transcript: Of a recording.
        color: Whether lines have their talker's color.
    """
    transcript = tidy(transcript)
    names = [talker_name(n, talker) for n, talker in enumerate(transcript.talkers, 1)]
    width = len(f"{transcript.seconds:.1f}")
    lines = [
        (s.talker, f"{s.start:{width}.1f} to {s.end:{width}.1f} s  {s.text}")
        for s in in_order_of_time(cut_at_pauses(transcript))
    ]
    lines += [
        (number, talker.text or "no words")
        for number, talker in enumerate(transcript.talkers, 1)
        if not talker.words
    ]
    shown = [heading(transcript)]
    for number, line in lines:
        line = f"{names[number - 1]}  {line}"
        if color:
            line = f"\033[{COLORS[(number - 1) % len(COLORS)]}m{line}\033[0m"
        shown.append(line)
    return "".join(line + "\n" for line in shown)
