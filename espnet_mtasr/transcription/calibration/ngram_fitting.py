"""Fit on a development set how much an n-gram weighs in the prefix beam search."""

import random
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

import torch

from espnet_mtasr.asr.mtasr_model import Streams
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.mixture.speech_list import read_speech_list
from espnet_mtasr.scoring.error_counts import cp_errors
from espnet_mtasr.scoring.inputs import read_references
from espnet_mtasr.text.ngram import Ngram, NgramFusion
from espnet_mtasr.transcription.calibration.routing import Mixtures, encoded

# So many mixtures of a set are enough, drawn at random.
MOST_MIXTURES = 300
# Weight and penalty of the first search, and steps to others that are tried. It ends
# where no step lowers the cpWER, or after so many searches.
FIRST = (0.5, 1.5)
STEPS = ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.3), (0.0, -0.3), (0.1, 0.3), (-0.1, -0.3))
MOST_SEARCHES = 25
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


class Fitted(NamedTuple):
    """What was found for a talker count; rates are cpWER in percent.

    Attributes:
        mixtures: Their number.
        greedy: Of greedy search.
        beam: Of the beam without n-gram.
        ngram: Of the beam with it.
        weight: Of its log probabilities; 0: it doesn't lower the cpWER.
        penalty: Added for each token.
    """

    mixtures: int
    greedy: float
    beam: float
    ngram: float
    weight: float
    penalty: float


def fit_count(
    speech2text: Speech2Text, heard: Sequence[Heard], ngram: Ngram, beam_size: int
) -> Fitted:
    """Fit the n-gram's weight and penalty to mixtures of one talker count.

    Args:
        speech2text: Its search is changed.
        heard: Of these mixtures.
        ngram: Over the model's units.
        beam_size: Of the search.
    """
    count = heard[0].streams.count
    speech2text.fusions, speech2text.beam_size = {}, 1
    greedy = cpwer(speech2text, heard)
    speech2text.beam_size = beam_size
    beam = cpwer(speech2text, heard)
    tried: Dict[Tuple[float, float], float] = {}

    def rate(pair: Tuple[float, float]) -> None:
        if pair not in tried and pair[0] > 0 and len(tried) < MOST_SEARCHES:
            speech2text.fusions = {count: NgramFusion(ngram, *pair)}
            tried[pair] = cpwer(speech2text, heard)

    best, before = FIRST, None
    rate(best)
    while best != before:
        before = best
        for step in STEPS:
            rate((round(before[0] + step[0], 2), round(before[1] + step[1], 2)))
        best = min(tried, key=tried.__getitem__)
    found = tried[best]
    if found >= min(greedy, beam):
        best = (0.0, 0.0)
    return Fitted(sum(len(h.texts) for h in heard), greedy, beam, found, *best)


def format_rates(name: str, fitted: Dict[int, Fitted]) -> str:
    """Return a Markdown table of a set's rates by talker count."""
    lines = [
        f"| talkers | mixtures of {name} | cpWER %, greedy search | beam | with n-gram "
        "| its weight | penalty |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {count} | {row.mixtures} | {row.greedy:.2f} | {row.beam:.2f} "
        f"| {row.ngram:.2f} | {row.weight:g} | {row.penalty:g} |"
        for count, row in fitted.items()
    ]
    return "\n".join(lines) + "\n"
