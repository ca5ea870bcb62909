"""What the small language model learns to read: sentences, told noisily before them.

A real language model reads what stands before a text and may write it again. A model
of this size learns that only from many examples. Each is a mixture of one to three
talkers, told as if by frames of a bad recognizer: who speaks what when, with frames
lost, words mistaken and noise on top. The examples are drawn from the grammar: no
recording is used, and no sentence of the corpus.
"""

import random
from dataclasses import dataclass
from typing import AbstractSet, Dict, List, Sequence, Tuple

import numpy as np

MAX_TALKERS = 3
# How often an example has one, two or three talkers.
TALKER_SHARES = (2, 5, 4)
# Frames are 0.1 to 0.2 s long, as the teacher's in the mini recipe.
FRAME_SECONDS = (0.1, 0.2)
ONSET_GAP = (0.5, 1.0)
LOST, MISTAKEN = 0.10, 0.05
LOUDNESS = (0.4, 1.2)


@dataclass(frozen=True)
class Report:
    """A mixture told frame by frame.

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
        rng: Decides everything.
        sentences: Of the grammar.
        words: Its words.
        unseen: Texts that must not come.
        salad: Share of texts that are words in no order, which only the report tells.
    """
    texts = []
    for _ in range(rng.choices(range(1, MAX_TALKERS + 1), TALKER_SHARES)[0]):
        text = rng.choice(sentences)
        if rng.random() < salad:
            text = " ".join(rng.choices(words, k=rng.randint(3, 10)))
        texts.append(rng.choice(sentences) if text in unseen else text)
    return texts


def tell(rng: random.Random, texts: Sequence[str], word_ids: Dict[str, int]) -> Report:
    """Tell a mixture of talkers who say `texts`, the first one from the start on."""
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
    """Talker, word, start and end in seconds of each word; long words take longer."""
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
