"""The closed grammar of the mini corpus: 4 sentence forms over 75 words.

The forms follow small-vocabulary corpora for multi-talker listening tests: the
Coordinate Response Measure (Bolia et al., JASA 2000), GRID (Cooke et al., JASA 2006)
and matrix sentences (Hagerman 1982), plus strings of digits.
"""

import random
from typing import FrozenSet, Iterable, List, Optional, Set

DIGITS = "ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split()
COLORS = "RED BLUE GREEN WHITE BLACK".split()
CALLS = "BARON CHARLIE EAGLE TIGER ARROW HOPPER LAKER RINGO".split()
COMMANDS = "BIN LAY PLACE SET".split()
PREPOSITIONS = "AT BY IN WITH".split()
ADVERBS = "AGAIN NOW PLEASE SOON".split()
NAMES = "PETER KATHY LUCY ALAN RACHEL WILLIAM STEVEN THOMAS DORIS NINA".split()
VERBS = "GOT SEES BROUGHT GIVES SOLD PREFERS HAS KEPT ORDERED WANTS".split()
ADJECTIVES = "LARGE SMALL OLD DARK HEAVY CHEAP PRETTY RED BLUE GREEN".split()
NOUNS = "DESKS CHAIRS TABLES TOYS SPOONS WINDOWS SOFAS RINGS FLOWERS HOUSES".split()

VOCABULARY: FrozenSet[str] = frozenset(
    DIGITS
    + COLORS
    + CALLS
    + COMMANDS
    + PREPOSITIONS
    + ADVERBS
    + NAMES
    + VERBS
    + ADJECTIVES
    + NOUNS
    + "READY GO TO".split()
)


def clause(rng: random.Random) -> str:
    """Draw one clause of 4 to 8 words, in upper case as LibriSpeech writes."""
    form = rng.choices(("coordinate", "grid", "matrix", "digits"), (5, 5, 6, 4))[0]
    if form == "coordinate":
        words = ["READY", rng.choice(CALLS), "GO", "TO"]
        words += [rng.choice(COLORS), rng.choice(DIGITS), "NOW"]
    elif form == "grid":
        slots = (COMMANDS, COLORS, PREPOSITIONS, CALLS, DIGITS, ADVERBS)
        words = [rng.choice(slot) for slot in slots]
    elif form == "matrix":
        slots = (NAMES, VERBS, DIGITS[2:], ADJECTIVES, NOUNS)
        words = [rng.choice(slot) for slot in slots]
    else:
        words = rng.choices(DIGITS, k=rng.randint(4, 7))
    return " ".join(words)


def sentence(rng: random.Random) -> str:
    """Draw the text of an utterance: one clause, or two in 4 of 10 (2 to 5 s)."""
    return " ".join(clause(rng) for _ in range(2 if rng.random() < 0.4 else 1))


def draw_sentences(
    rng: random.Random,
    n: int,
    taken: Set[str],
    known_words: Optional[Iterable[str]] = None,
    max_draws: int = 200_000,
) -> List[str]:
    """Draw `n` sentences that are not in `taken`, and add them to it.

    Args:
        rng: Decides everything.
        n: How many.
        taken: Sentences that must not occur again; grows.
        known_words: The only allowed words; None allows all.
        max_draws: The grammar counts as exhausted after this many draws.

    Raises:
        ValueError: fewer than `n` sentences are left.
    """
    known = VOCABULARY if known_words is None else frozenset(known_words)
    sentences: List[str] = []
    for _ in range(max_draws):
        if len(sentences) == n:
            return sentences
        drawn = sentence(rng)
        if drawn not in taken and known.issuperset(drawn.split()):
            taken.add(drawn)
            sentences.append(drawn)
    raise ValueError(f"found {len(sentences)} of {n} new sentences")
