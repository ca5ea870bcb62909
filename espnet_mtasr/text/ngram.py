"""An n-gram language model over CTC units, for prefix beam search.

Source: interpolated Kneser-Ney smoothing with three discounts (Chen and Goodman, 1999).
No package on PyPI estimates n-grams without a C++ compiler; ngram_training.py does it
with numpy.
"""

import json
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import numpy as np

from espnet_mtasr.errors import UserError

T = TypeVar("T")

# Of a packed n-gram.
KEY_BITS = 63
# Arrays of each order in a file; see `_stored`.
STORED = ("context_steps", "sizes", "coded_backoffs", "units", "coded_probs")
# A share of 0 in a file; others are e to the power of -code / STEPS_PER_NAT.
NO_SHARE = 255
STEPS_PER_NAT = 16
# Bytes of probabilities that are kept: a search asks for few again and again.
KEPT_BYTES = 2**27


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


@dataclass(frozen=True)
class Fit:
    """How a model uses an n-gram, fitted on a development set (fit_ngram).

    As in ESPnet's shallow fusion, each token of a text adds weight x log probability +
    penalty to its score, and its end weight x log probability. Above 0, a penalty makes
    longer texts win.

    Attributes:
        model: Name of the checkpoint.
        beam_size: Of the prefix beam search.
        weights: Talker count to weight and penalty; a weight of 0: the n-gram doesn't
            help there.
    """

    model: str
    beam_size: int
    weights: Dict[int, Tuple[float, float]]

    def is_sound(self) -> bool:
        """Return whether the numbers are in range."""
        numbers = [number for pair in self.weights.values() for number in pair]
        types = isinstance(self.model, str) and isinstance(self.beam_size, int)
        weights = [weight for weight, _ in self.weights.values()]
        return (
            types
            and self.beam_size >= 2
            and all(map(isfinite, numbers))
            and min(weights, default=0.0) >= 0
        )

    def helps(self) -> bool:
        """Return whether the n-gram is used for any talker count."""
        return any(weight > 0 for weight, _ in self.weights.values())


class Ngram:
    """Probabilities of the next unit.

    Args:
        tokens: The V units.
        orders: From n = 1 on.
        fit: To a model.

    Attributes:
        boundary: Id V: before the first unit of a text, and after its last one.
    """

    def __init__(
        self, tokens: Sequence[str], orders: Sequence[Order], fit: Optional[Fit] = None
    ):
        self.tokens = list(tokens)
        self.orders = list(orders)
        self.fit = fit
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
            if len(self._kept) * 8 * (self.boundary + 1) >= KEPT_BYTES:
                self._kept.clear()
            found = self._kept[context] = self._log_probs(context)
        return found

    def _log_probs(self, context: Tuple[int, ...]) -> np.ndarray:
        probs = np.full(self.boundary + 1, 1.0 / (self.boundary + 1))
        for length, order in enumerate(self.orders[: len(context) + 1]):
            key = pack(context[len(context) - length :], self._bits)
            place = int(np.searchsorted(order.contexts, key))
            if place == len(order.contexts) or order.contexts[place] != key:
                # Never seen, or pruned; a longer one may still be there.
                continue
            some = slice(*order.starts[place : place + 2])
            probs *= order.backoffs[place]
            probs[order.units[some]] += order.probs[some]
        # Shares in files are rounded.
        return np.log(probs / probs.sum())

    def write(self, path: Path) -> None:
        """Write as safetensors, atomically."""
        from safetensors.numpy import save

        from espnet_mtasr.files import write_whole

        arrays = {
            f"{n}.{name}": array
            for n, order in enumerate(self.orders, 1)
            for name, array in _stored(order, self.boundary).items()
        }
        entries = {"tokens": json.dumps(self.tokens)}
        if self.fit is not None:
            entries["fit"] = json.dumps(asdict(self.fit))
        write_whole(path, save(arrays, entries))

    @classmethod
    def read(cls, path: Path) -> "Ngram":
        """Read what `write` wrote.

        Raises:
            UserError: the file is missing or has other content.
        """

        def parse(file: Any) -> "Ngram":
            count = len(file.keys()) // len(Order._fields)
            orders = [
                _loaded(file.get_tensor(f"{n}.{name}") for name in STORED)
                for n in range(1, count + 1)
            ]
            tokens = json.loads(file.metadata()["tokens"])
            if not (orders and all(_is_sound(order, len(tokens)) for order in orders)):
                raise ValueError("arrays that can't be an n-gram's")
            return cls(tokens, orders, _fit_of(file))

        return _read(path, parse)

    @staticmethod
    def read_fit(path: Path) -> Optional[Fit]:
        """Read only the numbers that were fitted; None: they weren't.

        Raises:
            UserError: see `read`.
        """
        return _read(path, _fit_of)

    def check_tokens(self, tokens: Sequence[str], path: Path) -> None:
        """Raise `UserError` if a model's units are others."""
        if self.tokens != list(tokens):
            raise UserError(
                f"{path}: was trained with other units than the model's; remove it, or "
                "run stages 5 and 12 again with --use_ngram true"
            )


def _read(path: Path, parse: Callable[[Any], T]) -> T:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"{path}: no such file; run stage 5 with --use_ngram true")
    try:
        with safe_open(path, framework="np") as file:
            return parse(file)
    except (SafetensorError, LookupError, ValueError, TypeError, OSError) as e:
        raise UserError(
            f"{path}: is not an n-gram of espnet-mtasr train-ngram, or damaged; make "
            "it again, or remove it"
        ) from e


def _fit_of(file: Any) -> Optional[Fit]:
    entries = file.metadata()
    if "fit" not in entries:
        return None
    values = json.loads(entries["fit"])
    pairs = {int(count): tuple(pair) for count, pair in values.pop("weights").items()}
    fit = Fit(**values, weights=pairs)
    if not fit.is_sound():
        raise ValueError("numbers out of range")
    return fit


def _stored(order: Order, most: int) -> Dict[str, np.ndarray]:
    """Return the arrays of a file: in small types, and such as a zip makes smaller."""
    steps = np.diff(order.contexts, prepend=0)
    arrays = (
        steps.astype(np.min_scalar_type(steps.max(initial=0))),
        np.diff(order.starts).astype(np.min_scalar_type(most + 1)),
        _coded(order.backoffs),
        order.units.astype(np.min_scalar_type(most)),
        _coded(order.probs),
    )
    return dict(zip(STORED, arrays))


def _coded(shares: np.ndarray) -> np.ndarray:
    """Return shares of at most 1 as bytes, within 3 %, and none below 1e-7."""
    with np.errstate(divide="ignore"):
        codes = np.rint(-np.log(shares) * STEPS_PER_NAT).clip(0, NO_SHARE - 1)
    return np.where(shares > 0, codes, NO_SHARE).astype(np.uint8)


def _shares(codes: np.ndarray) -> np.ndarray:
    table = np.exp(-np.arange(NO_SHARE + 1) / STEPS_PER_NAT).astype(np.float32)
    table[NO_SHARE] = 0.0
    return table[codes]


def _loaded(arrays: Iterable[np.ndarray]) -> Order:
    steps, sizes, backoffs, units, probs = arrays
    contexts = np.cumsum(steps, dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return Order(
        contexts, starts, _shares(backoffs), units.astype(np.int32), _shares(probs)
    )


def _is_sound(order: Order, boundary: int) -> bool:
    """Return whether the arrays of a file can be an n-gram's."""
    contexts, starts, backoffs, units, probs = order
    return (
        backoffs.shape == contexts.shape
        and units.shape == probs.shape == (starts[-1],)
        and bool((np.diff(contexts) > 0).all())
        and bool(((units >= 0) & (units <= boundary)).all())
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
    """What a language model adds to the score of a token sequence; see `Fit`.

    Args:
        ngram: Over the CTC's units.
        weight: See `Fit`.
        penalty: See `Fit`.

    Attributes:
        context: Number of tokens that the next one's probability depends on.
        most: No token adds more.
    """

    def __init__(self, ngram: Ngram, weight: float, penalty: float):
        self.ngram = ngram
        self.weight = weight
        self.penalty = penalty
        self.context = len(ngram.orders) - 1
        self.most = max(penalty, 0.0)

    def log_probs(self, tokens: List[int]) -> np.ndarray:
        """Return the next token's log probabilities `(V + 1,)`, the end's last.

        Args:
            tokens: The sequence so far, or at least its last `context` tokens.
        """
        return self.ngram.log_probs((self.ngram.boundary, *tokens))

    def gain(self, log_probs: np.ndarray, token: int) -> float:
        """Return what a token adds, by `log_probs` of the sequence before it."""
        return self.weight * float(log_probs[token]) + self.penalty

    def end(self, tokens: List[int]) -> float:
        """Return what the end of the text adds after the last `tokens`."""
        return self.weight * float(self.log_probs(tokens)[-1])
