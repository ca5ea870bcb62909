"""Windows of a long recording: cut at pauses, or overlapping at the quietest place."""

import math
from dataclasses import dataclass
from typing import Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from espnet_mtasr.transcription.settings import THRESHOLD
from espnet_mtasr.transcription.speech_detector import FRAME, SHORTEST_SPEECH

# Frames next to speech also count as speech, down to this share of the threshold.
LOWER = 0.2
# Seconds without speech that end a window; and fewer that suffice if it must end.
PAUSE, SHORT_PAUSE = 0.6, 0.15
# Seconds of margin before and after speech in its window, unless they are silent: a
# frame with less than this share of the loudest frame's power is silent.
MARGIN = 0.4
SILENT = 1e-5
# Overlap of windows in seconds if speech goes on, and its maximum share of a window.
OVERLAP, LARGEST_OVERLAP = 2.0, 0.25
# Frames that are read after a window without a pause.
LOOK_AHEAD = 31
# Frames over which probabilities are averaged to find the quietest place.
SMOOTHING = 7


class Place(NamedTuple):
    """Where a window begins.

    Attributes:
        start: Seconds from the recording's beginning.
        seam: Seconds at which this window takes over from the previous one, within the
            part that they share. None: they share none.
    """

    start: float
    seam: Optional[float] = None


@dataclass(frozen=True)
class Window:
    """A part of a recording to be transcribed by itself.

    Attributes:
        place: Where it begins.
        end: Seconds from the recording's beginning.
        samples: `(n,)`.
        next: Earliest beginning of the next window.
    """

    place: Place
    end: float
    samples: np.ndarray
    next: Place


class WindowCutter:
    """Cuts one channel of a recording, block by block, into windows with speech.

    Args:
        rate: Hz.
        longest: Maximum seconds of a window.
        threshold: A frame is speech from this probability on.
        begin: Earliest beginning of the first window.
        first: The frame at which the samples begin.
        overlap: Whether windows overlap if there is no pause; otherwise they are cut at
            the quietest place.
    """

    def __init__(
        self,
        rate: int,
        longest: float,
        threshold: float = THRESHOLD,
        begin: Place = Place(0.0),
        first: int = 0,
        overlap: bool = True,
    ):
        self.rate = rate
        self.longest = round(longest / FRAME)
        self.threshold = threshold
        # Frames before and after a seam that both windows have.
        self.shared = round(min(OVERLAP, LARGEST_OVERLAP * longest) / FRAME / 2)
        self.overlap = overlap
        self.begin = begin
        self.first = first
        # From the frame `first` on.
        self.samples = np.zeros(0, np.float32)
        self.probabilities = np.zeros(0, np.float32)

    def push(self, samples: np.ndarray, probabilities: np.ndarray) -> Iterator[Window]:
        """Take more of the recording; yield windows that are complete.

        Args:
            samples: `(n,)`.
            probabilities: Of the frames that they complete, from `SpeechDetector`.
        """
        self.samples = np.concatenate([self.samples, samples])
        self.probabilities = np.concatenate([self.probabilities, probabilities])
        yield from self._windows(last=False)

    def end(self, probabilities: np.ndarray) -> Iterator[Window]:
        """Yield what is left, given the last frames."""
        self.probabilities = np.concatenate([self.probabilities, probabilities])
        yield from self._windows(last=True)

    def _windows(self, last: bool) -> Iterator[Window]:
        while (window := self._next(last)) is not None:
            yield window
            self._forget()
        self._forget()

    def _next(self, last: bool) -> Optional[Window]:
        """Return the next window; None if there is none or it isn't complete yet."""
        while True:
            if self.begin.seam is None and not self._skip_silence():
                return None
            begin = self._begin()
            # No window depends on more than this.
            some = self.probabilities[begin : begin + self.longest + LOOK_AHEAD]
            last_here = last and begin + len(some) == len(self.probabilities)
            speech = speech_frames(some, self.threshold)
            if self.begin.seam is not None:
                # A pause between words that both windows have ends nothing.
                both = speech[: 2 * self.shared]
                both[: int(np.flatnonzero([True, *both])[-1])] = True
            certain = len(some) if last_here else self._low(some)
            enough = self.longest + _frames(PAUSE)
            pause = first_pause(speech[: min(certain, enough)], _frames(PAUSE))
            if pause is None and last_here and len(some) <= self.longest:
                pause = int(np.flatnonzero([True, *speech])[-1])
            if pause is None or self.begin.seam is None or pause > 2 * self.shared:
                break
            # The previous window already has all of it.
            self.begin = Place(self._seconds(begin + pause))
        if pause is not None:
            end = min(pause + _frames(MARGIN), len(some), self.longest)
            return self._cut(begin, end, Place(self._seconds(begin + end)))
        if last_here or len(some) == self.longest + LOOK_AHEAD:
            return self._cut(begin, *self._forced(begin, speech[: self.longest]))
        return None

    def _skip_silence(self) -> bool:
        """Begin where speech begins; return whether there is any yet."""
        begin = self._begin()
        some = self.probabilities[begin:]
        voiced = np.flatnonzero(speech_frames(some, self.threshold))
        silent = int(voiced[0]) if len(voiced) else self._low(some)
        self.begin = Place(self._seconds(begin + max(silent - _frames(MARGIN), 0)))
        return len(voiced) > 0

    def _begin(self) -> int:
        return max(round(self.begin.start / FRAME) - self.first, 0)

    def _low(self, probabilities: np.ndarray) -> int:
        """Return the frames up to the last that can't be speech, whatever follows."""
        low = probabilities < LOWER * self.threshold
        return int(np.flatnonzero([True, *low])[-1])

    def _forced(self, begin: int, speech: np.ndarray) -> Tuple[int, Place]:
        """Return where a window without a pause ends, and where the next begins."""
        half = self.longest // 2
        cut = longest_pause(speech[half:], _frames(SHORT_PAUSE))
        if cut is not None:
            return half + cut, Place(self._seconds(begin + half + cut))
        some = self.probabilities[begin + half : begin + self.longest - self.shared]
        cut = half + quietest(some)
        if not self.overlap:
            return cut, Place(self._seconds(begin + cut))
        seam = self._seconds(begin + cut)
        return cut + self.shared, Place(self._seconds(begin + cut - self.shared), seam)

    def _cut(self, begin: int, end: int, following: Place) -> Window:
        place, self.begin = self.begin, following
        samples = self.samples[self._sample(begin) : self._sample(begin + end)]
        start, stop = loud_samples(samples, round(FRAME * self.rate))
        if place.seam is None:
            place = Place(place.start + start / self.rate)
        else:
            start = 0
        stop = len(samples) if following.seam is not None else stop
        samples = samples[start:stop]
        return Window(place, place.start + len(samples) / self.rate, samples, following)

    def _forget(self) -> None:
        """Drop samples that no window needs anymore."""
        passed = round(self.begin.start / FRAME) - self.first
        passed = min(passed, len(self.probabilities))
        if passed > 0:
            self.samples = self.samples[self._sample(passed) :]
            self.probabilities = self.probabilities[passed:]
            self.first += passed

    def _seconds(self, frame: int) -> float:
        return (self.first + frame) * FRAME

    def _sample(self, frame: int) -> int:
        """Return a kept frame's first sample, counted from the first kept sample."""
        places = (
            round(f * FRAME * self.rate) for f in (self.first, self.first + frame)
        )
        first, place = places
        return place - first


def _frames(seconds: float) -> int:
    return round(seconds / FRAME)


def speech_frames(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Return whether each frame is speech.

    Speech needs enough frames in a row with at least `threshold`. It extends before and
    after them while frames have at least `LOWER` of it.

    >>> speech_frames(np.array([0.3, 0.6, 0.6, 0.6, 0.7, 0.0, 0.9, 0.0]), 0.5).tolist()
    [True, True, True, True, True, False, False, False]
    """
    found = np.zeros(len(probabilities), bool)
    enough = math.ceil(SHORTEST_SPEECH / FRAME)
    for start, end in runs_of(probabilities >= LOWER * threshold):
        sure = runs_of(probabilities[start:end] >= threshold)
        # A run at the end may go on.
        longest = enough if sure and end == len(found) else 0
        longest = max([longest, *(stop - begin for begin, stop in sure)])
        found[start:end] = longest >= enough
    return found


def runs_of(frames: np.ndarray) -> List[Tuple[int, int]]:
    """Return the begin and end of each run of true frames.

    >>> runs_of(np.array([1, 0, 1, 1], bool))
    [(0, 1), (2, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], frames, [0]]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


def loud_samples(samples: np.ndarray, frame: int) -> Tuple[int, int]:
    """Return the begin and end of the samples that aren't silent at the ends.

    A frame is silent relative to the loudest one.

    >>> loud_samples(np.array([0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0]), 2)
    (4, 8)
    """
    padded = np.pad(samples, (0, -len(samples) % frame))
    energies = (padded.reshape(-1, frame).astype(np.float64) ** 2).sum(1)
    loud = np.flatnonzero(energies >= energies.max(initial=0.0) * SILENT)
    if len(loud) == 0:
        return 0, len(samples)
    return int(loud[0]) * frame, min(int(loud[-1] + 1) * frame, len(samples))


def first_pause(speech: np.ndarray, shortest: int) -> Optional[int]:
    """Return the first frame of a pause of at least `shortest` frames; None: no pause.

    >>> first_pause(np.array([1, 0, 1, 0, 0], bool), 2)
    3
    """
    runs = runs_of(~speech)
    return next((start for start, end in runs if end - start >= shortest), None)


def longest_pause(speech: np.ndarray, shortest: int) -> Optional[int]:
    """Return the middle of the longest pause of at least `shortest` frames."""
    runs = [(end - start, (start + end) // 2) for start, end in runs_of(~speech)]
    length, middle = max(runs, default=(0, 0))
    return middle if length >= shortest else None


def quietest(probabilities: np.ndarray) -> int:
    """Return the frame around which speech is least probable."""
    width = min(SMOOTHING, len(probabilities))
    smooth = np.convolve(probabilities, np.ones(width) / width, "valid")
    return int(smooth.argmin()) + width // 2
