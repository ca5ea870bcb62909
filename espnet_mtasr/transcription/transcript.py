"""Transcripts: talkers, words, times, confidences."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, Tuple, Union

if TYPE_CHECKING:
    from espnet_mtasr.transcription.inputs import Audio


@dataclass(frozen=True)
class Word:
    """A word of a talker.

    Attributes:
        text: The word.
        start: Seconds from the recording's beginning.
        end: Seconds, not before `start`.
        confidence: Probability in [0, 1] that the word is right.
    """

    text: str
    start: float
    end: float
    confidence: float

    def later(self, seconds: float) -> "Word":
        """Return the word in a recording with this many more seconds at its start."""
        start, end = round(self.start + seconds, 3), round(self.end + seconds, 3)
        return Word(self.text, start, end, self.confidence)


@dataclass(frozen=True)
class Talker:
    """What one talker said; a talker without text was not understood.

    Attributes:
        words: In their order; () if the decoder gives no times.
        channel: Channel of the recording if each was transcribed separately; else None.
        untimed: The text, if the decoder gives no times; else None.
    """

    words: Tuple[Word, ...]
    channel: Optional[int] = None
    untimed: Optional[str] = None

    @property
    def text(self) -> str:
        """The words, separated by spaces."""
        if self.untimed is not None:
            return self.untimed
        return " ".join(word.text for word in self.words)

    def later(self, seconds: float) -> "Talker":
        """Return the talker in a recording with this many more seconds at its start."""
        words = tuple(word.later(seconds) for word in self.words)
        return replace(self, words=words)

    def as_dict(self) -> Dict[str, Any]:
        """The same as dicts, lists and numbers."""
        words = None
        if self.untimed is None:
            words = [
                vars(word) | {"confidence": round(word.confidence, 3)}
                for word in self.words
            ]
        return dict(text=self.text, channel=self.channel, words=words)


@dataclass(frozen=True)
class Voice:
    """What tells a talker of a part from others.

    Attributes:
        embedding: Of length 1; None: too little is said.
        weight: How much it counts: seconds in which nobody else talks, within limits.
        linked: Whether words at the seam show that the talker of this number in the
            previous part is the same person.
    """

    embedding: Optional[Tuple[float, ...]] = None
    weight: float = 1.0
    linked: bool = False


@dataclass(frozen=True)
class Part:
    """What was said in a part of a long recording.

    Attributes:
        start: Seconds from the recording's beginning.
        end: Seconds.
        talkers: What each said, in times of the recording. The first is talker 1 of the
            transcript; one who says nothing here may say something in another part.
        count_probabilities: As in `Transcript`, of this part.
        continues: Whether speech goes on from the previous part, so that talkers keep
            their numbers.
        channel: Of the recording, where each was transcribed by itself; else None.
        voices: Of the talkers, until their numbers mean one person in the recording.
    """

    start: float
    end: float
    talkers: Tuple[Talker, ...]
    count_probabilities: Optional[Mapping[int, float]] = None
    continues: bool = False
    channel: Optional[int] = None
    voices: Tuple[Voice, ...] = ()

    def as_dict(self) -> Dict[str, Any]:
        """The same as dicts, lists and numbers: see doc/transcript.schema.json."""
        entries = {key: value for key, value in vars(self).items() if key != "voices"}
        return entries | dict(
            start=round(self.start, 3),
            end=round(self.end, 3),
            talkers=[
                dict(talker=number, **talker.as_dict())
                for number, talker in enumerate(self.talkers, 1)
                if talker.text
            ],
        )


@dataclass(frozen=True)
class Origin:
    """What a transcript was made with.

    Attributes:
        version: Of this package.
        model: The model's name as given.
        revision: The model's commit on the hub, or the SHA-256 of its zip; None: a
            folder's.
        settings: Options that may change the words, by name.
    """

    version: Optional[str] = None
    model: Optional[str] = None
    revision: Optional[str] = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Transcript:
    """What all talkers of a recording said.

    Attributes:
        recording: Its name.
        seconds: Its length.
        talkers: In onset order.
        count_probabilities: Probability of each talker count that the model knows, and
            of 0 if its calibration has a rule for speech; None if it can't tell.
        warnings: Problems of the recording.
        origin: What it was made with.
        parts: Of a recording that was too long to be processed as a whole.
        labelled: Whether voices tell who is who across the parts (`num_people`).
    """

    recording: str
    seconds: float
    talkers: Tuple[Talker, ...]
    count_probabilities: Optional[Mapping[int, float]] = None
    warnings: Tuple[str, ...] = ()
    origin: Origin = Origin()
    parts: Tuple[Part, ...] = ()
    labelled: bool = False

    @property
    def labels(self) -> str:
        """Where a talker's number means one person: in the whole `recording`, or only
        from one pause to the next, within a `part` and those that continue it.
        """
        joined = sum(not part.continues for part in self.parts) <= 1
        return "recording" if self.labelled or joined else "part"

    @property
    def timed(self) -> bool:
        """Whether words have times and confidences: a teacher gives none."""
        return all(talker.untimed is None for talker in self.talkers)

    def as_part(self) -> Part:
        """The recording as one part, if it has no parts."""
        return Part(0.0, self.seconds, self.talkers, self.count_probabilities)

    @property
    def num_talkers(self) -> int:
        """Number of talkers in the transcript."""
        return len(self.talkers)

    @property
    def num_talkers_probability(self) -> Optional[float]:
        """Probability that there are `num_talkers`; None if the model can't tell."""
        if self.count_probabilities is None:
            return None
        return self.count_probabilities.get(self.num_talkers)

    def as_dict(self) -> Dict[str, Any]:
        """The same as dicts, lists and numbers: see doc/transcript.schema.json."""
        return dict(
            recording=self.recording,
            seconds=self.seconds,
            num_talkers=self.num_talkers,
            num_talkers_probability=self.num_talkers_probability,
            talkers=[talker.as_dict() for talker in self.talkers],
            labels=self.labels,
            warnings=list(self.warnings),
            **vars(self.origin),
        )

    def render(self, format: str) -> str:
        """Return the text that `espnet-mtasr transcribe --format` would write.

        Raises:
            UserError: there is no such format.
        """
        from espnet_mtasr.transcription.formats import render

        return render([self], format)

    def to_txt(self) -> str:
        """For people: a line per talker."""
        return self.render("txt")

    def to_json(self) -> str:
        """For programs: `as_dict` on one line."""
        return self.render("json")

    def to_jsonl(self) -> str:
        """For programs: a line per part of a long recording."""
        return self.render("jsonl")

    def to_seglst(self) -> str:
        """SegLST, for meeteval."""
        return self.render("seglst")

    def to_stm(self) -> str:
        """STM, for scoring tools: a line per segment."""
        return self.render("stm")

    def to_rttm(self) -> str:
        """RTTM, for diarization's tools: who talks when."""
        return self.render("rttm")

    def to_ctm(self) -> str:
        """CTM, for scoring tools: a line per word."""
        return self.render("ctm")

    def to_srt(self) -> str:
        """SubRip subtitles."""
        return self.render("srt")

    def to_vtt(self) -> str:
        """WebVTT subtitles."""
        return self.render("vtt")

    def to_textgrid(self) -> str:
        """Praat's TextGrid."""
        return self.render("textgrid")

    def plot(
        self,
        path: Union[str, Path],
        audio: "Optional[Audio]" = None,
        fs: Optional[float] = None,
    ) -> None:
        """Draw the words over time, as `espnet-mtasr transcribe --plot` does.

        Args:
            path: Ends in .png, .svg or .pdf.
            audio: The recording, in any form that `MTASR.transcribe` takes; None: no
                waveform is drawn.
            fs: Rate in Hz of samples without one; None: 16000.

        Raises:
            UserError: another suffix; or `audio` can't be read, or has another length
                than the transcribed recording.
        """
        from espnet_mtasr.transcription.plot import plot_transcript

        plot_transcript(self, path, audio, fs)


def join_channels(transcripts: Sequence[Transcript]) -> Transcript:
    """Join the transcripts of a recording's channels.

    Talkers are in the order in which they begin, whatever their channel; those without
    words come last. If words have no times, talkers are in the order of channels. The
    count's probabilities are those of a sum of independent counts, to which channels
    without speech add nothing.
    """
    first = transcripts[0]
    talkers = [
        replace(talker, channel=channel)
        for channel, transcript in enumerate(transcripts)
        for talker in transcript.talkers
    ]
    talkers.sort(key=lambda t: t.words[0].start if t.words else first.seconds)
    total = {0: 1.0}
    counted = [t for t in transcripts if t.talkers or t.count_probabilities]
    if not counted or any(t.count_probabilities is None for t in counted):
        return replace(first, talkers=tuple(talkers), count_probabilities=None)
    for transcript in counted:
        before, total = total, {}
        for count, p in before.items():
            for more, q in (transcript.count_probabilities or {}).items():
                total[count + more] = total.get(count + more, 0.0) + p * q
    rounded = {count: round(p, 4) for count, p in total.items()}
    return replace(first, talkers=tuple(talkers), count_probabilities=rounded)
