"""Run a model on recordings: voice activity detection, batches, windows."""

from dataclasses import replace
from functools import cached_property
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr import __version__
from espnet_mtasr.abs_inference import AbsSpeech2Text, MixtureHypothesis
from espnet_mtasr.data.batching import batches_of_similar_length
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.model_zoo.voice_encoder import get_voice_encoder
from espnet_mtasr.scoring.posteriors import Posteriors
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.calibration.rules import LOWER, evidence_of
from espnet_mtasr.transcription.channels import Channel
from espnet_mtasr.transcription.long.recording import LongRecording
from espnet_mtasr.transcription.long.stitching import Heard, Words
from espnet_mtasr.transcription.long.voices import VoiceEncoder, embed_talkers
from espnet_mtasr.transcription.long.windows import loud_samples
from espnet_mtasr.transcription.recordings import Recording, Waves
from espnet_mtasr.transcription.settings import THRESHOLD, Settings
from espnet_mtasr.transcription.speech_detector import FRAME, SpeechDetector
from espnet_mtasr.transcription.transcript import (
    Origin,
    Transcript,
    Voice,
    join_channels,
)
from espnet_mtasr.transcription.writer import SHORTEST, Writer

Progress = Optional[Callable[[float, float], None]]


class Decoder:
    """Transcribes recordings that have been opened or read.

    Args:
        speech2text: The model, loaded with `align=True`; or its teacher.
        calibration: Calibration of its scores and times.
        rate: Of samples, in Hz.
        name: The model's name in transcripts.
        revision: Of the model.
    """

    def __init__(
        self,
        speech2text: AbsSpeech2Text,
        calibration: Calibration,
        rate: int,
        name: Optional[str] = None,
        revision: Optional[str] = None,
    ):
        self.speech2text = speech2text
        self.calibration = calibration
        tokens2text, self.rule = " ".join, None
        if isinstance(speech2text, Speech2Text):
            tokens2text = speech2text.tokenizer.tokens2text
            # It reads the CTC's scores, which a teacher doesn't have.
            self.rule = calibration.speech
        self.writer = Writer(tokens2text, calibration)
        self.rate = rate
        self.name = name
        self.revision = revision

    def transcribe(
        self,
        recordings: Sequence[Recording],
        num_talkers: Sequence[Optional[int]],
        how: Settings,
        progress: Progress = None,
    ) -> List[Transcript]:
        """Transcribe recordings, each as a whole.

        Args:
            recordings: Already read.
            num_talkers: Of each; None: predicted.
            how: Settings.
            progress: See `MTASR.transcribe`.
        """
        # Each channel is decoded like a recording.
        owners = [
            r for r, recording in enumerate(recordings) for _ in recording.channels
        ]
        waves = [wave for r in recordings for wave in r.channels]
        speech = [self._hears_speech(wave, how.threshold) for wave in waves]
        voiced = [place for place, there_is in enumerate(speech) if there_is]
        loud = {place: self.loud(waves[place], how.threshold) for place in voiced}
        decoded = self._decode(
            [waves[place][loud[place]] for place in voiced],
            [num_talkers[owners[place]] for place in voiced],
            self._limit(how),
            how.batch_seconds,
            progress,
        )
        found = dict(zip(voiced, decoded))
        heard: List[List[Transcript]] = [[] for _ in recordings]
        for place, owner in enumerate(owners):
            heard[owner].append(
                self._transcript(
                    recordings[owner],
                    waves[place],
                    loud.get(place, slice(0)),
                    found.get(place),
                    self._origin(num_talkers[owner], recordings[owner].channel, how),
                    how.threshold,
                )
            )
        return [t[0] if len(t) == 1 else join_channels(t) for t in heard]

    def _hears_speech(self, wave: np.ndarray, threshold: float) -> bool:
        if threshold <= 0.0 or len(wave) < SHORTEST * self.rate:
            return True
        if self.rule is not None:
            # The rule decides on more.
            threshold *= LOWER
        return self.detector.hears_speech(wave, threshold)

    @cached_property
    def detector(self) -> SpeechDetector:
        """Of recordings that are transcribed as a whole."""
        return SpeechDetector(self.rate)

    def _judged(
        self,
        transcript: Transcript,
        wave: np.ndarray,
        hypothesis: MixtureHypothesis,
        threshold: float,
    ) -> Transcript:
        """Remove the talkers if the calibration's rule finds no speech.

        With the rule, 0 is one of the talker counts that have a probability.
        """
        rule = self.rule
        if rule is None or threshold <= 0.0 or not transcript.talkers:
            return transcript
        evidence = evidence_of(self.detector.of_recording(wave), hypothesis)
        speech = rule.probability(evidence)
        talkers = transcript.talkers if speech >= rule.threshold else ()
        counts = transcript.count_probabilities
        if counts is not None:
            some = {count: round(p * speech, 4) for count, p in counts.items()}
            counts = {0: round(1 - speech, 4), **some}
        return replace(transcript, talkers=talkers, count_probabilities=counts)

    def loud(self, wave: np.ndarray, threshold: float) -> slice:
        """Return the samples to decode. Silence at the ends costs models accuracy."""
        if threshold <= 0.0:
            return slice(0, len(wave))
        start, stop = loud_samples(wave, round(FRAME * self.rate))
        least = SHORTEST * self.rate
        return slice(
            start if start > least else 0,
            stop if len(wave) - stop > least else len(wave),
        )

    @cached_property
    def voice_encoder(self) -> VoiceEncoder:
        """What `num_people` needs; downloaded on first use."""
        return VoiceEncoder(get_voice_encoder("--num_people"))

    def _limit(self, how: Settings) -> Optional[int]:
        """Maximum talkers at a time; None: as many as the model knows."""
        known = self.speech2text.model.talker_counts
        if how.people is None or how.people > max(known):
            return None
        self.speech2text.check_count(how.people)
        return how.people

    def _decode(
        self,
        waves: Sequence[np.ndarray],
        num_talkers: Sequence[Optional[int]],
        limit: Optional[int],
        batch_seconds: float,
        progress: Progress = None,
    ) -> List[MixtureHypothesis]:
        """Decode with given counts; where None, with the predicted, at most `limit`."""
        found = self._decode_once(waves, num_talkers, batch_seconds, progress)
        many = [
            place
            for place, hypothesis in enumerate(found)
            if num_talkers[place] is None
            and limit is not None
            and hypothesis.num_talkers > limit
        ]
        some = [waves[place] for place in many]
        again = self._decode_once(some, [limit] * len(many), batch_seconds)
        for place, hypothesis in zip(many, again):
            found[place] = hypothesis
        return found

    def _decode_once(
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
        """Transcribe a recording of one channel, and return the CTC posteriors.

        Args:
            recording: Already read.
            num_talkers: Its talker count; None: predicted.

        Returns:
            Its transcript, and each talker's posteriors.

        Raises:
            UserError: the model doesn't know the talker count.
            ValueError: the recording has several channels, or the teacher decodes.
        """
        if not isinstance(self.speech2text, Speech2Text):
            raise ValueError("a teacher has no CTC posteriors")
        (wave,) = recording.channels
        how = Settings(self.rate)
        origin = self._origin(num_talkers, recording.channel, how)
        if not self._hears_speech(wave, how.threshold):
            return self._transcript(recording, wave, slice(0), None, origin), []
        loud = self.loud(wave, how.threshold)
        self.speech2text.keep_posteriors = True
        try:
            (hypothesis,) = self.speech2text([wave[loud]], [num_talkers])
        finally:
            self.speech2text.keep_posteriors = False
        transcript = self._transcript(recording, wave, loud, hypothesis, origin)
        ends = (loud.start, loud.stop - loud.start, len(wave) - loud.stop)
        seconds = [length / self.rate for length in ends]
        posteriors = [
            talker.posteriors.padded(*seconds)
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
        """Prepare to transcribe a recording window by window, as it is read.

        Args:
            waves: The recording.
            num_talkers: Maximum talkers in a window; None: predicted. A model without a
                talker-count head takes it as their number, and the teacher picks the
                branch by it.
            how: Settings.
            heard: See `LongRecording`.
            keep: See `LongRecording`.
        """
        self.speech2text.check_count(num_talkers)
        limit = self._limit(how) if num_talkers is None else num_talkers
        predicts = isinstance(self.speech2text, Speech2Text) and (
            self.speech2text.model.count_head is not None
        )

        def decode(windows: Sequence[np.ndarray]) -> List[Transcript]:
            counts = [None if predicts else num_talkers] * len(windows)
            hypotheses = self._decode(windows, counts, limit, how.batch_seconds)
            return [
                self._judged(
                    self.writer.transcript(waves.name, len(w) / self.rate, hypothesis),
                    w,
                    hypothesis,
                    how.threshold,
                )
                for w, hypothesis in zip(windows, hypotheses)
            ]

        origin = self._origin(num_talkers, waves.channel, how)
        if how.people is None:
            return LongRecording(waves, decode, how, origin, heard, keep)
        encoder = self.voice_encoder

        def listen(samples: np.ndarray, talkers: Sequence[Words]) -> List[Voice]:
            return embed_talkers(encoder, samples, talkers, self.rate)

        return LongRecording(waves, decode, how, origin, heard, keep, listen)

    def _origin(
        self, num_talkers: Optional[int], channel: Channel, how: Settings
    ) -> Origin:
        settings = dict(
            decoder=self.speech2text.decoder,
            device=self.speech2text.device,
            dtype=str(self.speech2text.dtype).removeprefix("torch."),
            beam_size=self.speech2text.beam_size,
            ngram=self.speech2text.has_ngram,
            num_talkers=None if num_talkers is None else int(num_talkers),
            channel=channel,
            num_people=how.people,
            window_seconds=how.longest,
            vad_threshold=how.threshold,
        )
        return Origin(__version__, self.name, self.revision, settings)

    def _transcript(
        self,
        recording: Recording,
        wave: np.ndarray,
        loud: slice,
        hypothesis: Optional[MixtureHypothesis],
        origin: Origin,
        threshold: float = THRESHOLD,
    ) -> Transcript:
        name, problems = recording.name, recording.warnings
        seconds = round(len(wave) / self.rate, 3)
        if hypothesis is None:
            return Transcript(name, seconds, (), None, problems, origin)
        heard = (loud.stop - loud.start) / self.rate
        transcript = self.writer.transcript(name, heard, hypothesis, problems)
        transcript = self._judged(transcript, wave, hypothesis, threshold)
        before = loud.start / self.rate
        talkers = tuple(talker.later(before) for talker in transcript.talkers)
        return replace(transcript, seconds=seconds, talkers=talkers, origin=origin)
