"""Recordings within a page, as MP3: small, and all browsers play it."""

import base64
from io import BytesIO
from typing import Callable, Optional, Tuple

import numpy as np

from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring.report.html import Markup, tag

# Bytes of all sounds of a page, and seconds of each.
MOST_BYTES = 6_000_000
MOST_SECONDS = 30.0

# Set and utterance to samples `(N,)` or `(N, channels)` in [-1, 1]; raises `UserError`
# if they can't be read.
ReadSound = Callable[[str, str], np.ndarray]


class Sounds:
    """The sounds of a page.

    Args:
        read: Reads a recording; None: the page has no sounds.
        rate: Hz.
    """

    def __init__(self, read: Optional[ReadSound], rate: int):
        self.read = read
        self.rate = rate
        self.left = MOST_BYTES

    def player(self, name: str, utt: str) -> Tuple[Optional[Markup], float]:
        """Return a player, or a note why there is none, and the recording's seconds.

        Args:
            name: Of the set.
            utt: Utterance id.

        Returns:
            None and 0 seconds on a page without sounds.
        """
        if self.read is None:
            return None, 0.0
        try:
            samples = self.read(name, utt)
        except UserError as e:
            return tag("p", f"No sound: {e}", class_="note"), 0.0
        if samples.ndim > 1:
            samples = samples.mean(axis=1)
        seconds = len(samples) / self.rate
        sound = encode(samples[: int(MOST_SECONDS * self.rate)], self.rate)
        if len(sound) > self.left:
            note = "No sound: the page's limit for sounds is reached"
            return tag("p", note, class_="note"), seconds
        self.left -= len(sound)
        source = f"data:audio/mpeg;base64,{sound}"
        player = tag("audio", controls="", preload="metadata", src=source)
        if seconds <= MOST_SECONDS:
            return player, seconds
        cut = f"The first {MOST_SECONDS:g} of {seconds:.0f} s"
        return Markup(player + tag("p", cut, class_="note")), seconds


def encode(samples: np.ndarray, rate: int) -> str:
    """Return samples `(N,)` in [-1, 1] as MP3 in base64."""
    import soundfile

    file = BytesIO()
    # From 0, best, to 1, smallest.
    soundfile.write(
        file, samples, rate, format="MP3", subtype="MPEG_LAYER_III",
        compression_level=0.7,
    )  # fmt: skip
    return base64.b64encode(file.getvalue()).decode()
