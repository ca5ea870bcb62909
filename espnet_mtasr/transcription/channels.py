"""Which channels of a recording are heard: their mean, one, or each by itself."""

from typing import List, Optional, Tuple, Union

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


def pick_channels(
    samples: np.ndarray, channel: Channel, name: str
) -> Tuple[List[np.ndarray], Optional[str]]:
    """Return what is heard of `(N, channels)`, and a warning if little is left.

    Args:
        samples: Finite floats.
        channel: See `check_channel`.
        name: Of the recording, for messages.

    Returns:
        Arrays `(N,)`: one, or for `each` one per channel.

    Raises:
        UserError: it has no such channel.
    """
    number = samples.shape[1]
    if channel == EACH:
        return list(samples.T), None
    if channel != MIX:
        if int(channel) >= number:
            raise UserError(
                f"{name}: has {number} channel{'' if number == 1 else 's'}, and no "
                f"channel {channel} (they count from 0); give another --channel"
            )
        return [samples[:, int(channel)]], None
    mean = samples.mean(1)
    power, left = _power(samples), _power(mean)
    if number > 1 and left < CANCELLED * power / number:
        return [mean], (
            f"{name}: its channels cancel each other out, {left / power:.0%} of their "
            f"power is left in their mean; give --channel 0, or each"
        )
    return [mean], None


def _power(samples: np.ndarray) -> float:
    """Mean square; without a copy, for hours of samples are large."""
    flat = samples.ravel(order="K")
    with np.errstate(over="ignore"):
        return float(np.dot(flat, flat)) / len(flat)
