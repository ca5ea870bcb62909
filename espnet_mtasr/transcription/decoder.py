"""What a model makes of recordings: the gate before it, batches, windows."""

from dataclasses import replace
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr import __version__
from espnet_mtasr.abs_inference import MixtureHypothesis
from espnet_mtasr.data.batching import batches_of_similar_length
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.scoring.posteriors import Posteriors
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.channels import Channel
from espnet_mtasr.transcription.long.recording import LongRecording
from espnet_mtasr.transcription.long.stitching import Heard
from espnet_mtasr.transcription.long.windows import loud_samples
from espnet_mtasr.transcription.recordings import Recording, Waves
from espnet_mtasr.transcription.settings import Settings
from espnet_mtasr.transcription.speech_detector import FRAME, SpeechDetector
from espnet_mtasr.transcription.transcript import Origin, Transcript, join_channels
from espnet_mtasr.transcription.writer import SHORTEST, Writer

Progress = Optional[Callable[[float, float], None]]


class Decoder:
    """Transcribes recordings that have been opened or read.

    Args:
        speech2text: The model, loaded with `align=True`.
        calibration: What its scores and frames mean.
        rate: Of samples, in Hz.
        name: What transcripts call the model.
        revision: Of the model.
    """

    def __init__(
        self,
        speech2text: Speech2Text,
        calibration: Calibration,
        rate: int,
        name: Optional[str] = None,
        revision: Optional[str] = None,
    ):
        self.speech2text = speech2text
        self.writer = Writer(speech2text.tokenizer.tokens2text, calibration)
        self.rate = rate
        self.name = name
        self.revision = revision
        self._detector: Optional[SpeechDetector] = None

    def transcribe(
        self,
        recordings: Sequence[Recording],
        num_talkers: Sequence[Optional[int]],
        how: Settings,
        progress: Progress = None,
    ) -> List[Transcript]:
        """Transcribe recordings, each as a whole.

        Args:
            recordings: That have been read.
            num_talkers: Of each; None predicts it.
            how: Settings.
            progress: See `MTASR.transcribe`.
        """
        # A recording's channels are decoded as if they were recordings.
        owners = [
            r for r, recording in enumerate(recordings) for _ in recording.channels
        ]
        waves = [wave for r in recordings for wave in r.channels]
        speech = [self._hears_speech(wave, how.threshold) for wave in waves]
        voiced = [place for place, there_is in enumerate(speech) if there_is]
        loud = {place: self._loud(waves[place], how.threshold) for place in voiced}
        decoded = self._decode(
            [waves[place][loud[place]] for place in voiced],
            [num_talkers[owners[place]] for place in voiced],
            how.batch_seconds,
            progress,
        )
        found = dict(zip(voiced, decoded))
        heard: List[List[Transcript]] = [[] for _ in recordings]
        for place, owner in enumerate(owners):
            heard[owner].append(
                self._transcript(
                    recordings[owner],
                    len(waves[place]),
                    loud.get(place, slice(0)),
                    found.get(place),
                    self._origin(num_talkers[owner], recordings[owner].channel, how),
                )
            )
        return [t[0] if len(t) == 1 else join_channels(t) for t in heard]

    def _hears_speech(self, wave: np.ndarray, threshold: float) -> bool:
        if threshold <= 0.0 or len(wave) < SHORTEST * self.rate:
            return True
        if self._detector is None:
            self._detector = SpeechDetector(self.rate)
        return self._detector.hears_speech(wave, threshold)

    def _loud(self, wave: np.ndarray, threshold: float) -> slice:
        """What the model is given: models take silence at the ends badly."""
        if threshold <= 0.0:
            return slice(0, len(wave))
        start, stop = loud_samples(wave, round(FRAME * self.rate))
        least = SHORTEST * self.rate
        return slice(
            start if start > least else 0,
            stop if len(wave) - stop > least else len(wave),
        )

    def _decode(
        self,
        waves: Sequence[np.ndarray],
        num_talkers: Sequence[Optional[int]],
        batch_seconds: float,
        progress: Progress = None,
    ) -> List[MixtureHypothesis]:
        lengths = [len(wave) / self.rate for wave in waves]
        found: Dict[int, MixtureHypothesis] = {}
        for places in batches_of_similar_length(lengths, batch_seconds):
            hypotheses = self.speech2text(
                [waves[place] for place in places],
                [num_talkers[place] for place in places],
            )
            found.update(zip(places, hypotheses))
            if progress is not None:
                progress(sum(lengths[place] for place in found), sum(lengths))
        return [found[place] for place in range(len(waves))]

    def transcribe_with_posteriors(
        self, recording: Recording, num_talkers: Optional[int] = None
    ) -> Tuple[Transcript, List[Posteriors]]:
        """Transcribe a recording of one channel, and return the CTC's posteriors.

        Args:
            recording: As it was read.
            num_talkers: Its talker count; None predicts it.

        Returns:
            Its transcript, and each talker's posteriors.

        Raises:
            UserError: the model doesn't know the talker count.
            ValueError: several channels.
        """
        (wave,) = recording.channels
        how = Settings(self.rate)
        # Posteriors cover the recording.
        whole = slice(0, len(wave))
        origin = self._origin(num_talkers, recording.channel, how)
        if not self._hears_speech(wave, how.threshold):
            return self._transcript(recording, len(wave), whole, None, origin), []
        self.speech2text.keep_posteriors = True
        try:
            (hypothesis,) = self.speech2text([wave], [num_talkers])
        finally:
            self.speech2text.keep_posteriors = False
        transcript = self._transcript(recording, len(wave), whole, hypothesis, origin)
        posteriors = [
            talker.posteriors
            for talker in hypothesis.talkers[: transcript.num_talkers]
            if talker.posteriors is not None
        ]
        return transcript, posteriors

    def long_recording(
        self,
        waves: Waves,
        num_talkers: Optional[int],
        how: Settings,
        heard: Sequence[Tuple[int, Heard]] = (),
        keep: Callable[[int, Heard], None] = lambda channel, heard: None,
    ) -> LongRecording:
        """Hear a recording in windows, as it comes.

        Args:
            waves: The recording.
            num_talkers: That a window may have at most; None: the model says.
            how: Settings.
            heard: See `LongRecording`.
            keep: See `LongRecording`.
        """
        self.speech2text.check_count(num_talkers)

        def decode(windows: Sequence[np.ndarray]) -> List[Transcript]:
            hypotheses = self._decode(windows, [None] * len(windows), how.batch_seconds)
            many = [
                place
                for place, hypothesis in enumerate(hypotheses)
                if num_talkers is not None and hypothesis.num_talkers > num_talkers
            ]
            again = self._decode(
                [windows[place] for place in many],
                [num_talkers] * len(many),
                how.batch_seconds,
            )
            for place, hypothesis in zip(many, again):
                hypotheses[place] = hypothesis
            return [
                self.writer.transcript(waves.name, len(window) / self.rate, hypothesis)
                for window, hypothesis in zip(windows, hypotheses)
            ]

        origin = self._origin(num_talkers, waves.channel, how)
        return LongRecording(waves, decode, how, origin, heard, keep)

    def _origin(
        self, num_talkers: Optional[int], channel: Channel, how: Settings
    ) -> Origin:
        settings = dict(
            device=self.speech2text.device,
            dtype=str(self.speech2text.dtype).removeprefix("torch."),
            beam_size=self.speech2text.beam_size,
            num_talkers=None if num_talkers is None else int(num_talkers),
            channel=channel,
            window_seconds=how.longest,
            vad_threshold=how.threshold,
        )
        return Origin(__version__, self.name, self.revision, settings)

    def _transcript(
        self,
        recording: Recording,
        samples: int,
        loud: slice,
        hypothesis: Optional[MixtureHypothesis],
        origin: Origin,
    ) -> Transcript:
        name, problems = recording.name, recording.warnings
        seconds = round(samples / self.rate, 3)
        if hypothesis is None:
            return Transcript(name, seconds, (), None, problems, origin)
        heard = (loud.stop - loud.start) / self.rate
        transcript = self.writer.transcript(name, heard, hypothesis, problems)
        before = loud.start / self.rate
        talkers = tuple(talker.later(before) for talker in transcript.talkers)
        return replace(transcript, seconds=seconds, talkers=talkers, origin=origin)
