"""Settings for long recordings: length of windows, threshold of speech."""

import math
from typing import NamedTuple, Optional, Sequence

from espnet_mtasr.errors import UserError

CTC, TEACHER = DECODERS = ("ctc", "teacher")
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
        overlap: Whether windows without a pause between them overlap. Without times of
            words, it isn't known which words both have.
        whole: Maximum seconds of a recording that is never cut, not even at a pause.
    """

    rate: int
    longest: float = WINDOW_SECONDS
    threshold: float = THRESHOLD
    batch_seconds: float = BATCH_SECONDS
    people: Optional[int] = None
    overlap: bool = True
    whole: float = math.inf

    @property
    def whole_samples(self) -> int:
        """Maximum samples of a recording that is never cut."""
        return int(min(self.whole, self.longest) * self.rate)


def check_decoder(option: str, decoder: str) -> None:
    """Raise `UserError` if there is no such decoder; `option` names it."""
    if decoder not in DECODERS:
        raise UserError(f"{option} {decoder}: choose one of {', '.join(DECODERS)}")


def check_people(people: Optional[int]) -> None:
    """Raise `UserError` if people are to be told apart; words have no times."""
    if people is not None:
        raise UserError(
            f"--num_people {people}: needs times of words, which a teacher doesn't "
            "give; omit it, or decode by CTC"
        )


def check_settings(
    batch: float,
    window: float,
    threshold: float,
    people: Optional[int] = None,
    talkers: Sequence[Optional[int]] = (),
) -> None:
    """Raise `UserError` for bad options.

    Args:
        batch: --batch_seconds.
        window: --window_seconds.
        threshold: --vad_threshold.
        people: --num_people.
        talkers: --num_talkers of each recording.
    """
    if not batch > 0:
        raise UserError(f"--batch_seconds {batch}: give more than 0")
    if not SHORTEST_WINDOW <= window < math.inf:
        raise UserError(
            f"--window_seconds {window}: give {SHORTEST_WINDOW:g} or more, but not inf"
        )
    if not 0 <= threshold < 1:
        raise UserError(
            f"--vad_threshold {threshold}: give a probability below 1, or 0 to treat "
            "everything as speech"
        )
    if people is not None and people < 2:
        raise UserError(f"--num_people {people}: give 2 or more")
    most = max((count for count in talkers if count is not None), default=0)
    if people is not None and most > people:
        raise UserError(f"--num_talkers {most}: is more than --num_people {people}")
