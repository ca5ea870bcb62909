"""Stages 2 to 4: perturb the speed of, format, and filter data directories.

What ESPnet's format_wav_scp and length filter do, without Kaldi or sox.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_list
from espnet_mtasr.mixture.audio_check import AudioInfo, check_audio
from espnet_mtasr.mixture.data_dir import (
    read_data_dir,
    read_table,
    write_data_dir,
)
from espnet_mtasr.mixture.progress import progress

FORMATS = {"flac": "FLAC", "wav": "WAV"}


def _format_one(job: Tuple[str, str, str, int, str, str]) -> Tuple[str, str, int, str]:
    """Return id, path, samples and what is wrong, if anything."""
    import soundfile
    from scipy.signal import resample_poly

    utt, source, out_dir, fs, audio_format, factor = job
    try:
        info = check_audio(source, utt)
        wanted = AudioInfo(info.num_samples, fs, 1, FORMATS[audio_format], "PCM_16")
        if info == wanted and factor == "1":
            return utt, source, info.num_samples, ""
        samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    except UserError as e:
        return utt, source, 0, str(e)
    except soundfile.LibsndfileError as e:
        problem = f"{source} (utterance {utt}): is broken ({e}); replace it"
        return utt, source, 0, problem
    target = Path(out_dir) / f"{utt}.{audio_format}"
    # Playing `factor` times faster leaves 1 / factor of the samples.
    ratio = Fraction(fs, rate) / Fraction(factor).limit_denominator(100)
    mono = resample_poly(samples.mean(1), ratio.numerator, ratio.denominator)
    part = target.with_name(target.name + ".part")
    soundfile.write(part, mono, fs, "PCM_16", format=FORMATS[audio_format])
    os.replace(part, target)
    return utt, str(target.absolute()), len(mono), ""


def format_audio(
    tables: Dict[str, Dict[str, str]],
    out_dir: Path,
    fs: int,
    audio_format: str,
    nj: int,
    speed_factor: str = "1",
) -> Tuple[Dict[str, Dict[str, str]], List[str]]:
    """Bring the recordings of a data directory into one form.

    A recording that has it already is left where it is.

    Args:
        tables: From `read_data_dir`.
        out_dir: Where converted recordings go.
        fs: Wanted rate in Hz.
        audio_format: `flac` or `wav`, 16 bits, one channel.
        nj: Processes.
        speed_factor: Times faster, for instance 0.9.

    Returns:
        Tables of the good recordings, with `utt2num_samples`, and a line for each bad
        one.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    label = f"{out_dir.parent.name}: recordings"
    jobs = [
        (utt, path, str(out_dir), fs, audio_format, speed_factor)
        for utt, path in tables["wav.scp"].items()
    ]
    if nj > 1:
        with ProcessPoolExecutor(nj) as pool:
            results = pool.map(_format_one, jobs, chunksize=16)
            results = list(progress(results, len(jobs), label))
    else:
        results = list(progress(map(_format_one, jobs), len(jobs), label))
    bad = [f"{utt} {problem}" for utt, _, _, problem in results if problem]
    good = {utt: (path, n) for utt, path, n, problem in results if not problem}
    kept = {
        name: {utt: value for utt, value in table.items() if utt in good}
        for name, table in tables.items()
    }
    kept["wav.scp"] = {utt: path for utt, (path, _) in good.items()}
    kept["utt2num_samples"] = {utt: str(n) for utt, (_, n) in good.items()}
    return kept, bad


def format_set(
    source: Path,
    target: Path,
    fs: int,
    audio_format: str,
    nj: int,
    talker_counts: Sequence[int],
    skip_bad: bool,
) -> str:
    """Stage 3 for one set.

    Args:
        skip_bad: Leave bad recordings out and list them in `skipped.txt` (training);
            else the first one stops the stage.

    Returns:
        One line of report.

    Raises:
        UserError: bad tables, no good recording, or a bad one and not `skip_bad`.
    """
    tables = read_data_dir(source, talker_counts)
    kept, bad = format_audio(tables, target / "audio", fs, audio_format, nj)
    if bad and not skip_bad:
        raise UserError(bad[0].split(" ", 1)[1])
    if not kept["wav.scp"]:
        raise UserError(f"{source}: no usable recording; the first: {bad[0]}")
    write_list(target / "skipped.txt", bad)
    write_data_dir(target, kept)
    skipped = f", {len(bad)} skipped: {target}/skipped.txt" if bad else ""
    return f"{target}: {len(kept['wav.scp'])} mixtures{skipped}"


def filter_set(
    source: Path, target: Path, fs: int, min_seconds: float, max_seconds: float
) -> str:
    """Stage 4 for one training set: drop too long and too short mixtures.

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
    """Stage 4 for a dev or test set: nothing is ever dropped."""
    tables = read_data_dir(source)
    tables["utt2num_samples"] = read_table(source / "utt2num_samples")
    write_data_dir(target, tables)
    return f"{target}: {len(tables['wav.scp'])} mixtures"


def perturb_set(
    source: Path, target: Path, factors: Sequence[str], fs: int, nj: int
) -> str:
    """Stage 2: a training set with copies at other speeds; onsets scale along.

    Returns:
        One line of report.

    Raises:
        UserError: a factor is not a number from 0.1 to 10.
    """
    merged: Dict[str, Dict[str, str]] = {}
    skipped: List[str] = []
    for factor in factors:
        if not _is_speed(factor):
            raise UserError(
                f"--speed_perturb_factors {factor}: give e.g. '0.9 1.0 1.1'"
            )
        tables = read_data_dir(source)
        # Recipes are of mixtures at their own speed.
        tables.pop("utt2mixture", None)
        prefix = ""
        if float(factor) != 1.0:
            prefix = f"sp{factor}-"
            tables, bad = format_audio(
                tables, target / f"audio_sp{factor}", fs, "flac", nj, factor
            )
            skipped += [f"{prefix}{line}" for line in bad]
            del tables["utt2num_samples"]
            if "onsets" in tables:
                tables["onsets"] = {
                    u: " ".join(f"{float(o) / float(factor):.4f}" for o in v.split())
                    for u, v in tables["onsets"].items()
                }
        for name, table in tables.items():
            rows = merged.setdefault(name, {})
            rows.update({f"{prefix}{u}": v for u, v in table.items()})
    if not merged["wav.scp"]:
        raise UserError(f"{source}: no usable recording; the first: {skipped[0]}")
    write_list(target / "skipped.txt", skipped)
    write_data_dir(target, merged)
    left_out = f", {len(skipped)} skipped: {target}/skipped.txt" if skipped else ""
    speeds = " ".join(factors)
    return f"{target}: {len(merged['wav.scp'])} mixtures at speeds {speeds}{left_out}"


def _is_speed(text: str) -> bool:
    try:
        return 0.1 <= float(text) <= 10.0
    except ValueError:
        return False
