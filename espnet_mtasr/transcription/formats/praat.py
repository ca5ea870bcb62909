"""TextGrid, Praat's annotation of a recording: a tier of words per talker; by praatio.

Source: Praat's manual, "TextGrid file formats". A talker without words has an empty
tier.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Sequence

if TYPE_CHECKING:
    from espnet_mtasr.transcription.transcript import Transcript


def render_textgrid(transcripts: Sequence[Transcript]) -> str:
    """One transcript in Praat's long text format."""
    from praatio.textgrid import IntervalTier, Textgrid

    (transcript,) = transcripts
    # Praat doesn't open files of length 0.
    length = max(transcript.seconds, 0.001)
    grid = Textgrid(minTimestamp=0, maxTimestamp=length)
    for number, talker in enumerate(transcript.talkers, 1):
        entries = [(word.start, word.end, word.text) for word in talker.words]
        tier = IntervalTier(f"talker {number}", entries, minT=0, maxT=length)
        grid.addTier(tier, reportingMode="error")
    # praatio can only write to a file.
    with TemporaryDirectory() as folder:
        path = Path(folder, "transcript.TextGrid")
        grid.save(
            str(path),
            format="long_textgrid",
            includeBlankSpaces=True,
            reportingMode="error",
        )
        return path.read_text(encoding="utf-8")
