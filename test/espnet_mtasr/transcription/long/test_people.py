"""Who is who across parts: clusters of voices, and no two of a part are one person."""

import tracemalloc

import numpy as np
import pytest

from espnet_mtasr.transcription.long.people import cluster, label_people
from espnet_mtasr.transcription.transcript import Part, Talker, Voice, Word

PEOPLE = np.eye(4)[:3]


def near(person, rng, spread=0.25):
    voice = PEOPLE[person] + rng.normal(0, spread, 4)
    return voice / np.linalg.norm(voice)


def conversation(parts, rng, spread=0.25):
    """Voices, the part of each, and who it is: two of three people in each part."""
    true = [person for _ in range(parts) for person in rng.permutation(3)[:2]]
    voices = np.array([near(person, rng, spread) for person in true])
    return voices, np.repeat(np.arange(parts), 2), np.array(true)


def same(found, true):
    """Whether two labelings differ in names only."""
    pairs = set(zip(found.tolist(), true.tolist()))
    return len(pairs) == len(set(true.tolist())) == len(set(found.tolist()))


@pytest.mark.parametrize("seed", range(5))
def test_clusters(seed):
    voices, owners, true = conversation(30, np.random.default_rng(seed))
    found = cluster(voices, np.ones(len(voices)), owners, [], 3)
    assert same(found, true)
    assert (cluster(voices, np.ones(len(voices)), owners, [], 3) == found).all()


def test_no_two_of_a_part_are_one():
    rng = np.random.default_rng(0)
    # By voice alone it can't be told who is who.
    voices, owners, _ = conversation(30, rng, spread=3.0)
    found = cluster(voices, np.ones(len(voices)), owners, [], 3).reshape(-1, 2)
    assert (found[:, 0] != found[:, 1]).all()
    with pytest.raises(ValueError, match="more than 1 voices"):
        cluster(voices, np.ones(len(voices)), owners, [], 1)


def test_what_counts_little_moves_little():
    """Each part has a clear voice, and one that others drown."""
    rng = np.random.default_rng(0)
    voices, owners, true = conversation(40, rng)
    drowned = np.arange(len(voices)) % 2 == 1
    voices[drowned] = [near(person, rng, 3.0) for person in true[drowned]]
    weights = np.where(drowned, 0.05, 1.0)
    found = cluster(voices, weights, owners, [], 3)
    assert same(found[~drowned], true[~drowned])
    alike = cluster(voices, np.ones(80), owners, [], 3)
    assert not same(alike[~drowned], true[~drowned])


def test_links_decide_where_voices_do_not():
    voices = np.stack([PEOPLE[0]] * 5 + [PEOPLE[1]] * 5 + [(PEOPLE[0] + PEOPLE[1]) / 2])
    owners = np.arange(11)
    for other in (2, 7):
        found = cluster(voices, np.ones(len(voices)), owners, [(other, 10)], 2)
        assert found[10] == found[other]
        assert found[2] != found[7]


def said(text, start):
    words = [
        Word(w, start + n, start + n + 0.5, 1.0) for n, w in enumerate(text.split())
    ]
    return Talker(tuple(words))


def part(start, *talkers, continues=False, linked=False):
    voices = tuple(
        Voice(person if person is None else tuple(PEOPLE[person]), linked=linked)
        for _, person in talkers
    )
    found = tuple(said(text, start) for text, _ in talkers)
    return Part(start, start + 9, found, {2: 1.0}, continues, voices=voices)


def texts(parts):
    return [[talker.text for talker in found.talkers] for found in parts]


def test_numbers():
    parts = [
        part(0.0, ("a b", 2)),
        part(10.0, ("c", 0), ("d", 2)),
        # The second is silent; of the third only a seam says who it is.
        part(20.0, ("e", 1), ("", None), ("f", None)),
        part(30.0, ("g", None), ("h", 0), continues=True, linked=True),
        part(40.0),
    ]
    found = label_people(parts, 3)
    assert texts(found) == [
        ["a b", "", ""],
        ["d", "c", ""],
        ["f", "", "e"],
        ["", "h", "g"],
        ["", "", ""],
    ]
    assert [(p.start, p.end, p.continues) for p in found] == [
        (p.start, p.end, p.continues) for p in parts
    ]
    assert all(p.voices == () for p in found)


def test_nobody_talks():
    assert label_people([], 2) == []
    assert texts(label_people([part(0.0, ("", None))], 2)) == [[]]
    # Nothing is known of any voice.
    assert texts(label_people([part(0.0, ("a", None), ("b", None))], 2)) == [["a", "b"]]


def test_memory_of_many_parts():
    """Three hours have some 5,000 voices; all differences of 1,500 would take 3 GB."""
    rng = np.random.default_rng(0)
    number = 1500
    owners = np.repeat(np.arange(number // 2), 2)
    tracemalloc.start()
    try:
        cluster(rng.normal(size=(number, 256)), np.ones(number), owners, [], 3)
        assert tracemalloc.get_traced_memory()[1] < 300e6
    finally:
        tracemalloc.stop()
