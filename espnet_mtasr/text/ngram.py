"""An n-gram language model over CTC units, for prefix beam search.

Source: interpolated Kneser-Ney smoothing with three discounts (Chen and Goodman, 1999).
No package on PyPI estimates n-grams without a C++ compiler; ngram_training.py does it
with numpy.
"""

import json
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from espnet_mtasr.errors import UserError

KEY_BITS = 63
# Of NgramFusion; chosen on the dev set of egs2/mini_librispeech_mix.
NGRAM_WEIGHT, PENALTY = 0.5, 0.8
# Contexts whose probabilities are kept: a search asks for few again and again.
KEPT_CONTEXTS = 20000


class Order(NamedTuple):
    """The n-grams of one length n, sorted.

    Attributes:
        contexts: `(C,)` int64, packed contexts of n - 1 units; see `pack`.
        starts: `(C + 1,)` int64, where a context's units begin in `units`.
        backoffs: `(C,)` float32, share of the shorter context's probabilities.
        units: `(N,)` int32, last units of the n-grams.
        probs: `(N,)` float32, their own share of the probability.
    """

    contexts: np.ndarray
    starts: np.ndarray
    backoffs: np.ndarray
    units: np.ndarray
    probs: np.ndarray


def bits_of(vocab_size: int) -> int:
    """Bits of a unit in a packed n-gram; `vocab_size` itself is the boundary."""
    return int(vocab_size).bit_length()


class Ngram:
    """Probabilities of the next unit.

    Args:
        tokens: The V units.
        orders: From n = 1 on.

    Attributes:
        boundary: Id V: before the first unit of a text, and after its last one.
    """

    def __init__(self, tokens: Sequence[str], orders: Sequence[Order]):
        self.tokens = list(tokens)
        self.orders = list(orders)
        self.boundary = len(self.tokens)
        self._bits = bits_of(self.boundary)
        self._kept: Dict[Tuple[int, ...], np.ndarray] = {}

    def __len__(self) -> int:
        return sum(len(order.units) for order in self.orders)

    def log_probs(self, context: Tuple[int, ...]) -> np.ndarray:
        """Return natural logarithms `(V + 1,)` of the next unit's probabilities.

        Args:
            context: Ids of the units before it, at least the last n - 1 of them, and
                `boundary` before the first.
        """
        context = context[-(len(self.orders) - 1) :] if len(self.orders) > 1 else ()
        found = self._kept.get(context)
        if found is None:
            if len(self._kept) >= KEPT_CONTEXTS:
                self._kept.clear()
            found = self._kept[context] = self._log_probs(context)
        return found

    def _log_probs(self, context: Tuple[int, ...]) -> np.ndarray:
        probs = np.full(self.boundary + 1, 1.0 / (self.boundary + 1))
        for length, order in enumerate(self.orders[: len(context) + 1]):
            key = pack(context[len(context) - length :], self._bits)
            place = int(np.searchsorted(order.contexts, key))
            if place == len(order.contexts) or order.contexts[place] != key:
                break
            some = slice(*order.starts[place : place + 2])
            probs *= order.backoffs[place]
            probs[order.units[some]] += order.probs[some]
        return np.log(probs)

    def write(self, path: Path) -> None:
        """Write as safetensors, atomically."""
        from safetensors.numpy import save

        from espnet_mtasr.files import write_whole

        arrays = {
            f"{n}.{name}": array
            for n, order in enumerate(self.orders, 1)
            for name, array in order._asdict().items()
        }
        write_whole(path, save(arrays, {"tokens": json.dumps(self.tokens)}))

    @classmethod
    def read(cls, path: Path) -> "Ngram":
        """Read what `write` wrote.

        Raises:
            UserError: the file is missing or has other content.
        """
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise UserError(f"{path}: no such file; run stage 5 with --use_ngram true")
        try:
            with safe_open(path, framework="np") as file:
                tokens = json.loads((file.metadata() or {})["tokens"])
                count = len(file.keys()) // len(Order._fields)
                orders = [
                    Order(*(file.get_tensor(f"{n}.{name}") for name in Order._fields))
                    for n in range(1, count + 1)
                ]
        except (SafetensorError, KeyError, ValueError, OSError) as e:
            raise UserError(
                f"{path}: is not an n-gram of espnet-mtasr train-ngram, or damaged; "
                "make it again"
            ) from e
        return cls(tokens, orders)

    def check_tokens(self, tokens: Sequence[str], path: Path) -> None:
        """Raise `UserError` if a model's units are others."""
        if self.tokens != list(tokens):
            raise UserError(
                f"{path}: was trained with other units than the model's; run stage 5 "
                "again with --use_ngram true"
            )


def pack(units: Sequence[int], bits: int) -> int:
    """Return units as one number, the last in the lowest bits.

    >>> pack([1, 2], 4)
    18
    """
    key = 0
    for unit in units:
        key = key << bits | unit
    return key


class NgramFusion:
    """What a language model adds to the score of a token sequence.

    ESPnet's shallow fusion: weight x log probability + penalty, for each token.

    Args:
        ngram: Over the CTC's units.
        weight: Factor of its log probabilities, at least 0 (`ngram_weight`).
        penalty: Added for each token: above 0, longer texts win.
    """

    def __init__(self, ngram: Ngram, weight: float, penalty: float):
        self.ngram = ngram
        self.weight = weight
        self.penalty = penalty

    def gains(self, tokens: List[int]) -> np.ndarray:
        """Return what each next token adds `(V,)` after the last `tokens`.

        Args:
            tokens: The sequence so far, or at least its last `context` tokens.
        """
        return self._scores(tokens)[:-1] + self.penalty

    def end(self, tokens: List[int]) -> float:
        """Return what the end of the text adds after the last `tokens`."""
        return float(self._scores(tokens)[-1])

    @property
    def context(self) -> int:
        """Number of tokens that `gains` depends on."""
        return len(self.ngram.orders) - 1

    @property
    def most(self) -> float:
        """No token adds more."""
        return max(self.penalty, 0.0)

    def _scores(self, tokens: List[int]) -> np.ndarray:
        before = (self.ngram.boundary, *tokens)
        return self.weight * self.ngram.log_probs(before)
