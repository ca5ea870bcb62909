"""Training on cached outputs of the trunk: checks of its settings and its lists.

`lists/train/trunk.scp` has a line `FOLDER AUDIO` per utterance (asr/trunk_cache.py),
which a training reads as `speech` of data type `text`. `trunk.stat` beside it has size
and time of each mixture's files when its hash was computed. wav.scp (or utt2mixture,
mixture/speech_list.py) has their paths.
"""

import argparse
import os
from pathlib import Path
from typing import Dict, List, Tuple

from espnet_mtasr.asr.trunk_cache import AGAIN, TrunkCache, open_cache, split_line
from espnet_mtasr.data.tables import check_same_ids, read_table, write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.speech_list import (
    Kind,
    Speech,
    kind_of_entry,
    read_speech_list,
)
from espnet_mtasr.tasks.options import is_part

PARTS = ("train", "valid")
# Their effect differs between epochs, or isn't part of the cache's key.
CHANGE_SPEECH = (
    "rir_scp",
    "noise_scp",
    "speech_volume_normalize",
    "data_aug_effects",
    "min_sample_size",
)


def check_cacheable(args: argparse.Namespace) -> None:
    """Raise `UserError` unless the trunk's outputs are the same in every epoch."""
    without = "or train with --cache_trunk false"
    if not any(is_part("encoder.trunk", prefix) for prefix in args.freeze_param):
        raise UserError(
            f"freeze_param: lacks encoder.trunk, whose outputs are cached; "
            f"add it, {without}"
        )
    if args.specaug is not None:
        raise UserError(
            f"specaug: {args.specaug} changes in every epoch what the trunk reads; "
            f"remove it, {without}"
        )
    for name in CHANGE_SPEECH:
        if args.preprocessor_conf.get(name, getattr(args, name, None)):
            raise UserError(
                f"{name}: changes the recordings whose outputs are cached; "
                f"remove it, {without}"
            )
    if not args.use_preprocessor:
        raise UserError(
            f"use_preprocessor: false can't read cached outputs; set true, {without}"
        )
    if args.model_conf.get("count_input", "trunk") != "trunk":
        raise UserError(
            f"model_conf: count_input: {args.model_conf['count_input']} is not cached; "
            f"set it to trunk, {without}"
        )
    if args.train_dtype != "float32":
        raise UserError(
            f"train_dtype: {args.train_dtype}, but the cache is computed in float32; "
            f"set it to float32, {without}"
        )


def cached_lists(args: argparse.Namespace) -> List[Path]:
    """Return the lists of cached outputs that a training reads."""
    entries = [
        *args.train_data_path_and_name_and_type,
        *args.valid_data_path_and_name_and_type,
    ]
    return [
        Path(path)
        for path, name, espnet_type in entries
        if name == "speech" and kind_of_entry(path, espnet_type) is Kind.CACHED
    ]


def check_cached_training(args: argparse.Namespace) -> None:
    """Check settings and lists of a training, if it reads cached outputs.

    Raises:
        UserError: see `check_cacheable`; an output is missing, or a recording has
            changed since its hash was computed.
    """
    paths = cached_lists(args)
    if not paths:
        return
    check_cacheable(args)
    # Read again here, and inherited by the processes that load data.
    open_cache.cache_clear()
    for path in paths:
        tables = {
            str(path.parent / name): read_table(path.parent / name)
            for name in (path.name, "trunk.stat")
        }
        speeches = read_speech_list(path.parent)
        check_same_ids({**tables, f"{path.parent}'s speech": speeches})
        lines, stats = tables.values()
        for utt, line in lines.items():
            folder, audio = split_line(line)
            if audio not in open_cache(folder):
                raise UserError(f"{path}: {folder} lacks {utt}; {AGAIN}")
            if describe_files(speeches[utt]) != stats[utt]:
                files = ", ".join(speeches[utt].files())
                raise UserError(
                    f"{path}: {files} of {utt} has changed since then; {AGAIN}"
                )


def describe_files(speech: Speech) -> str:
    """Return total size in bytes and total time in nanoseconds of its files.

    Raises:
        UserError: there is no such file.
    """
    size, time = 0, 0
    for path in speech.files():
        try:
            stat = os.stat(path)
        except OSError as e:
            raise UserError(f"{path}: no such file; run stage 3 again") from e
        size, time = size + stat.st_size, time + stat.st_mtime_ns
    return f"{size} {time}"


def join(stats_dir: Path, num_jobs: int) -> None:
    """Write `lists/*/trunk.scp` and `trunk.stat` of the jobs' tables.

    Raises:
        UserError: a job's table is missing, or is for other lists or another trunk.
    """
    folders = set()
    count = 0
    for part in PARTS:
        target = stats_dir / "lists" / part
        rows: Dict[str, str] = {}
        for job in range(1, num_jobs + 1):
            table = job_table(stats_dir, part, job)
            # A set smaller than the number of jobs leaves some without a line.
            if not table.exists() or table.stat().st_size:
                rows.update(read_table(table))
        wanted = {f"{target}'s speech": read_speech_list(target)}
        check_same_ids({**wanted, str(job_table(stats_dir, part, 1)): rows})
        lines, stats = {}, {}
        for utt, row in rows.items():
            folder, audio, size, modified = row.rsplit(" ", 3)
            lines[utt], stats[utt] = f"{folder} {audio}", f"{size} {modified}"
            folders.add(folder)
        if len(folders) != 1:
            raise UserError(f"{stats_dir}: its jobs had different trunks; {AGAIN}")
        write_table(target / "trunk.stat", stats)
        write_table(target / "trunk.scp", lines)
        count += len(lines)
    cache = TrunkCache(folders.pop())
    cache.remove_left_overs()
    megabytes = cache.size() / 1e6
    print(f"{stats_dir}/lists: {count} mixtures cached in {cache.folder}", end="")
    print(f" ({len(cache)} in {megabytes:.0f} MB)")


def known_hashes(stats_dir: Path) -> Dict[Tuple[Speech, str], str]:
    """Return hashes of `join`'s lists, by speech and `describe_files`.

    There are none if the lists have no cached outputs.
    """
    hashes = {}
    for part in PARTS:
        folder = stats_dir / "lists" / part
        if not (folder / "trunk.scp").is_file():
            return {}
        stats = read_table(folder / "trunk.stat")
        lines = read_table(folder / "trunk.scp")
        for utt, speech in read_speech_list(folder).items():
            if utt in lines and utt in stats:
                hashes[speech, stats[utt]] = split_line(lines[utt])[1]
    return hashes


def job_table(stats_dir: Path, part: str, job: int) -> Path:
    return stats_dir / "logdir" / f"trunk.{part}.{job}"
