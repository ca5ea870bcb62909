"""Transcribe many recordings: one that fails is reported, and the others go on."""

from typing import Callable, Iterable, Iterator, List, Optional, Sequence, Tuple

from espnet_mtasr.console import say
from espnet_mtasr.errors import UserError
from espnet_mtasr.progress import TerminalLine
from espnet_mtasr.transcription.channels import MIX, Channel
from espnet_mtasr.transcription.mtasr import MTASR
from espnet_mtasr.transcription.recordings import Recording, read_recording
from espnet_mtasr.transcription.sources import Source
from espnet_mtasr.transcription.transcript import Transcript

# What was read, and what was found in it.
Transcribed = Tuple[Recording, Transcript]
# Batches whose recordings are read before they are sorted by length.
BATCHES_AHEAD = 8


def transcribe_many(
    model: MTASR,
    sources: Sequence[Source],
    failures: List[str],
    num_talkers: Optional[int] = None,
    batch_seconds: float = 60.0,
    keep_line: bool = False,
    channel: Channel = MIX,
) -> Iterator[Transcribed]:
    """Yield recordings and their transcripts in the order of `sources`.

    Args:
        model: Transcribes.
        sources: What is read.
        failures: Gets a line for each recording that failed, which goes to standard
            error at once.
        num_talkers: Of every recording; None: the model says.
        batch_seconds: As in `MTASR.transcribe`.
        keep_line: Leave the progress line, which a terminal gets, there while
            transcripts are yielded and at the end; for transcripts that go elsewhere.
        channel: As in `MTASR.transcribe`.
    """
    line = TerminalLine()

    def warn(problem: str) -> None:
        line.erase()
        say(problem)

    def fail(problem: str) -> None:
        failures.append(problem)
        warn(problem)

    done = 0
    line.draw("Transcribing", 0.0, f"0/{len(sources)}")
    ahead = BATCHES_AHEAD * batch_seconds
    recordings = _read_all(model, sources, channel, fail)
    for window in windows(recordings, model.rate, ahead):
        pairs: Iterable[Transcribed]
        try:
            counts = [num_talkers] * len(window)
            pairs = zip(window, model.transcribe_read(window, counts, batch_seconds))
        except (RuntimeError, MemoryError, UserError) as e:
            if not may_be_a_recordings(e):
                raise
            # One of them may be too long for the memory: the others are not lost.
            pairs = _one_by_one(model, window, num_talkers, fail)
        for recording, transcript in pairs:
            for problem in transcript.warnings:
                warn(f"warning: {problem}")
            if not keep_line:
                line.erase()
            yield recording, transcript
        done += len(window)
        share = (done + len(failures)) / len(sources)
        line.draw("Transcribing", min(share, 1.0), f"{done}/{len(sources)}")
    if keep_line:
        line.finish("Transcribing", 1.0, f"{len(sources)}/{len(sources)}")
    else:
        line.erase()


def may_be_a_recordings(error: Exception) -> bool:
    """Say if a recording may be the cause; all else is the model's fault, or ours.

    torch has no exception of its own for a CPU whose memory is full.
    """
    if not isinstance(error, RuntimeError):
        return isinstance(error, (MemoryError, UserError))
    return any(word in str(error).lower() for word in ("memory", "allocat"))


def _read_all(
    model: MTASR,
    sources: Sequence[Source],
    channel: Channel,
    fail: Callable[[str], None],
) -> Iterator[Recording]:
    for source in sources:
        try:
            recording = read_recording(source, model.rate, channel)
        except UserError as e:
            fail(str(e))
        else:
            yield recording


def windows(
    recordings: Iterable[Recording], rate: int, seconds: float
) -> Iterator[List[Recording]]:
    """Group recordings one after the other, to `seconds` or a little more each."""
    window: List[Recording] = []
    samples = 0
    for recording in recordings:
        window.append(recording)
        samples += recording.num_samples
        if samples >= seconds * rate:
            yield window
            window, samples = [], 0
    if window:
        yield window


def _one_by_one(
    model: MTASR,
    window: Sequence[Recording],
    num_talkers: Optional[int],
    fail: Callable[[str], None],
) -> Iterator[Transcribed]:
    for recording in window:
        try:
            (found,) = model.transcribe_read([recording], [num_talkers], 1.0)
        except (RuntimeError, MemoryError, UserError) as e:
            if not may_be_a_recordings(e):
                raise
            seconds = len(recording.channels[0]) / model.rate
            reason = (str(e).splitlines() or [type(e).__name__])[0]
            fail(f"{recording.name}: failed with its {seconds:.0f} s ({reason})")
        else:
            yield recording, found
