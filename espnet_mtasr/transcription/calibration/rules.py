"""Rules that judge a recording by silero-vad's and the model's scores together.

silero-vad lets some music-like sounds through, and a model that was only trained on
speech then writes words; and it doesn't hear some quiet speech that the model
understands. A rule is a logistic regression over the scores of both (fitted by
rule_fitting.py, stored with the calibration).
"""

import math
from dataclasses import dataclass
from typing import Dict, NamedTuple

import numpy as np

from espnet_mtasr.abs_inference import MixtureHypothesis
from espnet_mtasr.transcription.calibration.log_odds import log_odds, logistic
from espnet_mtasr.transcription.speech_detector import FRAME, SHORTEST_SPEECH

# Probability of a token at most this sure: without any, the model is unsure as well.
FLOOR = 1e-3
# A rule judges what silero-vad hears as speech by this share of the threshold.
LOWER = 0.2


class Evidence(NamedTuple):
    """What a rule sees of a recording.

    Attributes:
        vad_peak: Log odds of the highest threshold at which silero-vad hears speech.
        vad_mean: Mean log odds of its probabilities, over all frames.
        token: Mean log probability of the CTC's tokens, in nats.
        filled: Share of the CTC's frames, of all streams, that are not blank.
        count_odds: Log odds of the most probable talker count; 0 without a count head.
    """

    vad_peak: float
    vad_mean: float
    token: float
    filled: float
    count_odds: float


def evidence_of(probabilities: np.ndarray, hypothesis: MixtureHypothesis) -> Evidence:
    """Collect the evidence.

    Args:
        probabilities: `(frames,)` of speech, by silero-vad, of the whole recording.
        hypothesis: Of the model, with spans.
    """
    shortest = math.ceil(SHORTEST_SPEECH / FRAME)
    runs = range(len(probabilities) - shortest + 1)
    peak = max((probabilities[at : at + shortest].min() for at in runs), default=0.0)
    odds = [log_odds(float(p)) for p in probabilities]
    spans = [span for talker in hypothesis.talkers for span in talker.spans or []]
    logs = [math.log(max(span.probability, FLOOR)) for span in spans]
    frames = (hypothesis.num_frames or 0) * len(hypothesis.talkers)
    counts = hypothesis.count_log_probs
    return Evidence(
        log_odds(float(peak)),
        sum(odds) / max(len(odds), 1),
        sum(logs) / len(logs) if logs else math.log(FLOOR),
        sum(span.end - span.start for span in spans) / max(frames, 1),
        0.0 if counts is None else log_odds(math.exp(max(counts.values()))),
    )


@dataclass(frozen=True)
class Rule:
    """A logistic regression over `Evidence`.

    Attributes:
        weights: By name of the evidence.
        intercept: Added to the weighed evidence.
        threshold: What has at least this probability is judged positive.
    """

    weights: Dict[str, float]
    intercept: float
    threshold: float

    def probability(self, evidence: Evidence) -> float:
        """Probability that the judgement is positive."""
        seen = evidence._asdict()
        weighed = [weight * seen[name] for name, weight in self.weights.items()]
        return logistic(sum(weighed) + self.intercept)

    def holds(self, evidence: Evidence) -> bool:
        """Whether the judgement is positive."""
        return self.probability(evidence) >= self.threshold

    def is_sound(self) -> bool:
        """Whether it is about `Evidence`, with finite numbers."""
        numbers = [*self.weights.values(), self.intercept, self.threshold]
        return set(self.weights) <= set(Evidence._fields) and all(
            map(math.isfinite, numbers)
        )
