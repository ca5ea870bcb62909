"""Which channels of a recording are heard: their mean, one, or each by itself."""

from typing import List, Union

import numpy as np

from espnet_mtasr.errors import UserError

# A number from 0, or one of these two.
Channel = Union[int, str]
MIX, EACH = "mix", "each"
# The mean of independent channels has 1 / channels of their power. Where it has less
# than this share of that, one is about the negative of another.
CANCELLED = 0.25


def check_channel(channel: Union[int, str]) -> Channel:
    """Return what `--channel` means.

    Raises:
        UserError: it is no number from 0, nor `mix` or `each`.
    """
    if channel in (MIX, EACH):
        return channel
    if not isinstance(channel, bool) and str(channel).isdecimal():
        return int(channel)
    raise UserError(f"--channel {channel}: give a number from 0, {MIX} or {EACH}")


class ChannelPicker:
    """Picks what is heard of a recording that comes in blocks.

    Args:
        channel: See `check_channel`.
        name: Of the recording, for messages.
    """

    def __init__(self, channel: Channel, name: str):
        self.channel = channel
        self.name = name
        self.samples = 0
        self.number = 0
        # Sums of squares: of all channels, and of their mean.
        self.energy = self.left = 0.0

    def pick(self, block: np.ndarray) -> np.ndarray:
        """Return what is heard of `(n, channels)` finite floats, `(n, channels')`.

        Raises:
            UserError: there is no such channel.
        """
        self.samples += len(block)
        self.number = block.shape[1]
        if self.channel == EACH:
            return block
        if self.channel != MIX:
            if int(self.channel) >= self.number:
                plural = "" if self.number == 1 else "s"
                raise UserError(
                    f"{self.name}: has {self.number} channel{plural}, and no channel "
                    f"{self.channel} (they count from 0); give another --channel"
                )
            return block[:, [int(self.channel)]]
        mean = block.mean(1, keepdims=True)
        if self.number > 1:
            self.energy += _energy(block)
            self.left += _energy(mean)
        return mean

    def warnings(self) -> List[str]:
        """Warn if little is left of all blocks so far."""
        # Both per sample of all channels.
        power, left = self.energy, self.left * self.number
        if not left < CANCELLED * power / max(self.number, 1):
            return []
        return [
            f"{self.name}: its channels cancel each other out, {left / power:.0%} of "
            f"their power is left in their mean; give --channel 0, or each"
        ]


def _energy(samples: np.ndarray) -> float:
    flat = samples.ravel()
    with np.errstate(over="ignore"):
        return float(np.dot(flat, flat))
