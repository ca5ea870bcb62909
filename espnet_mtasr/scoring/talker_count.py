"""How often the predicted talker count is right, and how counts are confused.

Source: the paper's talker-counting accuracy. Every utterance counts once.
"""

from typing import Dict, Mapping, Sequence

MISSING = "missing"


def count_confusion(
    true: Mapping[str, int], predicted: Mapping[str, int], talker_counts: Sequence[int]
) -> Dict[str, Dict[str, int]]:
    """Count utterances per true, then predicted talker count.

    Args:
        true: Utterance id to true talker count.
        predicted: Utterance id to predicted talker count. Missing ids are counted
            under the key ``missing``, which is only present if needed.
        talker_counts: The known counts; each gets a row and a column.

    >>> count_confusion({"u": 2, "v": 2, "w": 3}, {"u": 2, "v": 3}, [2, 3])
    {'2': {'2': 1, '3': 1}, '3': {'2': 0, '3': 0, 'missing': 1}}
    """
    rows = sorted({*talker_counts, *true.values()})
    columns = sorted({*talker_counts, *(predicted[u] for u in true if u in predicted)})
    confusion = {str(row): {str(column): 0 for column in columns} for row in rows}
    for utt, count in true.items():
        row = confusion[str(count)]
        column = str(predicted[utt]) if utt in predicted else MISSING
        row[column] = row.get(column, 0) + 1
    return confusion


def count_accuracy(confusion: Mapping[str, Mapping[str, int]]) -> float:
    """Return the percentage of utterances with the right count; missing is wrong.

    Raises:
        ValueError: no utterance was counted.

    >>> count_accuracy({"2": {"2": 3, "3": 0}, "3": {"2": 0, "missing": 1}})
    75.0
    """
    total = sum(sum(row.values()) for row in confusion.values())
    if not total:
        raise ValueError("count_accuracy: no utterances")
    right = sum(row.get(count, 0) for count, row in confusion.items())
    return 100.0 * right / total
