"""How recordings are heard: as a whole, or in windows; and what speech is."""

from typing import NamedTuple

from espnet_mtasr.errors import UserError

# Seconds that a window must be allowed to have.
SHORTEST_WINDOW = 2.0
# Seconds that it has by default: about those that models are trained on.
WINDOW_SECONDS = 20.0
# Seconds that are decoded together by default.
BATCH_SECONDS = 60.0
# Probability of speech from which a frame counts as speech by default.
THRESHOLD = 0.5


class Settings(NamedTuple):
    """How a long recording is cut.

    Attributes:
        rate: Of the samples, in Hz.
        longest: Seconds that a window may have.
        threshold: Probability from which a frame is speech; 0: everything is.
        batch_seconds: Windows are decoded together up to so many seconds.
    """

    rate: int
    longest: float = WINDOW_SECONDS
    threshold: float = THRESHOLD
    batch_seconds: float = BATCH_SECONDS

    @property
    def longest_samples(self) -> int:
        """Samples that a window may have."""
        return int(self.longest * self.rate)


def check_settings(batch: float, window: float, threshold: float) -> None:
    """Raise `UserError` for options that can't be.

    Args:
        batch: --batch_seconds.
        window: --window_seconds.
        threshold: --vad_threshold.
    """
    if not batch > 0:
        raise UserError(f"--batch_seconds {batch}: give more than 0")
    if not window >= SHORTEST_WINDOW:
        raise UserError(f"--window_seconds {window}: give {SHORTEST_WINDOW:g} or more")
    if not 0 <= threshold < 1:
        raise UserError(
            f"--vad_threshold {threshold}: give a probability below 1, or 0 to take "
            f"all for speech"
        )
