"""Stage 10: compute the outputs of the frozen trunk once, for all epochs of phase 2.

Jobs 1 to N (`--num_jobs N --job J`) share the mixtures in `STATS_DIR/lists`; what lies
in the cache already is not computed again. Then `--join true` with the same
`--num_jobs` writes `lists/*/trunk.scp` for the training. All other options are the
trainer's, with the `--init_param` that phase 2 starts from.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, List, Sequence, TypeVar

from espnet_mtasr.data.tables import check_same_ids, read_table, write_table
from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.mixture.speech_list import Speech, read_speech_list

if TYPE_CHECKING:
    import numpy as np

    from espnet_mtasr.asr.mtasr_model import MTASRModel
    from espnet_mtasr.asr.trunk_cache import TrunkCache

PARTS = ("train", "valid")
T = TypeVar("T")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    # The trainer's options pass through: none may be taken for a short form of ours.
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--config", required=True, help="Training configuration")
    parser.add_argument("--stats_dir", type=Path, required=True, help="With lists/")
    parser.add_argument("--cache_dir", type=Path, required=True, help="May be shared")
    parser.add_argument("--job", type=int, default=1)
    parser.add_argument("--num_jobs", type=int, default=1)
    parser.add_argument(
        "--join", choices=("true", "false"), default="false", help="Write the lists"
    )
    parser.add_argument(
        "--cache_dtype", choices=("float16", "float32"), default="float16"
    )
    parser.add_argument(
        "--cache_batch_size", type=int, default=8, help="Recordings in a batch"
    )
    parser.add_argument(
        "--shard_size",
        type=int,
        default=96,
        help="Recordings in a file: what a job that is stopped may lose",
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU, 1: GPU")
    return parser


def main(cmd=None) -> None:
    """Compute a job's share, or join the jobs' tables to the lists."""
    args, task_options = get_parser().parse_known_args(cmd)
    for name in ("num_jobs", "cache_batch_size", "shard_size"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name)}: give a number from 1")
    if not 1 <= args.job <= args.num_jobs:
        raise UserError(f"--job {args.job}: is not among 1 to {args.num_jobs}")
    if args.join == "true":
        join(args.stats_dir, args.num_jobs)
    else:
        run_job(args, task_options)


def run_job(args: argparse.Namespace, task_options: List[str]) -> None:
    """Compute what the cache lacks of this job's share, and write its table."""
    from espnet_mtasr.asr.trunk_cache import TrunkCache, speech_hash, trunk_hash
    from espnet_mtasr.progress import progress
    from espnet_mtasr.tasks.cached_trunk import check_cacheable, describe_files
    from espnet_mtasr.tasks.mtasr import MTASRTask

    train_args = MTASRTask.parse_config(args.config, task_options)
    MTASRTask.check_args(train_args)
    check_cacheable(train_args)
    speeches = {
        (part, utt): speech
        for part in PARTS
        for utt, speech in read_speech_list(args.stats_dir / "lists" / part).items()
    }
    share = list(speeches.items())[args.job - 1 :: args.num_jobs]
    model = build_model(train_args, "cuda" if args.ngpu > 0 else "cpu")
    cache = TrunkCache.of(args.cache_dir, trunk_hash(model), args.cache_dtype)

    tables: Dict[str, Dict[str, str]] = {part: {} for part in PARTS}
    missing: Dict[str, Speech] = {}
    for (part, utt), speech in progress(share, len(share), "reading recordings"):
        # Its time first: a change during the reading shows later.
        stat = describe_files(speech)
        audio = speech_hash(speech)
        tables[part][utt] = f"{cache.folder} {audio} {stat}"
        if audio not in cache:
            missing[audio] = speech
    print(f"{cache.folder}: has {len(share) - len(missing)} of {len(share)} mixtures")
    fill(cache, model, missing, args.cache_batch_size, args.shard_size)
    for part in PARTS:
        write_table(_table(args.stats_dir, part, args.job), tables[part])


def build_model(train_args: argparse.Namespace, device: str) -> "MTASRModel":
    """The model that phase 2 begins with, less its teacher, in evaluation mode.

    Raises:
        UserError: a file of `init_param` is missing, or training would change a part
            below the branches.
    """
    from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

    from espnet_mtasr.asr.trunk_cache import check_frozen
    from espnet_mtasr.tasks.mtasr import MTASRTask
    from espnet_mtasr.tasks.options import is_part

    train_args.teacher = None
    model = MTASRTask.build_model(train_args)
    for init in train_args.init_param:
        path, _, keys = init.partition(":")
        target = keys.split(":")[1] if ":" in keys else ""
        if not Path(path).is_file():
            raise UserError(f"--init_param {path}: no such file; run stage 8 first")
        # Other parts, the teacher for one, change nothing below the branches.
        if target.split(".")[0] in ("", "frontend", "normalize", "encoder"):
            # Without a target the file is that of a whole model, with its teacher.
            ignore = train_args.ignore_init_mismatch or not target
            load_pretrained_model(init, model, ignore)
    for name, parameter in model.named_parameters():
        if any(is_part(name, prefix) for prefix in train_args.freeze_param):
            parameter.requires_grad = False
    check_frozen(model)
    return model.to(device).eval()


def fill(
    cache: "TrunkCache",
    model: "MTASRModel",
    missing: Dict[str, Speech],
    batch_size: int,
    shard_size: int,
) -> None:
    """Compute the mixtures in `missing` (hash to speech), shard by shard."""
    from espnet_mtasr.progress import progress

    # Neighbours of one length: batches with little padding.
    samples = {audio: s.check(s.value).num_samples for audio, s in missing.items()}
    order = sorted(missing, key=lambda audio: (samples[audio], audio))
    total = -(-len(order) // shard_size)
    for number, shard in enumerate(_chunks(order, shard_size), 1):
        label = f"trunk's outputs, part {number} of {total}"
        outputs: Dict[str, "np.ndarray"] = {}
        batches = list(_chunks(shard, batch_size))
        for batch in progress(batches, len(batches), label):
            arrays = encode(model, [missing[audio] for audio in batch])
            outputs.update(zip(batch, arrays))
        cache.add(outputs)
        # For the log of a job, which is no terminal.
        print(f"{label}: done", flush=True)


def encode(model: "MTASRModel", speeches: Sequence[Speech]) -> List["np.ndarray"]:
    """The trunk's outputs `(T, D)`, float32, of some mixtures.

    Raises:
        UserError: a recording has several channels, or the trunk's `context` can't be
            made without its input.
    """
    import torch

    device = next(model.parameters()).device
    waves = []
    for speech in speeches:
        samples = speech.read()
        if samples.ndim != 1:
            raise UserError(
                f"{speech.value}: has {samples.shape[1]} channels; keep one"
            )
        waves.append(torch.from_numpy(samples))
    lengths = torch.tensor([len(wave) for wave in waves], device=device)
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True).to(device)
    with torch.no_grad():
        trunk = model.encode_trunk(padded, lengths)
        again = model.encoder.restore_trunk(trunk.hidden, trunk.lengths)
    if not _same_context(trunk.context, again.context):
        name = type(model.encoder.trunk).__name__
        raise UserError(
            f"encoder: {name}.make_context can't make the context of its outputs, so "
            f"that they can't be cached; train with --cache_trunk false"
        )
    return [
        hidden[:n].float().cpu().numpy()
        for hidden, n in zip(trunk.hidden, trunk.lengths.tolist())
    ]


def _same_context(wanted, made) -> bool:
    import torch

    if wanted is None or made is None:
        return wanted is made
    return wanted.shape == made.shape and torch.allclose(wanted, made, atol=1e-5)


def join(stats_dir: Path, num_jobs: int) -> None:
    """Write `lists/*/trunk.scp` and `trunk.stat` of the jobs' tables.

    Raises:
        UserError: a job's table is missing, or is of other lists or another trunk.
    """
    from espnet_mtasr.asr.trunk_cache import AGAIN, TrunkCache

    folders = set()
    count = 0
    for part in PARTS:
        target = stats_dir / "lists" / part
        rows: Dict[str, str] = {}
        for job in range(1, num_jobs + 1):
            table = _table(stats_dir, part, job)
            # A set smaller than the number of jobs leaves some without a line.
            if not table.exists() or table.stat().st_size:
                rows.update(read_table(table))
        wanted = {f"{target}'s speech": read_speech_list(target)}
        check_same_ids({**wanted, str(_table(stats_dir, part, 1)): rows})
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


def _table(stats_dir: Path, part: str, job: int) -> Path:
    return stats_dir / "logdir" / f"trunk.{part}.{job}"


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


if __name__ == "__main__":
    run_command_line(main)
