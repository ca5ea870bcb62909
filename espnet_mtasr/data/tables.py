"""Kaldi-style data directories: read, write and check their files.

A data directory needs its speech and a SOT `text`; `utt2num_spk` has the talker counts.
Optional: `onsets` (seconds, one per talker), `utt2overlap` (fraction of the speech time
in which two or more talk), `utt2spk`. Sets whose recordings cut words off (mode min)
have no `text`. Stage 13 adds `utt2conditions` (scoring/conditions.py).

The speech is `wav.scp`: a recording per utterance or, with `segments` (`UTTERANCE
RECORDING START END`, seconds), recordings out of which stage 3 cuts the utterances; it
averages several channels, and reads Kaldi's commands and archives. Mixtures may also be
given by `utt2mixture` (mixture/spec.py). If there is only that, they are made while
loading.
"""

import math
from pathlib import Path
from typing import Dict, Iterable, Mapping, Optional, Sequence, Union

from espnet_mtasr.data.names import check_name
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole
from espnet_mtasr.text.sot import SC, count_talkers, split_sot

PathLike = Union[str, Path]
OPTIONAL = (
    "utt2num_spk",
    "onsets",
    "utt2overlap",
    "utt2spk",
    "utt2mixture",
    "segments",
)
# Computed from the other tables: removed when they are written, and never copied.
DERIVED = ("utt2conditions",)


def read_table(path: PathLike) -> Dict[str, str]:
    """Read `id value...` lines into an ordered dict.

    Raises:
        UserError: the file is missing, empty or not UTF-8, an id is duplicated, or the
            ids are not sorted in C order.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the stage that makes it")
    table: Dict[str, str] = {}
    last = ""
    try:
        with path.open(encoding="utf-8") as f:
            lines = list(f)
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: is not UTF-8; convert it") from e
    for number, line in enumerate(lines, 1):
        fields = line.split(maxsplit=1)
        if not fields:
            raise UserError(f"{path}:{number}: empty line; remove it")
        utt = fields[0]
        if utt in table:
            raise UserError(f"{path}:{number}: duplicate id {utt}; keep one")
        if utt < last:
            raise UserError(
                f"{path}:{number}: id {utt} after {last} is not sorted; "
                f"run: LC_ALL=C sort -o {path} {path}"
            )
        last = utt
        table[utt] = fields[1].strip() if len(fields) > 1 else ""
    if not table:
        raise UserError(f"{path}: is empty; run the stage that makes it again")
    return table


def write_table(path: PathLike, table: Mapping[str, object]) -> None:
    """Write `id value` lines sorted by id (C order), atomically."""
    lines = [f"{utt} {table[utt]}".rstrip() + "\n" for utt in sorted(table)]
    write_whole(path, "".join(lines))


def check_same_ids(tables: Mapping[str, Mapping[str, object]]) -> None:
    """Raise `UserError` unless all tables (path -> table) have the same ids."""
    (first, reference), *others = tables.items()
    for path, table in others:
        for utt in reference:
            if utt not in table:
                raise UserError(
                    f"{path}: lacks id {utt} of {first}; add it or remove it there"
                )
        for utt in table:
            if utt not in reference:
                raise UserError(
                    f"{first}: lacks id {utt} of {path}; add it or remove it there"
                )


def check_sot_text(
    path: PathLike,
    texts: Mapping[str, str],
    talker_counts: Optional[Iterable[int]] = None,
    utt2num_spk: Optional[Mapping[str, str]] = None,
) -> None:
    """Check every SOT transcript of a `text` file.

    Args:
        path: Named in the messages.
        texts: Utterance id to SOT transcript.
        talker_counts: The recipe's counts; None accepts any.
        utt2num_spk: Utterance id to talker count, which must agree with the text.

    Raises:
        UserError: an unknown talker count, a wrong number of `<sc>`, or a talker
            without words.
    """
    known = None if talker_counts is None else sorted(talker_counts)
    for utt, text in texts.items():
        count = count_talkers(text)
        if utt2num_spk is not None and str(count) != utt2num_spk[utt]:
            raise UserError(
                f"{path}: {utt} has {count} texts separated by {SC} but utt2num_spk "
                f"says {utt2num_spk[utt]}; fix the wrong one"
            )
        if known is not None and count not in known:
            raise UserError(
                f"{path}: {utt} has {count} talkers, but --talker_counts is {known}; "
                "remove it or add the count"
            )
        if not all(split_sot(text)):
            raise UserError(
                f"{path}: {utt} has a talker without words in {text!r}; write that "
                "talker's words or remove the utterance"
            )


def check_segments(
    path: PathLike, segments: Mapping[str, str], recordings: Mapping[str, str]
) -> None:
    """Check the lines of a table `segments`.

    Raises:
        UserError: a segment is of an unknown recording, has no start and end in
            seconds, or doesn't end after its start.
    """
    for utt, line in segments.items():
        recording, *times = line.split() or [""]
        try:
            start, end = map(float, times)
        except ValueError:
            start = end = math.nan
        if not (math.isfinite(end) and start >= 0):
            raise UserError(
                f"{path}: {utt} {line}: give RECORDING START END, times in seconds"
            )
        if recording not in recordings:
            raise UserError(
                f"{path}: {utt} is cut out of {recording}, which is not in wav.scp; "
                "add it or remove the utterance"
            )
        if start >= end:
            raise UserError(
                f"{path}: {utt} ends at {end} s, not after its start at {start} s; fix "
                "it or remove the utterance"
            )


def read_data_dir(
    directory: PathLike,
    talker_counts: Optional[Sequence[int]] = None,
    need_text: bool = True,
) -> Dict[str, Dict[str, str]]:
    """Read and check a data directory.

    Returns:
        File name to table, for `wav.scp`, `text`, `utt2num_spk` and those of the
        optional files that exist. `utt2num_spk` is derived from `text` if missing.
        `wav.scp` may be missing if there is `utt2mixture`; with `segments` its ids are
        those of recordings.

    Raises:
        UserError: see `read_table`, `check_same_ids`, `check_name`, `check_segments`
            and `check_sot_text`.
    """
    directory = Path(directory)
    tables: Dict[str, Dict[str, str]] = {}
    if (directory / "wav.scp").exists() or not (directory / "utt2mixture").exists():
        tables["wav.scp"] = read_table(directory / "wav.scp")
    if need_text:
        if not (directory / "text").exists():
            raise UserError(
                f"{directory}/text: no such file; run the stage that makes it (sets "
                "made with --mode min have none, because they cut words off; use "
                "--mode max)"
            )
        tables["text"] = read_table(directory / "text")
    for name in OPTIONAL:
        if (directory / name).exists():
            tables[name] = read_table(directory / name)
    by_utterance = {
        str(directory / name): table
        for name, table in tables.items()
        if not (name == "wav.scp" and "segments" in tables)
    }
    check_same_ids(by_utterance)
    path, table = next(iter(by_utterance.items()))
    for utt in table:
        # Recordings are named by them.
        check_name(utt, f"{path}: id")
    if "segments" in tables and "wav.scp" in tables:
        check_segments(directory / "segments", tables["segments"], tables["wav.scp"])
    if need_text:
        check_sot_text(
            directory / "text",
            tables["text"],
            talker_counts,
            tables.get("utt2num_spk"),
        )
        tables.setdefault(
            "utt2num_spk",
            {utt: str(count_talkers(t)) for utt, t in tables["text"].items()},
        )
    return tables


def write_data_dir(
    directory: PathLike,
    tables: Mapping[str, Mapping[str, object]],
    keep: Optional[Iterable[str]] = None,
) -> None:
    """Write all tables of a data directory, restricted to the ids in `keep`.

    Tables of an earlier run that are not written now are removed, because their ids are
    of other data.
    """
    kept = None if keep is None else set(keep)
    for name in ("wav.scp", "text", *OPTIONAL, *DERIVED):
        if name not in tables:
            (Path(directory) / name).unlink(missing_ok=True)
    for name, table in tables.items():
        rows = table if kept is None else {u: v for u, v in table.items() if u in kept}
        write_table(Path(directory) / name, rows)
