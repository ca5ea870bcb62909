"""Tell a preprocessor which epoch its examples are for."""

from typing import Any, Iterable, Optional, Protocol

from espnet2.iterators.abs_iter_factory import AbsIterFactory


class KnowsEpoch(Protocol):
    """Something whose work depends on the epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Continue with the examples of `epoch`, from 1."""


class EpochAwareIterFactory(AbsIterFactory):
    """Calls `listener.set_epoch` before each epoch's iterator is built.

    Data loading processes start with the iterator, so they get the epoch too.
    """

    def __init__(self, factory: AbsIterFactory, listener: KnowsEpoch):
        self.factory = factory
        self.listener = listener

    def build_iter(self, epoch: int, shuffle: Optional[bool] = None) -> Iterable[Any]:
        """Build the iterator of an epoch with the wrapped factory."""
        self.listener.set_epoch(epoch)
        return self.factory.build_iter(epoch, shuffle)
