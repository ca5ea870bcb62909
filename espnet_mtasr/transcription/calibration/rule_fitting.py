"""Fit the rule that tells speech from other sounds, and what it is fitted on.

Speech is a development set, as it is and quieter; other sounds are those of
non_speech.py. A rule only judges what silero-vad isn't sure to be no speech.
"""

from dataclasses import replace
from typing import (
    TYPE_CHECKING,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from espnet_mtasr.abs_inference import MixtureHypothesis
from espnet_mtasr.data.audio import from_int16, pcm16
from espnet_mtasr.mixture.spec import MixtureSpec
from espnet_mtasr.progress import progress
from espnet_mtasr.transcription.calibration.log_odds import log_odds
from espnet_mtasr.transcription.calibration.non_speech import KINDS, make_clip
from espnet_mtasr.transcription.calibration.rules import (
    LOWER,
    Evidence,
    Rule,
    evidence_of,
)
from espnet_mtasr.transcription.settings import THRESHOLD

if TYPE_CHECKING:
    from espnet_mtasr.transcription.mtasr import MTASR

# Samples `(N,)`, and a text per talker.
Mixture = Tuple[np.ndarray, Sequence[str]]
# Attenuation in dB, and the SNR of white noise in dB, if there is any.
Level = Tuple[float, Optional[float]]
AS_IT_IS: Level = (0.0, None)
# At which the development set is heard as well.
DEV_LEVELS: Tuple[Level, ...] = ((25.0, None), (35.0, None), (25.0, 8.0))
# Of each kind of sound.
CLIPS = 20
# Maximum share of the development set's speech that the rule may lose.
LOST = 0.005
# With fewer sounds to judge, there is nothing to fit.
FEWEST = 5


class Clip(NamedTuple):
    """A recording that a model has transcribed, whatever silero-vad says.

    Attributes:
        reference: What was said, a text per talker; empty: nobody talks.
        evidence: For rules.
        hypothesis: What the model wrote.
    """

    reference: List[str]
    evidence: Evidence
    hypothesis: MixtureHypothesis

    @property
    def texts(self) -> List[str]:
        """What the model wrote, a text per talker."""
        return [talker.text for talker in self.hypothesis.talkers]

    @property
    def heard(self) -> bool:
        """Whether silero-vad hears speech, by the default threshold."""
        return self.evidence.vad_peak >= log_odds(THRESHOLD)

    @property
    def judged(self) -> bool:
        """Whether a rule judges it; silero-vad is sure enough that the rest is none."""
        return self.evidence.vad_peak >= log_odds(LOWER * THRESHOLD)


def hear(model: "MTASR", samples: np.ndarray, reference: Sequence[str] = ()) -> Clip:
    """Transcribe a recording `(N,)` at the model's rate."""
    decoder = model.decoder
    loud = decoder.loud(samples, THRESHOLD)
    (hypothesis,) = model.speech2text([samples[loud]])
    return Clip(
        list(reference),
        evidence_of(decoder.detector.of_recording(samples), hypothesis),
        hypothesis,
    )


def quieter(
    samples: np.ndarray,
    decibels: float,
    snr: Optional[float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Attenuate speech `(N,)`, add white noise, and round to 16 bits.

    Args:
        samples: Speech.
        decibels: Of attenuation.
        snr: Of speech to noise, in dB; None: no noise.
        rng: Draws the noise.
    """
    soft = samples * 10 ** (-decibels / 20)
    if snr is not None:
        level = np.sqrt((soft**2).mean()) * 10 ** (-snr / 20)
        soft = soft + level * rng.standard_normal(len(soft))
    return from_int16(pcm16(soft.astype(np.float32)))


def hear_sounds(
    model: "MTASR", part: str, clips: int, seed: int
) -> Dict[str, List[Clip]]:
    """Transcribe sounds without speech, by kind; see `make_clip`."""
    return {
        kind: [
            hear(model, make_clip(kind, part, seed, number, model.rate))
            for number in range(clips)
        ]
        for kind in progress(KINDS, len(KINDS), f"{part}: kinds of sounds")
    }


def hear_speech(
    model: "MTASR",
    mixtures: Sequence[Mixture],
    levels: Sequence[Level],
    seed: int,
    name: str,
) -> List[Clip]:
    """Transcribe mixtures, each at the next of the levels.

    Args:
        model: The model.
        mixtures: Samples `(N,)`, and a text per talker.
        levels: See `quieter`.
        seed: Of the noise.
        name: Of the progress line.
    """
    rng = np.random.default_rng(seed)
    return [
        hear(model, quieter(samples, *levels[number % len(levels)], rng), texts)
        for number, (samples, texts) in enumerate(
            progress(mixtures, len(mixtures), f"{name}: mixtures")
        )
    ]


class Dev(NamedTuple):
    """What a rule is fitted on.

    Attributes:
        speech: A development set.
        quiet: The same, at `DEV_LEVELS` in turn.
        sounds: Without speech.
    """

    speech: List[Clip]
    quiet: List[Clip]
    sounds: List[Clip]


def hear_dev(model: "MTASR", mixtures: Sequence[Mixture], clips: int, seed: int) -> Dev:
    """Transcribe a development set, and `clips` sounds of each kind."""
    return Dev(
        hear_speech(model, mixtures, [AS_IT_IS], seed, "dev"),
        hear_speech(model, mixtures, DEV_LEVELS, seed, "quiet dev"),
        [c for cs in hear_sounds(model, "dev", clips, seed).values() for c in cs],
    )


def one_more(
    specs: Mapping[str, MixtureSpec],
    texts: Mapping[str, Sequence[str]],
    most: int,
    rng: np.random.Generator,
) -> List[Tuple[MixtureSpec, List[str]]]:
    """Add a talker to each mixture of `most` talkers.

    The talker is another one, with a sentence and level of another mixture, and begins
    after the last onset, by the time between two onsets of another mixture.

    Args:
        specs: Mixtures by id.
        texts: What their talkers say.
        most: The largest talker count that a model knows.
        rng: Draws talkers and onsets.

    Returns:
        Specs and texts; none for a mixture whose talkers are all that there are.
    """
    everyone = [item for utt in specs for item in zip(specs[utt].sources, texts[utt])]
    gaps = [
        later - earlier
        for spec in specs.values()
        for earlier, later in zip(spec.onsets, spec.onsets[1:])
    ] or [1.0]
    found = []
    for utt, spec in specs.items():
        if len(spec.sources) != most:
            continue
        there = {source.talker for source in spec.sources}
        others = [item for item in everyone if item[0].talker not in there]
        if not others:
            continue
        source, text = others[rng.integers(len(others))]
        onsets = (*spec.onsets, spec.onsets[-1] + float(rng.choice(gaps)))
        larger = replace(spec, sources=(*spec.sources, source), onsets=onsets)
        found.append((larger, [*texts[utt], text]))
    return found


def fit_rule(positive: Sequence[Evidence], negative: Sequence[Evidence]) -> Rule:
    """Fit a logistic regression, both sides with the same weight; its threshold is 0.5.

    Args:
        positive: Evidence of what the rule shall find.
        negative: Of the rest.
    """
    from sklearn.linear_model import LogisticRegression

    rows = np.array([*positive, *negative])
    mean, scale = rows.mean(0), rows.std(0) + 1e-6
    answers = [True] * len(positive) + [False] * len(negative)
    balanced = LogisticRegression(class_weight="balanced")
    fit = balanced.fit((rows - mean) / scale, answers)
    weights = fit.coef_[0] / scale
    intercept = float(fit.intercept_[0] - weights @ mean)
    return Rule(dict(zip(Evidence._fields, weights.tolist())), intercept, 0.5)


def with_threshold(rule: Rule, evidence: Sequence[Evidence], below: float) -> Rule:
    """Return the rule with the threshold that a share `below` of `evidence` misses."""
    found = [rule.probability(each) for each in evidence]
    return replace(rule, threshold=float(np.quantile(found, below, method="lower")))


def fit_speech(dev: Dev) -> Optional[Rule]:
    """Fit the rule that tells speech from sounds that silero-vad finds similar.

    Returns:
        None if there are so few such sounds that nothing can be fitted.
    """
    positive = [c.evidence for c in (*dev.speech, *dev.quiet) if c.judged]
    negative = [c.evidence for c in dev.sounds if c.judged]
    if min(len(positive), len(negative)) < FEWEST:
        return None
    return with_threshold(fit_rule(positive, negative), positive, LOST)


def effect(rule: Optional[Rule], dev: Dev) -> str:
    """Say in a sentence what the rule does to the set that it was fitted on."""
    speech = [*dev.speech, *dev.quiet]
    if rule is None:
        judged = sum(clip.judged for clip in dev.sounds)
        return (
            f"To silero-vad, {judged} of {len(dev.sounds)} sounds are similar to "
            "speech: too few to fit a rule."
        )
    wrong, right = (
        (
            sum(clip.heard for clip in clips),
            sum(clip.judged and rule.holds(clip.evidence) for clip in clips),
        )
        for clips in (dev.sounds, speech)
    )
    return (
        f"silero-vad alone finds speech in {wrong[0]} of {len(dev.sounds)} sounds and "
        f"in {right[0]} of {len(speech)} mixtures; with the rule, in {wrong[1]} and "
        f"{right[1]}."
    )
