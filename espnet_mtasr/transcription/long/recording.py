"""Recordings that are too long for a model, processed window by window."""

from dataclasses import replace
from itertools import chain
from typing import (
    Callable,
    Dict,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import numpy as np

from espnet_mtasr.transcription.long.people import label_people
from espnet_mtasr.transcription.long.stitching import Heard, Stitcher, Words
from espnet_mtasr.transcription.long.windows import Place, Window, WindowCutter
from espnet_mtasr.transcription.recordings import Recording, Waves
from espnet_mtasr.transcription.settings import Settings
from espnet_mtasr.transcription.speech_detector import FRAME, SpeechDetector
from espnet_mtasr.transcription.transcript import (
    Origin,
    Part,
    Talker,
    Transcript,
    Voice,
)

# Seconds before a resumed place that the detector gets as context.
RUN_UP = 5.0
# Maps waveforms `(N,)` to their results.
Decode = Callable[[Sequence[np.ndarray]], List[Transcript]]
# Maps a waveform `(N,)` and each talker's words in it to their voices.
Listen = Callable[[np.ndarray, Sequence[Words]], List[Voice]]


class Channel:
    """A channel of a long recording.

    Args:
        settings: How it is cut.
        begin: Earliest beginning of its first window.
    """

    def __init__(self, settings: Settings, begin: Place = Place(0.0)):
        frame = max(int((begin.start - RUN_UP) / FRAME), 0)
        self.rate = settings.rate
        self.skipped = round(frame * FRAME * self.rate)
        self.detector = SpeechDetector(self.rate)
        self.cutter = WindowCutter(
            self.rate,
            settings.longest,
            settings.threshold,
            begin,
            frame,
            settings.overlap,
        )
        self.stitcher = Stitcher()

    def push(self, samples: np.ndarray) -> Iterator[Window]:
        """Take more samples `(n,)`; yield windows that are complete."""
        samples, self.skipped = (
            samples[self.skipped :],
            max(self.skipped - len(samples), 0),
        )
        yield from self.cutter.push(samples, self.detector(samples))

    def end(self) -> Iterator[Window]:
        """Yield the remaining windows."""
        yield from self.cutter.end(self.detector.end())


class LongRecording:
    """Transcribes a recording window by window.

    Args:
        waves: The recording.
        decode: The model.
        settings: How it is cut.
        origin: What the transcript is made with.
        heard: Results of an earlier run with their channels, to continue after.
        keep: Called with each window's channel and result.
        listen: Finds voices, if `settings.people` is set.
    """

    def __init__(
        self,
        waves: Waves,
        decode: Decode,
        settings: Settings,
        origin: Origin = Origin(),
        heard: Sequence[Tuple[int, Heard]] = (),
        keep: Callable[[int, Heard], None] = lambda channel, heard: None,
        listen: Listen = lambda samples, talkers: [],
    ):
        self.waves = waves
        self.decode = decode
        self.settings = settings
        self.origin = origin
        self.heard = heard
        self.keep = keep
        self.listen = listen
        self.seconds = 0.0
        self._channels: List[Channel] = []
        self._found: List[Part] = []

    def parts(self) -> Iterator[Part]:
        """Yield parts as soon as they are known, in order for each channel.

        Raises:
            UserError: see `open_recording`.
        """
        for part in self._parts():
            self._found.append(part)
            yield part

    def transcript(self) -> Transcript:
        """Return all parts so far, joined."""
        parts = self._found
        if self.settings.people is not None:
            parts = self._labelled(self.settings.people)
        said: Dict[Tuple[int, int], List[Talker]] = {}
        for part in parts:
            for number, talker in enumerate(part.talkers):
                said.setdefault((part.channel or 0, number), []).append(talker)
        talkers = tuple(
            _joined(of_talker, channel if len(self._channels) > 1 else None)
            for (channel, _), of_talker in sorted(said.items(), key=lambda e: e[0])
        )
        return Transcript(
            self.waves.name,
            round(self.seconds, 3),
            talkers,
            warnings=tuple(self.waves.warnings),
            origin=self.origin,
            parts=tuple(parts),
            labelled=self.settings.people is not None,
        )

    def _labelled(self, people: int) -> List[Part]:
        parts = list(self._found)
        for channel in {part.channel for part in parts}:
            places = [n for n, part in enumerate(parts) if part.channel == channel]
            labelled = label_people([parts[n] for n in places], people)
            for place, part in zip(places, labelled):
                parts[place] = part
        return parts

    def _parts(self) -> Iterator[Part]:
        waiting: List[Tuple[int, Window]] = []
        for block in self.waves.blocks:
            if not self._channels:
                yield from self._begin(block.shape[1])
            self.seconds += len(block) / self.settings.rate
            for number, channel in enumerate(self._channels):
                samples = np.ascontiguousarray(block[:, number])
                waiting += [(number, window) for window in channel.push(samples)]
            seconds = sum(len(w.samples) for _, w in waiting) / self.settings.rate
            if seconds >= self.settings.batch_seconds:
                yield from self._hear(waiting)
                waiting = []
        for number, channel in enumerate(self._channels):
            waiting += [(number, window) for window in channel.end()]
        yield from self._hear(waiting)
        for number, channel in enumerate(self._channels):
            yield from self._numbered(number, channel.stitcher.end())

    def _begin(self, channels: int) -> Iterator[Part]:
        """Set the state of all channels, possibly of a resumed recording."""
        before: List[List[Heard]] = [[] for _ in range(channels)]
        for number, heard in self.heard:
            before[number].append(heard)
        for number, of_channel in enumerate(before):
            begin = of_channel[-1].next if of_channel else Place(0.0)
            channel = Channel(self.settings, begin)
            self._channels.append(channel)
            for heard in of_channel:
                yield from self._numbered(number, channel.stitcher.add(heard))

    def _hear(self, windows: Sequence[Tuple[int, Window]]) -> Iterator[Part]:
        found = self.decode([window.samples for _, window in windows])
        for (number, window), transcript in zip(windows, found, strict=True):
            start = window.place.start
            talkers = tuple(t.later(start).words for t in transcript.talkers)
            voices = self.listen(window.samples, [t.words for t in transcript.talkers])
            heard = Heard(
                window.place,
                window.end,
                window.next,
                talkers,
                transcript.count_probabilities,
                tuple(voices),
                tuple(t.text for t in transcript.talkers if t.untimed is not None),
            )
            self.keep(number, heard)
            yield from self._numbered(
                number, self._channels[number].stitcher.add(heard)
            )

    def _numbered(self, number: int, parts: Sequence[Part]) -> Iterator[Part]:
        """Add the channel's number to parts, if there are several channels."""
        if len(self._channels) == 1:
            yield from parts
            return
        for part in parts:
            talkers = tuple(replace(t, channel=number) for t in part.talkers)
            yield replace(part, talkers=talkers, channel=number)


def _joined(talkers: Sequence[Talker], channel: Optional[int]) -> Talker:
    """What a talker said in all parts."""
    words = tuple(word for talker in talkers for word in talker.words)
    untimed = None
    if any(talker.untimed is not None for talker in talkers):
        untimed = " ".join(filter(None, (talker.text for talker in talkers)))
    return Talker(words, channel, untimed)


def read_head(waves: Waves, samples: int) -> Union[Recording, Waves]:
    """Read a whole recording; if it has more than `samples`, return it unread."""
    head: List[np.ndarray] = []
    length = 0
    for block in waves.blocks:
        head.append(block)
        length += len(block)
        if length > samples:
            return waves._replace(blocks=chain(head, waves.blocks))
    return waves._replace(blocks=iter(head)).read()
