"""Onset policies: when each talker of a mixture begins to speak.

`librimix` follows ESPnet's Libri2Mix SOT recipe (talker 2 at U(1.0, 1.5) s) and the
first author's public metadata script for 3 talkers (talker 3 at U(2.5, 3.0) s).
"""

import hashlib
import random
from dataclasses import dataclass, replace
from typing import Iterable, List, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.metadata import MixtureRow

POLICIES = ("librimix", "successive", "none")
# Shorter gaps would be lost when onsets are rounded, and talkers would begin together.
MIN_GAP = 0.001


def mixture_rng(seed: int, mixture_id: str, purpose: str) -> random.Random:
    """Return a generator that only depends on its arguments.

    So a mixture is the same, whatever was drawn before it.
    """
    key = hashlib.sha256(f"{seed} {purpose} {mixture_id}".encode()).digest()
    return random.Random(int.from_bytes(key[:8], "big"))


@dataclass(frozen=True)
class OnsetPolicy:
    """How onsets are drawn.

    Attributes:
        name: `librimix`: talker k at U(1.0, 1.5) + 1.5 (k - 2) s; `successive`: each
            talker U(low, high) s after the previous one; `none`: all at 0.
        low: Shortest gap in seconds (`successive`).
        high: Longest gap in seconds (`successive`).
    """

    name: str
    low: float = 0.5
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in POLICIES:
            raise UserError(f"onset policy {self.name!r}: choose one of {POLICIES}")
        if not MIN_GAP <= self.low <= self.high:
            raise UserError(
                f"onset gap {self.low:g} to {self.high:g} s: give "
                f"{MIN_GAP} <= low <= high, or policy none for no gap"
            )

    def draw(self, n_talkers: int, seed: int, mixture_id: str) -> Tuple[float, ...]:
        """Return onsets in seconds (tenths of a millisecond), first 0.

        They ascend and differ, except with `none`.
        """
        rng = mixture_rng(seed, mixture_id, "onsets")
        onsets: List[float] = [0.0]
        for k in range(1, n_talkers):
            if self.name == "librimix":
                onset = 1.5 * (k - 1) + rng.uniform(1.0, 1.5)
            elif self.name == "successive":
                onset = onsets[-1] + rng.uniform(self.low, self.high)
            else:
                onset = 0.0
            onsets.append(round(onset, 4))
        return tuple(onsets)


def parse_policy(words: Iterable[str]) -> OnsetPolicy:
    """Read a policy from a command line: a name, and for `successive` LOW HIGH.

    Raises:
        UserError: the name is unknown, or there aren't two numbers of seconds.

    >>> parse_policy(["successive", "0.5", "1.0"])
    OnsetPolicy(name='successive', low=0.5, high=1.0)
    """
    name, *gap = words
    if not gap:
        return OnsetPolicy(name)
    try:
        low, high = map(float, gap)
    except ValueError:
        raise UserError(
            f"onset gap {' '.join(gap)!r}: give two numbers of seconds, as in 0.5 1.0"
        ) from None
    return OnsetPolicy(name, low, high)


def add_onsets(
    rows: Iterable[MixtureRow], policy: OnsetPolicy, seed: int
) -> List[MixtureRow]:
    """Draw onsets for existing metadata, such as stock LibriMix's."""
    return [
        replace(row, onsets=policy.draw(row.n_talkers, seed, row.mixture_id))
        for row in rows
    ]
