"""What a CTC computed over time, reduced to what a picture shows, and its table.

Stage 12 writes `posteriors` beside a set's texts: per mixture its id and one word,
base64 of zlib of JSON, a list with an object per stream (`Posteriors`).
"""

import base64
import json
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence

import numpy as np

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError

TABLE = "posteriors"


class Peak(NamedTuple):
    """A token that greedy search writes.

    Attributes:
        frame: Its most probable frame.
        token: As in the token list.
    """

    frame: int
    token: str


class Posteriors(NamedTuple):
    """CTC posteriors of a stream; its T frames cover the recording.

    Attributes:
        best: Probability of the most probable token that isn't the blank, in percent,
            per frame.
        blank: Probability of the blank, in percent, per frame.
        peaks: In their order.
    """

    best: List[int]
    blank: List[int]
    peaks: List[Peak]

    def padded(self, before: float, seconds: float, after: float) -> "Posteriors":
        """Cover silence at the ends as well, with blanks.

        Args:
            before: Seconds of silence before the T frames.
            seconds: That the T frames cover.
            after: Seconds of silence after them.
        """
        rate = len(self.best) / seconds
        first, last = round(before * rate), round(after * rate)
        return Posteriors(
            [0] * first + self.best + [0] * last,
            [100] * first + self.blank + [100] * last,
            [peak._replace(frame=first + peak.frame) for peak in self.peaks],
        )


# Set and utterance to the streams' posteriors, None if they weren't stored; a
# `UserError` if they can't be read.
ReadPosteriors = Callable[[str, str], Optional[List[Posteriors]]]


def summarize(
    best: np.ndarray, blank: np.ndarray, ids: np.ndarray, token_list: Sequence[str]
) -> Posteriors:
    """Reduce posteriors of T frames and V tokens.

    Args:
        best: `(T,)` probability of the most probable token that isn't the blank.
        blank: `(T,)` probability of the blank.
        ids: `(T,)` most probable token, the blank included.
        token_list: The V tokens; the first is the blank.

    >>> best, blank = np.array([0.1, 0.7, 0.8, 0.1]), np.array([0.9, 0.1, 0.2, 0.9])
    >>> summarize(best, blank, np.array([0, 1, 1, 0]), ["<blank>", "go"]).peaks
    [Peak(frame=2, token='go')]
    """
    return Posteriors(
        _percent(best), _percent(blank), find_peaks(ids, best, token_list)
    )


def _percent(values: np.ndarray) -> List[int]:
    return np.rint(100 * values).astype(int).tolist()


def find_peaks(
    ids: np.ndarray, best: np.ndarray, token_list: Sequence[str]
) -> List[Peak]:
    """Return the tokens that greedy search writes; see `summarize`."""
    if len(ids) == 0:
        return []
    runs = np.split(np.arange(len(ids)), np.flatnonzero(np.diff(ids)) + 1)
    return [
        Peak(int(run[best[run].argmax()]), token_list[ids[run[0]]])
        for run in runs
        if ids[run[0]] != 0
    ]


def pack(streams: Sequence[Posteriors]) -> str:
    """Return the word of the table."""
    content = json.dumps([s._asdict() for s in streams], separators=(",", ":"))
    return base64.b64encode(zlib.compress(content.encode(), 9)).decode()


def unpack(word: str) -> List[Posteriors]:
    """Undo `pack`.

    Raises:
        ValueError: the word is damaged.

    >>> unpack(pack([Posteriors([1, 99], [98, 0], [Peak(1, "go")])]))
    [Posteriors(best=[1, 99], blank=[98, 0], peaks=[Peak(frame=1, token='go')])]
    """
    try:
        content = zlib.decompress(base64.b64decode(word, validate=True))
        return [
            Posteriors(s["best"], s["blank"], [Peak(*peak) for peak in s["peaks"]])
            for s in json.loads(content)
        ]
    except (zlib.error, KeyError, TypeError) as e:
        raise ValueError(str(e)) from e


def read_by_id(decode_dir: Path, names: Iterable[str]) -> Optional[ReadPosteriors]:
    """Return what reads the posteriors of mixtures; None if none were stored.

    Args:
        decode_dir: Has SET/posteriors of those sets for which they were stored.
        names: Of the sets.
    """
    if not any((decode_dir / name / TABLE).is_file() for name in names):
        return None

    # Mixtures are read set by set.
    @lru_cache(maxsize=1)
    def read(name: str) -> Dict[str, str]:
        path = decode_dir / name / TABLE
        return read_table(path) if path.is_file() else {}

    def streams_of(name: str, utt: str) -> Optional[List[Posteriors]]:
        word = read(name).get(utt)
        if word is None:
            return None
        try:
            return unpack(word)
        except ValueError as e:
            path = decode_dir / name / TABLE
            raise UserError(f"{path}: {utt} is damaged; run stage 12 again") from e

    return streams_of
