"""Which channels of a recording are transcribed: their mean, one, or each."""

from typing import List, Optional, Union

import numpy as np

from espnet_mtasr.errors import UserError

# A number from 0, or one of these two.
Channel = Union[int, str]
MIX, EACH = "mix", "each"
# The mean of N independent channels has 1 / N of their power. If it has less than this
# share of that, one channel is about the negative of another.
CANCELLED = 0.25
# Two channels with at least this correlation, or its negative, have the same sound.
SAME = 0.98


def check_channel(channel: Union[int, str]) -> Channel:
    """Parse `--channel`.

    Raises:
        UserError: it is neither a number from 0 nor `mix` or `each`.
    """
    if channel in (MIX, EACH):
        return channel
    if not isinstance(channel, bool) and str(channel).isdecimal():
        return int(channel)
    raise UserError(f"--channel {channel}: give a number from 0, {MIX} or {EACH}")


class ChannelPicker:
    """Picks the channels to transcribe, block by block.

    Args:
        channel: See `check_channel`.
        name: Of the recording, for messages.
    """

    def __init__(self, channel: Channel, name: str):
        self.channel = channel
        self.name = name
        self.samples = 0
        self.number = 0
        # `(channels, channels)` sums of products of samples, unless one is picked.
        self.products: Optional[np.ndarray] = None

    def pick(self, block: np.ndarray) -> np.ndarray:
        """Return the picked channels `(n, channels')` of `(n, channels)` finite floats.

        Raises:
            UserError: there is no such channel.
        """
        self.samples += len(block)
        self.number = block.shape[1]
        if self.channel not in (MIX, EACH):
            if int(self.channel) >= self.number:
                plural = "" if self.number == 1 else "s"
                raise UserError(
                    f"{self.name}: has {self.number} channel{plural}, and no channel "
                    f"{self.channel} (counted from 0); give another --channel"
                )
            return block[:, [int(self.channel)]]
        if self.number > 1:
            with np.errstate(over="ignore", invalid="ignore"):
                products = block.T.astype(np.float64) @ block
            self.products = products + (0 if self.products is None else self.products)
        return block if self.channel == EACH else block.mean(1, keepdims=True)

    def warnings(self) -> List[str]:
        """Warn of what all blocks so far show.

        Either their mean has little power, or channels that are transcribed separately
        have the same sound.
        """
        if self.products is None:
            return []
        if self.channel == EACH:
            return self._same(self.products)
        # Of all channels, and what the mean has in their place.
        power = float(np.trace(self.products))
        left = max(float(self.products.sum()) / self.number, 0.0)
        if not left < CANCELLED * power / self.number:
            return []
        return [
            f"{self.name}: its channels cancel each other out (their mean has "
            f"{left / power:.0%} of their power); give a channel's number: --channel 0"
        ]

    def _same(self, products: np.ndarray) -> List[str]:
        sizes = np.sqrt(np.diag(products))
        alike = np.abs(products) > SAME * np.outer(sizes, sizes)
        pairs = np.argwhere(np.triu(alike, 1))
        if len(pairs) == 0:
            return []
        first, second = pairs[0]
        return [
            f"{self.name}: channels {first} and {second} have the same sound, so each "
            f"talker comes twice; give a channel's number: --channel {first}"
        ]
