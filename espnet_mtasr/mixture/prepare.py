"""Stages 2 to 4: perturb the speed of, format, and filter data directories.

This replaces ESPnet's format_wav_scp and length filter, for recordings
(audio_format.py) and for specs of mixtures that are made while loading
(source_check.py).
"""

from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from espnet_mtasr.data.audio_format import AudioForm, format_audio
from espnet_mtasr.data.tables import read_data_dir, read_table, write_data_dir
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_list
from espnet_mtasr.mixture.source_check import format_specs
from espnet_mtasr.mixture.spec import at_speed, parse_specs

Tables = Dict[str, Dict[str, str]]
# Share of a training set's recordings: more means that a disk or a path is missing.
MAX_UNREADABLE = 0.01


def read_sources(
    source: Path, on_the_fly: bool, talker_counts: Sequence[int] = ()
) -> Tables:
    """Read a set; one that is mixed while loading has no `wav.scp`.

    Raises:
        UserError: tables are bad, or there are no recordings without `on_the_fly`.
    """
    tables = read_data_dir(source, talker_counts or None)
    if on_the_fly and "utt2mixture" in tables:
        tables.pop("wav.scp", None)
    elif "wav.scp" not in tables:
        raise UserError(f"{source}/wav.scp: no such file; add --on_the_fly true")
    return tables


def format_set(
    source: Path,
    target: Path,
    fs: int,
    audio_format: str,
    nj: int,
    talker_counts: Sequence[int],
    skip_bad: bool,
    on_the_fly: bool = False,
    max_unreadable: float = MAX_UNREADABLE,
) -> str:
    """Run stage 3 for one set.

    Args:
        fs: Rate in Hz.
        audio_format: One of `data.audio_format.FORMATS`.
        nj: Processes.
        talker_counts: Those of the recipe.
        skip_bad: Skip bad recordings and list them in `skipped.txt` (training);
            otherwise the first one stops the stage.
        on_the_fly: Mixtures with a spec need no recording.
        max_unreadable: Maximum share of bad recordings with `skip_bad`.

    Returns:
        One line of report.

    Raises:
        UserError: tables are bad, or too many recordings are (any without `skip_bad`).
    """
    tables = read_sources(source, on_the_fly, talker_counts)
    num_cased = lower_case(tables["text"])
    if "wav.scp" in tables:
        form = AudioForm(target / "audio", fs, audio_format)
        kept, bad = format_audio(tables, form, nj)
    else:
        kept, bad = format_specs(source, tables, fs, nj)
    if bad and not skip_bad:
        raise UserError(bad[0].split(" ", 1)[1])
    if not kept["text"]:
        raise UserError(f"{source}: no usable recording; the first: {bad[0]}")
    write_list(target / "skipped.txt", bad)
    _check_share(source, bad, len(tables["text"]), max_unreadable, target)
    write_data_dir(target, kept)
    skipped = f", {len(bad)} skipped: {target}/skipped.txt" if bad else ""
    made = "" if "wav.scp" in kept else " to be made while loading"
    lowered = f", {num_cased} texts put into lower case" if num_cased else ""
    return f"{target}: {len(kept['text'])} mixtures{made}{skipped}{lowered}"


def _check_share(
    source: Path, bad: Sequence[str], total: int, max_unreadable: float, target: Path
) -> None:
    """Raise `UserError` if more than a share of `total` recordings are bad."""
    if len(bad) > max_unreadable * total:
        raise UserError(
            f"{source}: {len(bad)} of {total} recordings ({100 * len(bad) / total:.2f} "
            f"%) can't be used, see {target}/skipped.txt, the first: {bad[0]}; fix "
            f"them or raise --max_unreadable"
        )


def lower_case(texts: Dict[str, str]) -> int:
    """Lower-case texts, as in stage 1; return how many weren't.

    Language models have different tokens for lower-case and upper-case words.
    """
    cased = {utt: text for utt, text in texts.items() if text != text.lower()}
    texts.update({utt: text.lower() for utt, text in cased.items()})
    return len(cased)


def filter_set(
    source: Path, target: Path, fs: int, min_seconds: float, max_seconds: float
) -> str:
    """Run stage 4 for one training set: drop too long and too short mixtures.

    Returns:
        One line of report.

    Raises:
        UserError: nothing is left.
    """
    tables = read_data_dir(source)
    tables["utt2num_samples"] = read_table(source / "utt2num_samples")
    seconds = {u: int(n) / fs for u, n in tables["utt2num_samples"].items()}
    keep = {u for u, s in seconds.items() if min_seconds <= s <= max_seconds}
    if not keep:
        raise UserError(
            f"{source}: no mixture between {min_seconds} and {max_seconds} s; "
            f"change --min_wav_duration or --max_wav_duration"
        )
    dropped = [f"{u} {s:.2f} s" for u, s in sorted(seconds.items()) if u not in keep]
    write_list(target / "dropped.txt", dropped)
    write_data_dir(target, tables, keep)
    return f"{target}: {len(keep)} mixtures, {len(dropped)} too short or too long"


def copy_set(source: Path, target: Path) -> str:
    """Run stage 4 for a dev or test set: nothing is dropped."""
    tables = read_data_dir(source)
    tables["utt2num_samples"] = read_table(source / "utt2num_samples")
    write_data_dir(target, tables)
    return f"{target}: {len(tables['text'])} mixtures"


def perturb_set(
    source: Path,
    target: Path,
    factors: Sequence[str],
    fs: int,
    nj: int,
    on_the_fly: bool = False,
    max_unreadable: float = MAX_UNREADABLE,
) -> str:
    """Run stage 2: add copies at other speeds to a training set; onsets are scaled.

    For mixtures that are made while loading, the speed goes into the specs.

    Returns:
        One line of report.

    Raises:
        UserError: a factor is not a number from 0.1 to 10, or more than the share
            `max_unreadable` of the recordings are bad.
    """
    merged: Tables = {}
    skipped: List[str] = []
    for factor in factors:
        if not _is_speed(factor):
            raise UserError(
                f"--speed_perturb_factors {factor}: give e.g. '0.9 1.0 1.1'"
            )
        tables, bad = _perturbed(
            read_sources(source, on_the_fly), source, target, factor, fs, nj
        )
        prefix = "" if float(factor) == 1.0 else f"sp{factor}-"
        skipped += [f"{prefix}{line}" for line in bad]
        for name, table in tables.items():
            rows = merged.setdefault(name, {})
            rows.update({f"{prefix}{u}": v for u, v in table.items()})
    if not merged["text"]:
        raise UserError(f"{source}: no usable recording; the first: {skipped[0]}")
    write_list(target / "skipped.txt", skipped)
    total = len(merged["text"]) + len(skipped)
    _check_share(source, skipped, total, max_unreadable, target)
    write_data_dir(target, merged)
    left_out = f", {len(skipped)} skipped: {target}/skipped.txt" if skipped else ""
    speeds = " ".join(factors)
    return f"{target}: {len(merged['text'])} mixtures at speeds {speeds}{left_out}"


def _perturbed(
    tables: Tables, source: Path, target: Path, factor: str, fs: int, nj: int
) -> Tuple[Tables, List[str]]:
    """Return a set's tables at another speed, and a line for each bad recording."""
    bad: List[str] = []
    speed = float(factor)
    if "wav.scp" not in tables:
        specs = parse_specs(tables["utt2mixture"], source / "utt2mixture")
        tables["utt2mixture"] = {
            utt: at_speed(spec, speed).to_line() for utt, spec in specs.items()
        }
    else:
        # Specs are for mixtures at their own speed.
        tables.pop("utt2mixture", None)
        if speed != 1.0 or "segments" in tables:
            out_dir = target / f"audio_sp{factor}"
            form = AudioForm(out_dir, fs, "flac", factor if speed != 1.0 else "1")
            tables, bad = format_audio(tables, form, nj)
            del tables["utt2num_samples"]
    if "onsets" in tables and speed != 1.0:
        tables["onsets"] = {
            u: " ".join(f"{float(o) / speed:.4f}" for o in v.split())
            for u, v in tables["onsets"].items()
        }
    return tables, bad


def _is_speed(text: str) -> bool:
    try:
        return 0.1 <= float(text) <= 10.0
    except ValueError:
        return False
