"""Transcripts as text: for people, programs, scoring tools, players and Praat.

`plain` has txt and json, `scoring` seglst, stm, rttm and ctm, `subtitles` srt and vtt,
`praat` textgrid; `tidy` and `segments` prepare what they write, `table` lists them,
`files` names and writes the files. Importing this is cheap: the libraries that know the
formats are loaded when a format is first written.
"""

from espnet_mtasr.transcription.formats.files import (
    output_paths,
    write_transcripts,
)
from espnet_mtasr.transcription.formats.table import (
    FORMATS,
    Format,
    check_times,
    render,
)

__all__ = [
    "FORMATS",
    "Format",
    "check_times",
    "output_paths",
    "render",
    "write_transcripts",
]
