"""Words' times to tokens' and back, for any pieces that the words are cut into."""

import random

import numpy as np
import pytest

from espnet_mtasr.asr.word_places import places_of_tokens, spans_of_words


def cut(words, rng):
    """Cut words into pieces as sentencepiece does, with a ▁ alone now and then."""
    tokens = []
    for word in words:
        pieces = []
        while word:
            n = rng.randint(1, len(word))
            pieces.append(word[:n])
            word = word[n:]
        tokens += (
            ["▁", *pieces] if rng.random() < 0.3 else ["▁" + pieces[0], *pieces[1:]]
        )
    return tokens


@pytest.mark.parametrize("seed", range(20))
def test_there_and_back(seed):
    rng = random.Random(seed)
    words = [
        "".join(rng.choices("abc", k=rng.randint(1, 7)))
        for _ in range(rng.randint(1, 6))
    ]
    times = sorted(rng.uniform(0, 9) for _ in range(2 * len(words)))
    spans = list(zip(times[::2], times[1::2]))
    tokens = cut(words, rng)
    places = places_of_tokens(tokens, words, spans)
    assert places.shape == (len(tokens), 2) and places.dtype == np.float32
    assert (np.diff(places.ravel()) >= -1e-5).all()
    found = spans_of_words(tokens, words, places.tolist())
    assert np.allclose(found, spans, atol=1e-5)


def test_characters():
    """`<space>` lies between its neighbours."""
    tokens = ["g", "o", "<space>", "h", "e"]
    spans = [(1.0, 3.0), (5.0, 6.0)]
    assert places_of_tokens(tokens, ["go", "he"], spans).tolist() == [
        [1.0, 2.0],
        [2.0, 3.0],
        [3.0, 5.0],
        [5.0, 5.5],
        [5.5, 6.0],
    ]
    assert spans_of_words(tokens, ["go", "he"], [(k, k + 1) for k in range(5)]) == [
        (0, 2),
        (3, 5),
    ]


def test_a_lone_underline_comes_before_its_word():
    places = places_of_tokens(["▁", "go"], ["go"], [(2.0, 4.0)])
    assert places.tolist() == [[2.0, 2.0], [2.0, 4.0]]


def test_other_letters_than_the_words():
    assert places_of_tokens(["▁g", "<unk>"], ["go"], [(0, 1)]) is None
    assert spans_of_words(["▁g", "<unk>"], ["go"], [(0, 1), (1, 2)]) is None
    assert places_of_tokens([], [], []) is None
