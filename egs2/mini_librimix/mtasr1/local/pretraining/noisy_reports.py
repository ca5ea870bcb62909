"""What the small language model learns to read: noisy reports before sentences.

A real language model can read what precedes a text and write it again. A model of this
size only learns this from many examples. Each example is a mixture of one to three
talkers, reported as if by frames of a bad recognizer: who speaks what and when, with
lost frames, wrong words and added noise. The examples are drawn from the grammar: no
recordings and no sentences of the corpus are used.
"""

import random
from dataclasses import dataclass
from typing import AbstractSet, Dict, List, Sequence, Tuple

import numpy as np

MAX_TALKERS = 3
# Shares of examples with one, two and three talkers.
TALKER_SHARES = (2, 5, 4)
# Frames are 0.1 to 0.2 s long, like the teacher's in the mini recipe.
FRAME_SECONDS = (0.1, 0.2)
ONSET_GAP = (0.5, 1.0)
LOST, MISTAKEN = 0.10, 0.05
LOUDNESS = (0.4, 1.2)


@dataclass(frozen=True)
class Report:
    """A mixture reported frame by frame.

    Attributes:
        words: `(F, MAX_TALKERS)` ids of the words that are said; -1: the talker is
            silent.
        levels: `(F, MAX_TALKERS)` how loud they are; 0: lost.
    """

    words: np.ndarray
    levels: np.ndarray


def draw_texts(
    rng: random.Random,
    sentences: Sequence[str],
    words: Sequence[str],
    unseen: AbstractSet[str],
    salad: float,
) -> List[str]:
    """Draw what each talker of an example says.

    Args:
        rng: Determines everything.
        sentences: Of the grammar.
        words: Its words.
        unseen: Texts that must not occur.
        salad: Share of texts in random word order, which only the report can tell.
    """
    texts = []
    for _ in range(rng.choices(range(1, MAX_TALKERS + 1), TALKER_SHARES)[0]):
        text = rng.choice(sentences)
        if rng.random() < salad:
            text = " ".join(rng.choices(words, k=rng.randint(3, 10)))
        texts.append(rng.choice(sentences) if text in unseen else text)
    return texts


def tell(rng: random.Random, texts: Sequence[str], word_ids: Dict[str, int]) -> Report:
    """Report a mixture of talkers who say `texts`; the first begins at the start."""
    frame = rng.uniform(*FRAME_SECONDS)
    said = _words_in_time(rng, texts)
    n = max(1, int(max(end for *_, end in said) / frame))
    words = np.full((n, MAX_TALKERS), -1)
    shift = rng.uniform(0, frame)
    for talker, word, start, end in said:
        if rng.random() < MISTAKEN:
            word = rng.choice(list(word_ids))
        first = max(0, int(np.ceil((start - shift) / frame)))
        last = max(first + 1, int(np.ceil((end - shift) / frame)))
        words[first:last, talker] = word_ids[word]
    levels = np.array(
        [
            [
                rng.uniform(*LOUDNESS) * (rng.random() >= LOST)
                for _ in range(MAX_TALKERS)
            ]
            for _ in range(n)
        ],
        dtype=np.float32,
    )
    return Report(words, np.where(words < 0, 0, levels))


def _words_in_time(
    rng: random.Random, texts: Sequence[str]
) -> List[Tuple[int, str, float, float]]:
    """Return talker, word, start and end (s) of each word; long words take longer."""
    said = []
    onset = 0.0
    pace = rng.uniform(0.8, 1.25)
    for talker, text in enumerate(texts):
        at = onset
        for word in text.split():
            seconds = (0.05 + 0.065 * len(word)) * pace * rng.uniform(0.8, 1.2)
            said.append((talker, word, at, at + seconds))
            at += seconds
        onset += rng.uniform(*ONSET_GAP)
    return said
