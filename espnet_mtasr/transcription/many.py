"""Transcribe many recordings; one that fails is reported and skipped."""

import time
from typing import Callable, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr.console import say
from espnet_mtasr.errors import UserError
from espnet_mtasr.progress import TerminalLine, format_clock
from espnet_mtasr.transcription.channels import MIX, Channel
from espnet_mtasr.transcription.long.journal import Journal
from espnet_mtasr.transcription.long.recording import read_head
from espnet_mtasr.transcription.mtasr import MTASR
from espnet_mtasr.transcription.recordings import Recording, Waves, open_recording
from espnet_mtasr.transcription.settings import Settings
from espnet_mtasr.transcription.sources import Source
from espnet_mtasr.transcription.transcript import Part, Transcript

# A transcript, and its recording's channels `(N,)`.
Transcribed = Tuple[Transcript, Sequence[np.ndarray]]
# Recordings of this many batches are read at a time and sorted by length.
BATCHES_AHEAD = 8


class Many:
    """Transcribes recordings, in their order.

    Args:
        model: Transcribes them.
        sources: The recordings.
        how: As `MTASR.how` returns it.
        num_talkers: Of every recording; None: predicted.
        channel: As in `MTASR.transcribe`.
        keep_line: Keep the progress line on the terminal while transcripts are yielded
            and at the end, for transcripts that are not written there.
        tell: Gets the parts of long recordings as soon as they are known.
        journal: Opens the journal of a long recording, or returns None.
    """

    def __init__(
        self,
        model: MTASR,
        sources: Sequence[Source],
        how: Settings,
        num_talkers: Optional[int] = None,
        channel: Channel = MIX,
        keep_line: bool = False,
        tell: Callable[[str, Part], None] = lambda name, part: None,
        journal: Callable[[Source], Optional[Journal]] = lambda source: None,
    ):
        self.model = model
        self.sources = sources
        self.how = how
        self.num_talkers = num_talkers
        self.channel = channel
        self.keep_line = keep_line
        self.tell = tell
        self.journal = journal
        # A line for each failed recording, also written to standard error at once.
        self.failures: List[str] = []
        self._line = TerminalLine()
        self._done = 0

    def transcripts(self) -> Iterator[Transcribed]:
        """Yield the transcript and channels of each recording that doesn't fail.

        Long recordings are not kept in memory, so they have no channels here.
        """
        self._line.draw("Transcribing", 0.0, f"0/{len(self.sources)}")
        for transcript, waves in self._transcripts():
            self.warn(transcript.warnings)
            if not self.keep_line:
                self._line.erase()
            yield transcript, waves
            self._done += 1
            self._draw()
        if self.keep_line:
            number = len(self.sources)
            self._line.finish("Transcribing", 1.0, f"{number}/{number}")
        else:
            self._line.erase()

    def _transcripts(self) -> Iterator[Transcribed]:
        ahead = BATCHES_AHEAD * self.how.batch_seconds * self.how.rate
        read: List[Recording] = []
        for source in self.sources:
            try:
                waves = open_recording(source, self.how.rate, self.channel)
                found = read_head(waves, self.how.whole_samples)
            except UserError as e:
                self.fail(str(e))
                continue
            if isinstance(found, Recording):
                read.append(found)
                if sum(recording.num_samples for recording in read) >= ahead:
                    yield from self._whole(read)
                    read = []
            else:
                yield from self._whole(read)
                read = []
                yield from self._long(source, found)
        yield from self._whole(read)

    def _whole(self, recordings: Sequence[Recording]) -> Iterable[Transcribed]:
        """Transcripts of recordings that have been read."""
        if not recordings:
            return []
        counts = [self.num_talkers] * len(recordings)
        try:
            found = self.model.decoder.transcribe(recordings, counts, self.how)
            return zip(found, [recording.channels for recording in recordings])
        except (RuntimeError, MemoryError, UserError) as e:
            if not may_be_a_recordings(e):
                raise
        # One may be too long for the memory; don't lose the others.
        return self._one_by_one(recordings)

    def _one_by_one(self, recordings: Sequence[Recording]) -> Iterator[Transcribed]:
        for recording in recordings:
            try:
                (found,) = self.model.decoder.transcribe(
                    [recording], [self.num_talkers], self.how
                )
            except (RuntimeError, MemoryError, UserError) as e:
                seconds = len(recording.channels[0]) / self.how.rate
                self._fail_at(recording.name, f"with its {seconds:.0f} s", e)
            else:
                yield found, recording.channels

    def _long(self, source: Source, waves: Waves) -> Iterator[Transcribed]:
        """The transcript of a long recording, unless it fails."""
        journal = self.journal(source)
        kept = () if journal is None else (journal.heard, journal.keep)
        long = self.model.decoder.long_recording(
            waves, self.num_talkers, self.how, *kept
        )
        start, before = time.monotonic(), None
        if journal is not None and journal.heard:
            # What is in the journal took no time.
            before = max(heard.end for _, heard in journal.heard)
        try:
            for part in long.parts():
                if not self.keep_line:
                    self._line.erase()
                if self.how.people is None:
                    self.tell(source.name, part)
                before = long.seconds if before is None else before
                self._draw_long(long.seconds, waves.seconds, before, start)
        except (RuntimeError, MemoryError, UserError) as e:
            self._fail_at(source.name, f"after {format_clock(long.seconds)}", e)
            return
        yield long.transcript(), ()

    def _draw(self) -> None:
        total = len(self.sources)
        share = min((self._done + len(self.failures)) / total, 1.0)
        self._line.draw("Transcribing", share, f"{self._done}/{total}")

    def _draw_long(
        self, seconds: float, length: Optional[float], before: float, start: float
    ) -> None:
        """Show the progress of a recording, whose `length` may be unknown."""
        place = format_clock(seconds)
        many = len(self.sources)
        which = f"{self._done + 1}/{many}, " if many > 1 else ""
        if length is None or seconds <= before:
            share = 0.0 if length is None else min(seconds / length, 1.0)
            self._line.draw("Transcribing", share, f"{which}{place}")
            return
        pace = (time.monotonic() - start) / (seconds - before)
        detail = f"{which}{place} of {format_clock(length)}"
        left = pace * max(length - seconds, 0.0)
        self._line.draw("Transcribing", min(seconds / length, 1.0), detail, left)

    def _say(self, problem: str) -> None:
        self._line.erase()
        say(problem)

    def warn(self, problems: Sequence[str]) -> None:
        """Report what doesn't stop a recording's transcript."""
        for problem in problems:
            self._say(f"warning: {problem}")

    def fail(self, problem: str) -> None:
        """Report a failure and continue."""
        self.failures.append(problem)
        self._say(problem)

    def _fail_at(self, name: str, place: str, error: Exception) -> None:
        """Report a failure that a recording may have caused; raise any other."""
        if not may_be_a_recordings(error):
            raise error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        self.fail(f"{name}: failed {place} ({reason})")


def may_be_a_recordings(error: Exception) -> bool:
    """Return whether a recording may be the cause, and not the model or this package.

    torch has no exception of its own for running out of memory on a CPU.
    """
    if not isinstance(error, RuntimeError):
        return isinstance(error, (MemoryError, UserError))
    return any(word in str(error).lower() for word in ("memory", "allocat"))
