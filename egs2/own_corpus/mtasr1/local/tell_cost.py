"""Estimate what a training on a corpus costs, and whether the corpus is large enough.

The hours only cover training steps, which take nearly all of the time.
"""

import argparse
import os
import random
import statistics
from typing import Any, Dict, List, Mapping, Optional, Sequence

from lay_out_corpus import Recording

from espnet_mtasr.errors import UserError

# Measured: seconds of one core of a shared Intel Xeon per second of audio in a step of
# conf/train_phase2.yaml; and the parameters of that model.
CORE_SECONDS = 0.072
PARAMETERS = 23.5e6
SOURCE = "tools/bench/results/own_corpus_step.json"
# Estimated, never run: a GPU of 9 TFLOP/s in units of that core.
GPU_IN_CORES = 50
# Rules of thumb, not measured: hours of speech and talkers in training.
FROM_SCRATCH = (100, 200)
FROM_MODEL = (10, 30)
SAMPLED = 300
# mtasr.sh's --max_wav_duration.
LONGEST_MIXTURE = 30.0


def sample_seconds(recordings: Sequence[Recording]) -> List[float]:
    """Return lengths of some recordings, drawn at random, in seconds.

    Raises:
        UserError: none of them can be read.
    """
    import soundfile

    drawn = random.Random(0).sample(recordings, min(SAMPLED, len(recordings)))
    seconds = []
    for recording in drawn:
        try:
            seconds.append(soundfile.info(recording.audio).duration)
        except (OSError, soundfile.SoundFileError):
            # Stage 1 lists it.
            continue
    if not seconds:
        raise UserError(
            f"{drawn[0].audio}: neither this nor the other sampled recordings can be "
            "read; check --corpus"
        )
    return seconds


def audio_of_epoch(
    seconds: Sequence[float], counts: Sequence[int], n_train: int, gap: Sequence[float]
) -> float:
    """Estimate the seconds of audio in an epoch from mixtures drawn at random.

    Args:
        seconds: Lengths of recordings.
        counts: Talkers in a mixture.
        n_train: Mixtures per count.
        gap: Minimum and maximum seconds from one onset to the next.
    """
    rng, total = random.Random(0), 0.0
    for count in counts:
        drawn = []
        for _ in range(SAMPLED):
            onset, end = 0.0, 0.0
            for _ in range(count):
                end = max(end, onset + rng.choice(seconds))
                onset += rng.uniform(*gap)
            drawn.append(end if end <= LONGEST_MIXTURE else 0.0)
        total += n_train * statistics.fmean(drawn)
    return total


def cost_in_words(
    audio: float, pretrained: Optional[str], parameters: int, not_timed: str
) -> List[str]:
    """Return how long training on this audio takes, and the source of the estimate.

    Args:
        audio: Seconds, over all epochs.
        pretrained: Model that the training starts from; None: train_phase2.yaml's.
        parameters: Of that model.
        not_timed: Other parts of the training that were never timed; may be empty.
    """
    per_second, source = CORE_SECONDS, "measured on an Intel Xeon"
    if pretrained is not None:
        per_second *= parameters / PARAMETERS
        source = (
            f"estimated from {pretrained}'s {parameters / 1e6:.1f} million parameters"
        )
    core_hours = audio * per_second / 3600
    lines = [
        f"It takes about {_hours(core_hours)} on one core ({source}, {SOURCE}; cores "
        f"here: {len(os.sched_getaffinity(0))}), or about "
        f"{_hours(core_hours / GPU_IN_CORES)} on one GPU (estimated, never run)."
    ]
    if not_timed:
        lines.append(f"This leaves out {not_timed}, so it may take many times as long.")
    return lines


def _hours(hours: float) -> str:
    if hours >= 1.0:
        return f"{hours:.1f} hours" if hours < 9.95 else f"{hours:.0f} hours"
    minutes = max(1, round(60 * hours))
    return f"{minutes} minute{'s' * (minutes > 1)}"


def needs_in_words(hours: float, talkers: int, least: int, pretrained: bool) -> str:
    """Return a text that says whether there is enough speech.

    Args:
        hours: Of speech in the training part.
        talkers: In the training part.
        least: Minimum of talkers in each part.
        pretrained: Whether the training starts from a trained model or encoder.
    """
    needed = FROM_MODEL if pretrained else FROM_SCRATCH
    text = (
        f"Needed: {least} talkers in each of train, dev and test; and to train from "
        f"{'a trained model' if pretrained else 'scratch'}, about {needed[0]} hours of "
        f"{needed[1]} talkers (a rule of thumb, not measured)."
    )
    if hours >= needed[0] and talkers >= needed[1]:
        return text
    text += " This is less: expect many wrong words, or add speech."
    return text if pretrained else f"{text} Starting from a trained model needs less."


def tell_cost(
    recordings: Sequence[Recording],
    split: Dict[str, str],
    args: argparse.Namespace,
    settings: Mapping[str, Any],
    pretrained: Optional[str] = None,
    parameters: int = 0,
) -> None:
    """Print how much speech there is, how much is needed, and what training costs.

    Args:
        recordings: The whole corpus.
        split: Talker to part.
        args: Of plan.py.
        settings: Of the training.
        pretrained: See `cost_in_words`.
        parameters: See `cost_in_words`.
    """
    training = [r for r in recordings if split[r.talker] == "train"]
    seconds = sample_seconds(training)
    hours = len(training) * statistics.fmean(seconds) / 3600
    talkers = len({r.talker for r in training})
    counts = [int(count) for count in args.talker_counts.split(",")]
    gap = [float(bound) for bound in args.onset_gap.split(",")]
    audio = audio_of_epoch(seconds, counts, args.n_train, gap)
    known = pretrained is not None or bool(args.encoder)
    print(
        f"{args.corpus}: {len(split)} talkers; {talkers} for training, with about "
        f"{_hours(hours)} of speech in {len(training)} recordings."
    )
    print(needs_in_words(hours, talkers, max(counts), known))
    epochs = settings["max_epoch"]
    print(
        f"Training: {epochs} epochs of {len(counts) * args.n_train} mixtures, about "
        f"{_hours(audio / 3600)} of audio each."
    )
    named = {"llm": "the language model's part", "encoder": "the pretrained encoder"}
    not_timed = " and ".join(v for k, v in named.items() if getattr(args, k))
    lines = cost_in_words(epochs * audio, pretrained, parameters, not_timed)
    print("\n".join(lines))
