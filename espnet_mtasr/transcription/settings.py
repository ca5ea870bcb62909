"""Settings for long recordings: length of windows, threshold of speech."""

from typing import NamedTuple, Optional

from espnet_mtasr.errors import UserError

# Smallest allowed --window_seconds.
SHORTEST_WINDOW = 2.0
# Default --window_seconds: about the length that models are trained on.
WINDOW_SECONDS = 20.0
# Seconds that are decoded together by default.
BATCH_SECONDS = 60.0
# By default, a frame counts as speech from this probability on.
THRESHOLD = 0.5


class Settings(NamedTuple):
    """How a long recording is cut.

    Attributes:
        rate: Of the samples, in Hz.
        longest: Maximum seconds of a window.
        threshold: A frame is speech from this probability on; 0: all frames are.
        batch_seconds: Seconds of windows that are decoded together.
        people: In the recording, to be told apart by voice; None: don't.
    """

    rate: int
    longest: float = WINDOW_SECONDS
    threshold: float = THRESHOLD
    batch_seconds: float = BATCH_SECONDS
    people: Optional[int] = None

    @property
    def longest_samples(self) -> int:
        """Maximum samples of a window."""
        return int(self.longest * self.rate)


def check_settings(
    batch: float, window: float, threshold: float, people: Optional[int] = None
) -> None:
    """Raise `UserError` for bad options.

    Args:
        batch: --batch_seconds.
        window: --window_seconds.
        threshold: --vad_threshold.
        people: --num_people.
    """
    if not batch > 0:
        raise UserError(f"--batch_seconds {batch}: give more than 0")
    if not window >= SHORTEST_WINDOW:
        raise UserError(f"--window_seconds {window}: give {SHORTEST_WINDOW:g} or more")
    if not 0 <= threshold < 1:
        raise UserError(
            f"--vad_threshold {threshold}: give a probability below 1, or 0 to treat "
            "everything as speech"
        )
    if people is not None and people < 2:
        raise UserError(f"--num_people {people}: give 2 or more")
