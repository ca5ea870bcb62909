"""Warn of streams that write nothing while a training can still be fixed."""

import re
from collections import Counter
from typing import Any, Dict, List, Mapping, Tuple

import torch

# Batches of a talker count. In the mini recipe without a flat start, all streams wrote
# at least a word a row after 166 batches where the branches were phase 1's (no teacher,
# seed 0), and had caught up after 12 times 166 where they were new.
SILENT_AFTER = 2000
LOSS = re.compile(r"loss_ctc_(\d+)spk")
WORDS = re.compile(r"words_stream(\d+)_(\d+)spk")

PerCount = Mapping[str, Tuple[Any, Any]]


class Silence:
    """Counts trained batches, and what the streams write on the validation set."""

    def __init__(self) -> None:
        self.trained: Counter[int] = Counter()
        self.written: Dict[Tuple[int, int], float] = {}

    def see_training(self, per_count: PerCount) -> None:
        """Count a training batch: `NAME_Kspk` to (mean, rows)."""
        for name, (_, rows) in per_count.items():
            if (found := LOSS.fullmatch(name)) and float(rows) > 0:
                self.trained[int(found[1])] += 1

    def see_validation(self, per_count: PerCount) -> None:
        """Count a validation batch."""
        for name, (mean, rows) in per_count.items():
            if (found := WORDS.fullmatch(name)) and float(rows) > 0:
                key = int(found[2]), int(found[1])
                words = float(torch.as_tensor(mean)) * float(rows)
                self.written[key] = self.written.get(key, 0.0) + words

    def report(self) -> List[str]:
        """Return a line for each stream that should write by now, but doesn't."""
        lines = [
            f"stream {stream} of {count} talkers writes nothing: all of its frames of "
            f"the validation set are blank after {self.trained[count]} batches; give "
            f"phase 2 a flat start (preprocessor_conf flat_start_epochs: 2)"
            for (count, stream), words in sorted(self.written.items())
            if words == 0.0 and self.trained[count] >= SILENT_AFTER
        ]
        self.written.clear()
        return lines
