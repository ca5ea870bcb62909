"""txt, for people, and json, for programs: both keep talkers without words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Optional, Sequence

from espnet_mtasr.progress import format_clock

if TYPE_CHECKING:
    from espnet_mtasr.transcription.transcript import Part, Talker, Transcript


def render_txt(transcripts: Sequence[Transcript]) -> str:
    """Name and talker count, then a line per talker; an empty line between recordings.

    The count's probability is omitted if the model has none, and the channel unless
    each was transcribed separately. For a recording in parts, a line has the time at
    which a talker begins in the part, or that of the part if words have no times.
    """
    return "\n".join(_txt(transcript) for transcript in transcripts)


def txt_of_part(
    recording: str, part: Part, first: bool, people: Optional[int] = None
) -> str:
    """The lines of `render_txt` for a part, after the name for the `first`.

    Args:
        recording: Its name.
        part: Of it.
        first: Whether it is the first.
        people: In the recording, if voices tell who is who.
    """
    valid = "a talker's number is valid within one part"
    if people is not None:
        valid = f"{people} people, each with one number"
    lines = [f"{recording}: in parts; {valid}"] * first
    said = [
        (talker.words[0].start if talker.words else part.start, number, talker)
        for number, talker in enumerate(part.talkers, 1)
        if talker.text
    ]
    lines += [
        f"{format_clock(start)} {talker_name(number, talker)}: {talker.text}"
        for start, number, talker in sorted(said, key=lambda entry: entry[:2])
    ]
    return "".join(line + "\n" for line in lines)


def heading(transcript: Transcript) -> str:
    """Name, talker count and, if the model has it, its probability."""
    count = transcript.num_talkers
    line = f"{transcript.recording}: {count} talker{'' if count == 1 else 's'}"
    if transcript.num_talkers_probability is not None:
        line += f", probability {transcript.num_talkers_probability:.2f}"
    return line


def _txt(transcript: Transcript) -> str:
    if transcript.parts:
        people = transcript.num_talkers if transcript.labelled else None
        return "".join(
            txt_of_part(transcript.recording, part, number == 0, people)
            for number, part in enumerate(transcript.parts)
        )
    lines = [
        f"{talker_name(number, talker)}: {talker.text}".rstrip()
        for number, talker in enumerate(transcript.talkers, 1)
    ]
    return "".join(line + "\n" for line in (heading(transcript), *lines))


def talker_name(number: int, talker: Talker) -> str:
    """Number, from 1, and channel if each was transcribed separately."""
    channel = "" if talker.channel is None else f" (channel {talker.channel})"
    return f"talker {number}{channel}"


def render_jsonl(transcripts: Sequence[Transcript]) -> str:
    """A JSON object per part of a recording; one for a recording without parts."""
    return "".join(
        jsonl_of_part(transcript.recording, part)
        for transcript in transcripts
        for part in transcript.parts or [transcript.as_part()]
    )


def jsonl_of_part(recording: str, part: Part) -> str:
    """The line of `render_jsonl` for a part."""
    entry = dict(recording=recording, **part.as_dict())
    return json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"


def render_json(transcripts: Sequence[Transcript]) -> str:
    """One JSON object per recording (`Transcript.as_dict`), each on a line of its own.

    So one recording is a JSON object, several are JSON Lines, and a recording looks the
    same in both.
    """
    return "".join(
        json.dumps(transcript.as_dict(), ensure_ascii=False, allow_nan=False) + "\n"
        for transcript in transcripts
    )
