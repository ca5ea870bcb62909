"""Mixture metadata: LibriMix's CSV columns plus an onset per talker.

LibriMix (Cosentino et al., arXiv 2005.11262) stores one row per mixture: `mixture_ID`,
`source_K_path` and `source_K_gain` per talker, `noise_path`, `noise_gain`. Paths are
relative to the LibriSpeech and WHAM! folders. Onsets follow ESPnet's 2-talker recipe:
absolute seconds of talker 2 in `offset`, or of talkers 2, 3, ... in `offset1`,
`offset2`, ...; talker 1 starts at 0. Without these columns all start at 0.
"""

import csv
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple, Union

from espnet_mtasr.data.names import check_below, check_name
from espnet_mtasr.errors import UserError

PathLike = Union[str, Path]


@dataclass(frozen=True)
class MixtureRow:
    """One mixture.

    Attributes:
        mixture_id: Unique in its file, no white space.
        source_paths: One per talker, relative to the LibriSpeech folder.
        source_gains: Linear factors.
        onsets: Seconds from the mixture's start; the first is 0.
        noise_path: Relative to the WHAM! noise folder; None without noise.
        noise_gain: Linear factor; None without noise.
        texts: Texts in the list, if any; they must match the transcripts.
        seconds: Lengths of the sources in the list, if any.
        origin: FILE:LINE that it was read from, for messages.
    """

    mixture_id: str
    source_paths: Tuple[str, ...]
    source_gains: Tuple[float, ...]
    onsets: Tuple[float, ...]
    noise_path: Optional[str] = None
    noise_gain: Optional[float] = None
    texts: Optional[Tuple[str, ...]] = None
    seconds: Optional[Tuple[float, ...]] = None
    origin: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        n = len(self.source_paths)
        if not n == len(self.source_gains) == len(self.onsets) > 0:
            raise ValueError(
                f"{self.mixture_id}: {n} paths, {len(self.source_gains)} gains, "
                f"{len(self.onsets)} onsets; one of each per talker is needed"
            )

    @property
    def n_talkers(self) -> int:
        return len(self.source_paths)


def onset_columns(n_talkers: int) -> List[str]:
    """Return the onset columns of talkers 2, 3, ...

    >>> onset_columns(2)
    ['offset']
    >>> onset_columns(3)
    ['offset1', 'offset2']
    """
    if n_talkers == 2:
        return ["offset"]
    return [f"offset{k}" for k in range(1, n_talkers)]


def is_info_file(path: PathLike) -> bool:
    """Return whether a CSV is one of LibriMix's lists of talkers, not of mixtures.

    >>> is_info_file("metadata/Libri3Mix/libri3mix_dev-clean_info.csv")
    True
    """
    return Path(path).stem.endswith("_info")


def has_onsets(path: PathLike) -> bool:
    """Return whether a CSV has onsets; otherwise all talkers begin at 0."""
    with Path(path).open(encoding="utf-8", newline="") as f:
        return any(c.startswith("offset") for c in next(csv.reader(f), []))


def read_metadata(path: PathLike) -> List[MixtureRow]:
    """Read a metadata CSV of any number of talkers; unknown columns are ignored.

    Raises:
        UserError: the file or a column is missing, a cell is empty or not a number, an
            onset is negative, or a mixture occurs twice.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such metadata file; run the step that makes it")
    if is_info_file(path):
        raise UserError(
            f"{path}: is LibriMix's list of talkers, not of mixtures; give "
            f"{path.with_name(path.name.replace('_info.csv', '.csv'))}"
        )
    with path.open(encoding="utf-8", newline="") as f:
        reader = csv.DictReader(f)
        columns = list(reader.fieldnames or [])
        n_talkers, onsets, has_noise = _check_columns(path, columns)
        rows = []
        first_line: Dict[str, int] = {}
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            row = _parse_row(where, cells, n_talkers, onsets, has_noise)
            if row.mixture_id in first_line:
                raise UserError(
                    f"{where}: mixture_ID {row.mixture_id} stands in line "
                    f"{first_line[row.mixture_id]} too; keep one"
                )
            first_line[row.mixture_id] = reader.line_num
            rows.append(row)
    if not rows:
        raise UserError(f"{path}: has no mixtures; make it again")
    return rows


def _check_columns(path: Path, columns: List[str]) -> Tuple[int, List[str], bool]:
    n_talkers = 0
    while f"source_{n_talkers + 1}_path" in columns:
        n_talkers += 1
    needed = ["mixture_ID", "source_1_path"]
    needed += [f"source_{k}_gain" for k in range(1, n_talkers + 1)]
    has_noise = "noise_path" in columns
    if has_noise:
        needed.append("noise_gain")
    onsets = onset_columns(n_talkers)
    if n_talkers == 2 and "offset1" in columns and "offset" not in columns:
        onsets = ["offset1"]
    if any(c in columns for c in onsets):
        needed += onsets
    else:
        given = [c for c in columns if c.startswith("offset")]
        if given:
            raise UserError(
                f"{path}:1: column {given[0]} does not fit {n_talkers} talkers; "
                f"name the onsets {', '.join(onsets) or 'not at all'}"
            )
        onsets = []
    for column in needed:
        if column not in columns:
            raise UserError(
                f"{path}:1: lacks column {column}; its columns are {','.join(columns)}"
            )
    return n_talkers, onsets, has_noise


def _parse_row(
    where: str,
    cells: Dict[str, Optional[str]],
    n_talkers: int,
    onset_names: List[str],
    has_noise: bool,
) -> MixtureRow:
    def text(column: str) -> str:
        value = (cells[column] or "").strip()
        if not value:
            raise UserError(f"{where}: column {column} is empty; fill it")
        return value

    def number(column: str) -> float:
        value = text(column)
        try:
            parsed = float(value)
        except ValueError:
            parsed = math.nan
        if not math.isfinite(parsed):
            raise UserError(f"{where}: column {column} has {value!r}, not a number")
        return parsed

    mixture_id = text("mixture_ID")
    if len(mixture_id.split()) > 1:
        raise UserError(f"{where}: mixture_ID {mixture_id!r} contains white space")
    check_name(mixture_id, f"{where}: mixture_ID")
    onsets = [0.0] * n_talkers
    for k, column in enumerate(onset_names, 1):
        onsets[k] = number(column)
        if onsets[k] < 0:
            raise UserError(f"{where}: column {column} is negative; onsets start at 0")
    talkers = range(1, n_talkers + 1)

    def below(column: str, root: str) -> str:
        path = text(column)
        check_below(path, f"{where}: {column}", root)
        return path

    return MixtureRow(
        mixture_id,
        tuple(below(f"source_{k}_path", "the corpus") for k in talkers),
        tuple(number(f"source_{k}_gain") for k in talkers),
        tuple(onsets),
        below("noise_path", "the noise's folder") if has_noise else None,
        number("noise_gain") if has_noise else None,
        origin=where,
    )


def write_metadata(path: PathLike, rows: Sequence[MixtureRow]) -> None:
    """Write mixtures of one talker count like LibriMix, atomically.

    Raises:
        ValueError: there are no rows, talker counts are mixed, only some rows have
            noise, or a first onset isn't 0.
    """
    path = Path(path)
    counts = {(row.n_talkers, row.noise_gain is None) for row in rows}
    if len(counts) != 1:
        raise ValueError(f"{path}: (talkers, no noise) must agree, got {counts}")
    late = [row.mixture_id for row in rows if row.onsets[0] != 0]
    if late:
        raise ValueError(f"{path}: talker 1 of {late[0]} does not start at 0")
    n_talkers, no_noise = counts.pop()
    header = ["mixture_ID"]
    for k in range(1, n_talkers + 1):
        header += [f"source_{k}_path", f"source_{k}_gain"]
    if not no_noise:
        header += ["noise_path", "noise_gain"]
    header += onset_columns(n_talkers)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            cells: List[object] = [row.mixture_id]
            for source, gain in zip(row.source_paths, row.source_gains):
                cells += [source, repr(float(gain))]
            if row.noise_gain is not None:
                cells += [row.noise_path, repr(float(row.noise_gain))]
            cells += [repr(float(onset)) for onset in row.onsets[1:]]
            writer.writerow(cells)
    os.replace(part, path)
