"""A talker's words, cut at pauses: the lines of scoring files and of subtitles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, List, Tuple

from espnet_mtasr.transcription.formats.tidy import milliseconds

if TYPE_CHECKING:
    from espnet_mtasr.transcription.transcript import Transcript, Word

# Seconds of silence of one talker that end a segment.
PAUSE = 1.0


@dataclass(frozen=True)
class Segment:
    """Words that a talker said without a pause.

    Attributes:
        talker: 1 for the first to begin.
        words: At least one.
    """

    talker: int
    words: Tuple[Word, ...]

    @property
    def start(self) -> float:
        """Seconds."""
        return self.words[0].start

    @property
    def end(self) -> float:
        """Seconds."""
        return self.words[-1].end

    @property
    def text(self) -> str:
        """The words, separated by spaces."""
        return " ".join(word.text for word in self.words)


def cut_at_pauses(transcript: Transcript, pause: float = PAUSE) -> List[Segment]:
    """Cut a tidy transcript where a talker is silent for `pause` seconds or longer.

    Returns:
        The first talker's segments, then the second's, each in order of time; none for
        a talker without words.
    """
    segments = []
    for number, talker in enumerate(transcript.talkers, 1):
        runs: List[List[Word]] = []
        for word in talker.words:
            if runs and _silence(runs[-1][-1], word) < milliseconds(pause):
                runs[-1].append(word)
            else:
                runs.append([word])
        segments += [Segment(number, tuple(run)) for run in runs]
    return segments


def _silence(word: Word, next_word: Word) -> int:
    """Milliseconds between two words; not seconds, because 2.3 - 1.3 < 1.0."""
    return milliseconds(next_word.start - word.end)


def in_order_of_time(segments: List[Segment]) -> List[Segment]:
    """Sort by start; of two equal ones, the earlier talker's comes first."""
    return sorted(segments, key=lambda segment: (segment.start, segment.talker))
