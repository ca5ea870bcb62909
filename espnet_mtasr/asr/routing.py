"""Rescored routing: if the count head is unsure, the branches help to choose.

The score of a count combines the head's log probability and the certainty of that
count's CTC. What a wrong count costs may decide too: then the count with the fewest
expected word errors is picked (minimum Bayes risk), not the most probable one. Weights
and costs are fitted on development data (transcription/calibration/routing.py). This
isn't in the paper, where the head alone picks the branch.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Sequence, Tuple, Union

import torch

from espnet_mtasr.asr.padding import valid_mask
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole


@dataclass(frozen=True)
class Routing:
    """How a branch is picked.

    Attributes:
        model: Name of the checkpoint that it was fitted with.
        talker_counts: Those of the model.
        unsure_below: All branches run if the head's best probability is below it; 0:
            never.
        head: Weight of the head's log probabilities.
        entropy: Weight of the entropies.
        biases: One number per talker count.
        costs: Word errors per reference word, and what a wrong count costs besides: a
            row for each true count with a number for each picked one. Empty: the most
            probable count is picked.
    """

    model: str
    talker_counts: Tuple[int, ...]
    unsure_below: float
    head: float
    entropy: float
    biases: Tuple[float, ...]
    costs: Tuple[Tuple[float, ...], ...] = ()

    @property
    def decides(self) -> bool:
        """Whether it may pick another count than the head."""
        return self.unsure_below > 0.0 or bool(self.costs)

    def scores(self, log_probs: torch.Tensor, entropies: torch.Tensor) -> torch.Tensor:
        """Return log probabilities `(B, C)` of the counts.

        Args:
            log_probs: `(B, C)` of the talker-count head.
            entropies: `(B, C)` of each count's branch; see `stream_entropy`.
        """
        biases = torch.tensor(self.biases, device=log_probs.device)
        weighed = self.head * log_probs + self.entropy * entropies + biases
        return weighed.log_softmax(-1)

    def pick(self, log_probs: torch.Tensor) -> torch.Tensor:
        """Return places `(B,)` of picked counts for log probabilities `(B, C)`."""
        if not self.costs:
            return log_probs.argmax(-1)
        return fewest_errors(log_probs, torch.tensor(self.costs).to(log_probs))

    def is_sound(self) -> bool:
        """Return whether all numbers are finite and each count has its own."""
        numbers = [self.unsure_below, self.head, self.entropy, *self.biases]
        numbers += [cost for row in self.costs for cost in row]
        size = len(self.talker_counts)
        square = [size] * size if self.costs else []
        return (
            all(map(math.isfinite, numbers))
            and len(self.biases) == size
            and [*map(len, self.costs)] == square
        )

    def write(self, path: Union[str, Path]) -> None:
        """Write as JSON.

        Raises:
            ValueError: `read` would refuse it.
        """
        if not self.is_sound():
            raise ValueError(f"not a routing: {self}")
        write_whole(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Union[str, Path]) -> "Routing":
        """Read what `write` wrote.

        Raises:
            UserError: the file has other content.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            routing = cls(
                **{
                    **values,
                    "talker_counts": tuple(map(int, values["talker_counts"])),
                    "biases": tuple(map(float, values["biases"])),
                    "costs": tuple(
                        tuple(map(float, row)) for row in values.get("costs", ())
                    ),
                }
            )
            fits = routing.is_sound()
        except (OSError, ValueError, KeyError, TypeError):
            fits = False
        if not fits:
            raise UserError(
                f"{path}: was not written by espnet_mtasr.bin.fit_routing; fit it "
                "again, or remove it"
            )
        return routing


def fewest_errors(log_probs: torch.Tensor, costs: torch.Tensor) -> torch.Tensor:
    """Return the places `(B,)` of the counts with the fewest expected errors.

    Args:
        log_probs: `(B, C)` of the counts.
        costs: `(C, C)` or `(B, C, C)`, errors by true and picked count.
    """
    return (log_probs.exp()[:, None] @ costs).squeeze(1).argmin(-1)


def stream_entropy(
    log_probs: Sequence[torch.Tensor], lengths: torch.Tensor
) -> torch.Tensor:
    """Return the mean entropy `(B,)` in nats over streams and frames.

    Args:
        log_probs: K tensors `(B, T, V)` of a branch's CTC.
        lengths: `(B,)` frames.
    """
    total = torch.zeros(len(lengths), device=lengths.device)
    mask = valid_mask(lengths, log_probs[0].size(1))
    for of_stream in log_probs:
        entropies = -(of_stream.exp() * of_stream).sum(-1)
        total = total + (entropies * mask).sum(1)
    return total / (lengths.clamp(min=1) * len(log_probs))


def branch_entropies(model: Any, trunk: Any) -> torch.Tensor:
    """Run all branches of a model, and return `stream_entropy` `(B, C)` of each.

    Args:
        model: `MTASRModel`, or one of onnx_model/model.py.
        trunk: Output of its `encode_trunk`.
    """
    found = []
    for count in model.talker_counts:
        (streams,) = model.separate(trunk, torch.full_like(trunk.lengths, count))
        found.append(branch_entropy(model, streams))
    return torch.stack(found, dim=1)


def branch_entropy(model: Any, streams: Any) -> torch.Tensor:
    """Return `stream_entropy` `(B,)` of a branch's streams.

    Args:
        model: As for `branch_entropies`.
        streams: Output of its `separate`.
    """
    log_probs = model.ctc[str(streams.count)].log_probs(streams.streams)
    return stream_entropy(log_probs, streams.lengths)
