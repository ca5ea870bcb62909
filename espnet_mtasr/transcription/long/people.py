"""Who is who across the parts of a recording: clusters of voices."""

from dataclasses import replace
from typing import Dict, List, Sequence, Tuple

import numpy as np

from espnet_mtasr.transcription.transcript import Part, Talker, Voice

# Random beginnings of the clustering, besides two from a tree.
RESTARTS = 10
ROUNDS = 20
# What it costs if words at a seam say that two talkers are one person and labels don't.
LINK = 1.0


def label_people(parts: Sequence[Part], people: int) -> List[Part]:
    """Renumber the talkers of parts, so that a number means one person in all of them.

    Within a part, no two talkers are the same person. Person 1 is the first to talk.

    Args:
        parts: Of one channel, with voices.
        people: In the recording.

    Returns:
        The parts, each with all people who talk anywhere.
    """
    rows = [
        (number, talker)
        for number, part in enumerate(parts)
        for talker, of_talker in enumerate(part.talkers)
        if of_talker.words
    ]
    voices = [parts[number].voices[talker] for number, talker in rows]
    weights = np.array([voice.weight for voice in voices])
    links = _links(parts, rows)
    owners = np.array([number for number, _ in rows], int)
    labels = cluster(_filled(voices), weights, owners, links, people)
    first: Dict[int, float] = {}
    for (number, talker), label in zip(rows, labels):
        start = parts[number].talkers[talker].words[0].start
        first[int(label)] = min(start, first.get(int(label), start))
    order = sorted(first, key=lambda label: first[label])
    found = [[Talker((), part.channel)] * len(order) for part in parts]
    for (number, talker), label in zip(rows, labels):
        found[number][order.index(label)] = parts[number].talkers[talker]
    return [
        replace(part, talkers=tuple(talkers), voices=())
        for part, talkers in zip(parts, found)
    ]


def _links(
    parts: Sequence[Part], rows: Sequence[Tuple[int, int]]
) -> List[Tuple[int, int]]:
    """Pairs of rows that the words at a seam join."""
    places = {row: place for place, row in enumerate(rows)}
    pairs = [
        (places.get((number - 1, talker)), place)
        for (number, talker), place in places.items()
        if parts[number].continues and parts[number].voices[talker].linked
    ]
    return [(before, place) for before, place in pairs if before is not None]


def _filled(voices: Sequence[Voice]) -> np.ndarray:
    """Embeddings `(N, D)`; the mean, which is like all others, where there is none."""
    known = np.array([v.embedding for v in voices if v.embedding is not None])
    if len(known) == 0:
        return np.zeros((len(voices), 1))
    mean = known.mean(0)
    return np.array([mean if v.embedding is None else v.embedding for v in voices])


def cluster(
    voices: np.ndarray,
    weights: np.ndarray,
    owners: np.ndarray,
    links: Sequence[Tuple[int, int]],
    number: int,
) -> np.ndarray:
    """Assign voices to clusters.

    k-means whose assignment is the best one within each part in which no cluster occurs
    twice; the best of several beginnings. Deterministic.

    Args:
        voices: `(N, D)`.
        weights: `(N,)`, above 0.
        owners: `(N,)` part of each.
        links: Pairs of places that likely belong together.
        number: Of clusters; at least that of a part's voices.

    Returns:
        `(N,)` clusters from 0.
    """
    if len(voices) <= 1:
        return np.zeros(len(voices), int)
    if np.unique(owners, return_counts=True)[1].max() > number:
        raise ValueError(f"a part has more than {number} voices")
    rng = np.random.default_rng(0)
    starts = _trees(voices, owners, min(number, len(voices)))
    for _ in range(RESTARTS):
        some = rng.choice(len(voices), min(number, len(voices)), replace=False)
        starts.append(_squared_distances(voices, voices[some]).argmin(1))
    found = [_refine(voices, weights, owners, links, number, start) for start in starts]
    return min(found, key=lambda entry: entry[1])[0]


def _trees(voices: np.ndarray, owners: np.ndarray, number: int) -> List[np.ndarray]:
    from sklearn.cluster import AgglomerativeClustering

    distances = np.sqrt(_squared_distances(voices, voices))
    apart = owners[:, None] == owners
    np.fill_diagonal(apart, False)
    distances[apart] = 3 * distances.max()
    return [
        AgglomerativeClustering(
            number, metric="precomputed", linkage=linkage
        ).fit_predict(distances)
        for linkage in ("average", "complete")
    ]


def _refine(
    voices: np.ndarray,
    weights: np.ndarray,
    owners: np.ndarray,
    links: Sequence[Tuple[int, int]],
    number: int,
    labels: np.ndarray,
) -> Tuple[np.ndarray, float]:
    """Labels, and their cost."""
    from scipy.optimize import linear_sum_assignment

    for _ in range(ROUNDS):
        before = labels.copy()
        centers = np.stack(
            [
                np.average(voices[own], axis=0, weights=weights[own])
                for k in range(number)
                for own in [labels == k if (labels == k).any() else labels >= 0]
            ]
        )
        costs = weights[:, None] * _squared_distances(voices, centers)
        for pair in links:
            for one, other in (pair, pair[::-1]):
                costs[one] += LINK * (np.arange(number) != labels[other])
        for owner in np.unique(owners):
            places = np.flatnonzero(owners == owner)
            rows, columns = linear_sum_assignment(costs[places])
            labels = labels.copy()
            labels[places[rows]] = columns
        if (labels == before).all():
            break
    return labels, float(costs[np.arange(len(labels)), labels].sum())


def _squared_distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(some, others, "sqeuclidean")
