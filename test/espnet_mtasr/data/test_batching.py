"""Batches of recordings of like length."""

from espnet_mtasr.data.batching import batches_of_similar_length


def test_batches():
    lengths = [3.0, 1.0, 2.0, 30.0, 2.5, 0.5]
    batches = batches_of_similar_length(lengths, 6.0)
    assert sorted(i for batch in batches for i in batch) == list(range(6))
    assert batches == [[3], [0, 4], [2, 1, 5]]
    for batch in batches[1:]:
        assert len(batch) * max(lengths[i] for i in batch) <= 6.0
    assert batches_of_similar_length([], 6.0) == []


def test_batches_of_so_many():
    assert batches_of_similar_length([3, 1, 2, 30, 2.5], max_items=2) == [
        [3, 0],
        [4, 2],
        [1],
    ]
    assert batches_of_similar_length([1, 2], max_length=9, max_items=1) == [[1], [0]]
