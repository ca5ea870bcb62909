"""Read what scoring compares: references and hypotheses of one set.

Nothing is silently dropped: bad input is a `UserError`, and a reference without a
hypothesis is scored as deletions.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Union

from espnet_mtasr.data.tables import check_same_ids, check_sot_text, read_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring.conditions import TABLE, Conditions, read_conditions
from espnet_mtasr.scoring.error_counts import MAX_STREAMS
from espnet_mtasr.text.sot import SC, split_sot

PathLike = Union[str, Path]


@dataclass(frozen=True)
class References:
    """What was said. `texts`: one per talker, in onset order; `overlaps`: fractions."""

    texts: Dict[str, List[str]]
    overlaps: Optional[Dict[str, float]] = None
    conditions: Optional[Dict[str, Conditions]] = None

    @property
    def num_talkers(self) -> Dict[str, int]:
        return {utt: len(texts) for utt, texts in self.texts.items()}

    def normalized(self, normalize: Callable[[str], str]) -> "References":
        """The same with all texts normalized."""
        return replace(self, texts=_normalized(self.texts, normalize))


@dataclass(frozen=True)
class Hypotheses:
    """What was recognized. `rtf`: real-time factor at batch size 1, a ratio."""

    texts: Dict[str, List[str]]
    num_talkers: Dict[str, int] = field(default_factory=dict)
    rtf: Optional[float] = None

    def normalized(self, normalize: Callable[[str], str]) -> "Hypotheses":
        """The same with all texts normalized."""
        return replace(self, texts=_normalized(self.texts, normalize))


def _normalized(
    texts: Dict[str, List[str]], normalize: Callable[[str], str]
) -> Dict[str, List[str]]:
    return {utt: [normalize(text) for text in parts] for utt, parts in texts.items()}


def read_references(directory: PathLike, talker_counts: Sequence[int]) -> References:
    """Read `text` and `utt2num_spk`, and `utt2overlap` and `utt2conditions` if present.

    Raises:
        UserError: see `read_table`, `check_same_ids`, `check_sot_text` and
            `read_conditions`; or an overlap isn't a number in [0, 1].
    """
    directory = Path(directory)
    optional = [n for n in ("utt2overlap", TABLE) if (directory / n).exists()]
    names = ["text", "utt2num_spk", *optional]
    tables = {name: read_table(directory / name) for name in names}
    check_same_ids({str(directory / name): table for name, table in tables.items()})
    check_sot_text(
        directory / "text", tables["text"], talker_counts, tables["utt2num_spk"]
    )
    overlaps = None
    if "utt2overlap" in tables:
        path = directory / "utt2overlap"
        overlaps = {u: _parse_overlap(path, u, v) for u, v in tables[path.name].items()}
    return References(
        {u: split_sot(t) for u, t in tables["text"].items()},
        overlaps,
        read_conditions(directory / TABLE) if TABLE in tables else None,
    )


def read_hypotheses(directory: PathLike, references: References) -> Hypotheses:
    """Read a decode directory that has predicted talker counts.

    `text` is SOT. An id alone is an empty hypothesis; it doesn't show the number of
    streams, but `utt2num_spk` does. `rtf.json`, if present, has `rtf` and `batch_size`;
    a factor measured at a batch size other than 1 is not reported.

    Raises:
        UserError: see `read_table` and `check_same_ids`; an id has no reference, a
            count isn't a number or doesn't match the text, or `rtf.json` is bad.
    """
    directory = Path(directory)
    path, count_path = directory / "text", directory / "utt2num_spk"
    texts, counts = read_table(path), read_table(count_path)
    check_same_ids({str(path): texts, str(count_path): counts})
    num_talkers = {utt: _parse_count(count_path, utt, v) for utt, v in counts.items()}
    return Hypotheses(
        _split_hypotheses(path, texts, references, num_talkers, str(count_path)),
        num_talkers,
        _read_rtf(directory / "rtf.json"),
    )


def read_oracle_hypotheses(directory: PathLike, references: References) -> Hypotheses:
    """Read `text` of a decode directory whose talker counts were given.

    A decoder that may write more or fewer texts than the given count states their
    number in `utt2num_spk`; without that file, there must be as many as talkers.

    Raises:
        UserError: see `read_table` and `check_same_ids`; an id has no reference, or the
            number of texts isn't the true count or that of `utt2num_spk`.
    """
    path = Path(directory) / "text"
    if path.with_name("utt2num_spk").exists():
        return read_hypotheses(directory, references)
    return Hypotheses(
        _split_hypotheses(
            path,
            read_table(path),
            references,
            references.num_talkers,
            "the reference, whose count --oracle_decode_dir must use,",
        )
    )


def _split_hypotheses(
    path: Path,
    texts: Dict[str, str],
    references: References,
    num_talkers: Dict[str, int],
    source: str,
) -> Dict[str, List[str]]:
    streams = {}
    for utt, text in texts.items():
        if utt not in references.texts:
            raise UserError(
                f"{path}: id {utt} is not in the reference; decode the set that you "
                f"score, or remove the line"
            )
        streams[utt] = split_sot(text)
        if text and len(streams[utt]) != num_talkers[utt]:
            raise UserError(
                f"{path}: {utt} has {len(streams[utt])} texts separated by {SC}, but "
                f"{source} says {num_talkers[utt]}; decode again"
            )
    return streams


def _parse_count(path: Path, utt: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) <= MAX_STREAMS):
        raise UserError(
            f"{path}: {utt} has talker count {value!r}, which is not a number from 0 "
            f"to {MAX_STREAMS}; decode again"
        )
    return int(value)


def _parse_overlap(path: Path, utt: str, value: str) -> float:
    try:
        overlap = float(value)
    except ValueError:
        overlap = -1.0
    if not 0.0 <= overlap <= 1.0:
        raise UserError(
            f"{path}: {utt} has overlap {value!r}, which is not a number from 0 to 1; "
            f"fix it or remove the file"
        )
    return overlap


def _read_rtf(path: Path) -> Optional[float]:
    if not path.exists():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        rtf, batch_size = report["rtf"], report.get("batch_size", 1)
        rtf = None if rtf is None else float(rtf)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(
            f'{path}: has no {{"rtf": number or null}}; decode again or remove it'
        ) from None
    return rtf if batch_size == 1 else None
