"""Fit on a development set how much an n-gram weighs in the prefix beam search."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

import torch

from espnet_mtasr.asr.mtasr_model import Streams
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.mixture.speech_list import read_speech_list
from espnet_mtasr.progress import progress
from espnet_mtasr.scoring.error_counts import cp_errors
from espnet_mtasr.scoring.inputs import read_references
from espnet_mtasr.text.ngram import Fit, Ngram, NgramFusion
from espnet_mtasr.transcription.calibration.routing import Mixtures, encoded

# So many mixtures of a set are enough, drawn at random.
MOST_MIXTURES = 300
# The weight is fitted first, with a penalty of so many times the weight; then the
# penalty.
WEIGHTS, FIRST_PENALTY = (0.3, 0.5, 0.7, 0.9), 2.0
PENALTIES = (1.0, 1.5, 2.5, 3.0)
BATCH_SIZE = 16


class Heard(NamedTuple):
    """Streams of a batch for its mixtures' true talker count, and their texts."""

    streams: Streams
    texts: List[List[str]]


def read_some(data_dir: Path, talker_counts: Sequence[int]) -> Mixtures:
    """Samples `(N,)` and texts of a set, or of a random part of a large one.

    Raises:
        UserError: the directory is not in order.
    """
    texts = read_references(data_dir, talker_counts).texts
    speech = read_speech_list(data_dir)
    some = random.Random(0).sample(sorted(texts), min(len(texts), MOST_MIXTURES))
    return [(speech[utt].read(), texts[utt]) for utt in some]


@torch.no_grad()
def hear(speech2text: Speech2Text, mixtures: Mixtures) -> List[Heard]:
    """Run encoder and separators; only the search is left to do."""
    heard = []
    for places, trunk in encoded(speech2text, mixtures, BATCH_SIZE, "n-gram"):
        texts = [mixtures[place][1] for place in places]
        counts = torch.tensor([len(of_mixture) for of_mixture in texts])
        counts = counts.to(trunk.hidden.device)
        for streams in speech2text.model.separate(trunk, counts):
            rows = streams.rows.tolist()
            heard.append(Heard(streams, [texts[row] for row in rows]))
    return heard


@torch.no_grad()
def cpwer(speech2text: Speech2Text, heard: Sequence[Heard]) -> float:
    """Return cpWER in percent, with the true talker counts."""
    errors, words = 0, 0
    for streams, texts in heard:
        for reference, found in zip(texts, speech2text.search(streams)):
            errors += cp_errors(reference, [talker.text for talker in found]).errors
            words += len(" ".join(reference).split())
    return 100 * errors / max(words, 1)


def fit_ngram(
    speech2text: Speech2Text, heard: Sequence[Heard], ngram: Ngram, first: Fit
) -> Tuple[Fit, Dict[str, float]]:
    """Return the numbers with the lowest cpWER, and the cpWER of all that were tried.

    The weight is 0 if no other lowers it.

    Args:
        speech2text: Its search is changed.
        heard: Of the development set.
        ngram: Over the model's units.
        first: Checkpoint and beam; its other numbers are fitted.
    """
    tried: Dict[Tuple[float, float], float] = {}

    def rate(weight: float, penalty: float) -> float:
        speech2text.fusion = NgramFusion(ngram, weight, penalty)
        return cpwer(speech2text, heard)

    speech2text.fusion, speech2text.beam_size = None, 1
    told = {"greedy search": cpwer(speech2text, heard)}
    speech2text.beam_size = first.beam_size
    told["beam without n-gram"] = cpwer(speech2text, heard)
    number = len(WEIGHTS) + len(PENALTIES)
    steps = iter(progress(range(number), number, "n-gram: tried", True))
    for weight, _ in zip(WEIGHTS, steps):
        tried[weight, FIRST_PENALTY * weight] = rate(weight, FIRST_PENALTY * weight)
    weight, _ = min(tried, key=tried.__getitem__)
    for factor, _ in zip(PENALTIES, steps):
        tried[weight, factor * weight] = rate(weight, factor * weight)
    next(steps, None)
    best = min(tried, key=tried.__getitem__)
    if tried[best] >= min(told.values()):
        best = (0.0, 0.0)
    told |= {f"weight {w:g}, penalty {p:g}": value for (w, p), value in tried.items()}
    return replace(first, weight=best[0], penalty=best[1]), told


def format_rates(name: str, number: int, told: Dict[str, float]) -> str:
    """Return a Markdown table of what was tried on a set of `number` mixtures."""
    lines = [
        f"| search, {name}, {number} mixtures | cpWER %, count given |",
        "|---|---:|",
    ]
    lines += [f"| {search} | {value:.2f} |" for search, value in told.items()]
    return "\n".join(lines) + "\n"
