"""Turn a model's output into words, seconds and confidences."""

from typing import Callable, NamedTuple, Sequence, Tuple

from espnet_mtasr.abs_inference import MixtureHypothesis, TalkerHypothesis
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.transcript import Talker, Transcript, Word
from espnet_mtasr.transcription.words import word_times, words_of

# Shorter recordings, in seconds, can't be transcribed.
SHORTEST = 0.1


class Writer(NamedTuple):
    """Turns hypotheses into transcripts.

    Attributes:
        tokens2text: A model's tokens as text.
        calibration: Calibration of its scores and times.
    """

    tokens2text: Callable[[Sequence[str]], str]
    calibration: Calibration

    def transcript(
        self,
        name: str,
        seconds: float,
        hypothesis: MixtureHypothesis,
        problems: Tuple[str, ...] = (),
    ) -> Transcript:
        """Return the transcript of a hypothesis.

        A recording that is too short for any word has no talkers.

        Args:
            name: Of the recording.
            seconds: Its length.
            hypothesis: With spans, or its words get no times.
            problems: Warnings so far.
        """
        if seconds < SHORTEST or hypothesis.num_frames == 0:
            short = f"{name}: {seconds:.3f} s is too short to contain a word"
            return Transcript(name, round(seconds, 3), (), None, (*problems, short))
        talkers = tuple(
            self._talker(talker, seconds, hypothesis.num_frames or 0)
            for talker in hypothesis.talkers
        )
        probabilities = hypothesis.count_log_probs
        if probabilities is not None:
            probabilities = self.calibration.count_probabilities(probabilities)
        return Transcript(name, round(seconds, 3), talkers, probabilities, problems)

    def _talker(
        self, talker: TalkerHypothesis, seconds: float, num_frames: int
    ) -> Talker:
        if talker.spans is None:
            return Talker((), untimed=talker.text)
        spans = words_of(talker.tokens, talker.spans, self.tokens2text)
        # The frames cover the recording; convolutions lose less than a frame at the
        # end.
        frame_seconds = seconds / max(num_frames, 1)
        times = word_times(spans, frame_seconds, seconds, self.calibration)
        return Talker(
            tuple(
                Word(span.text, *time, self.calibration.confidence(span.probability))
                for span, time in zip(spans, times)
            )
        )
