"""`batch_seconds`: batches by seconds of audio instead of by `batch_type`.

ESPnet's `build_sequence_iter_factory` chooses the sampler itself, from a closed list;
with this option the task builds its iterators here, as ESPnet does.
"""

import argparse
import logging
from functools import partial
from typing import Dict, Mapping, Optional, Sequence, Type

import torch
import yaml
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.iterators.sequence_iter_factory import SequenceIterFactory
from espnet2.tasks.abs_task import AbsTask, IteratorOptions
from espnet2.utils.types import float_or_none

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.text.sot import count_talkers
from espnet_mtasr.train.batches import AudioBatchSampler, idle, size
from espnet_mtasr.train.curriculum import CurriculumIterFactory, curriculum_of

# Compatible values; others are for other samplers, or would override this one.
ALLOWED = dict(
    batch_type=("folded",),
    valid_batch_type=(None, "folded"),
    iterator_type=("sequence",),
    valid_iterator_type=(None, "sequence"),
    multiple_iterator=(False,),
    drop_last_iter=(False,),
    min_batch_size=(1,),
    shuffle_within_batch=(False,),
    sort_in_batch=("descending",),
    sort_batch=("descending",),
)


def add_batch_options(group: argparse._ArgumentGroup) -> None:
    """Add `--batch_seconds`, `--sampling_rate` and `--curriculum`."""
    group.add_argument(
        "--batch_seconds",
        type=float_or_none,
        default=None,
        help="Seconds of audio in a batch, including padding, over all processes. "
        "They get similar shares, and each optimizer step (accum_grad batches) has all "
        "talker counts. Replaces batch_type, in validation too",
    )
    group.add_argument(
        "--sampling_rate",
        type=int,
        default=16000,
        help="Samples per second of `speech`, for batch_seconds",
    )
    group.add_argument(
        "--curriculum",
        type=yaml.safe_load,
        default=None,
        help="Stages of the training, each with its first epoch and the shares of "
        "talker counts in an epoch's audio. e.g. "
        "'[{from_epoch: 1, shares: {1: 1.0}}, {from_epoch: 9, shares: {2: 1.0}}]'. "
        "A count that comes later starts from the weights of the next lower count. "
        "Needs batch_seconds",
    )


def check_batch_options(args: argparse.Namespace) -> None:
    """Raise `UserError` for options that conflict or are out of range."""
    if curriculum_of(args) is not None and args.batch_seconds is None:
        raise UserError("curriculum: needs batches by seconds; give batch_seconds")
    if args.batch_seconds is None:
        return
    if not args.batch_seconds > 0.0:
        raise UserError(f"batch_seconds: {args.batch_seconds}; give more than 0")
    if args.sampling_rate < 1:
        raise UserError(f"sampling_rate: {args.sampling_rate}; give Hz, e.g. 16000")
    for option, allowed in ALLOWED.items():
        value = getattr(args, option)
        if value not in allowed:
            raise UserError(
                f"{option}: {value} can't be combined with batch_seconds; remove one "
                "of them"
            )
    number = args.num_iters_per_epoch
    if number is not None and number % args.accum_grad and args.curriculum is None:
        raise UserError(
            f"num_iters_per_epoch: {number} batches don't fill steps of accum_grad: "
            f"{args.accum_grad}; give a multiple of it"
        )


def first_epochs(args: argparse.Namespace) -> Optional[Dict[int, int]]:
    """Return talker count to its first epoch; None without a curriculum."""
    curriculum = curriculum_of(args)
    return None if curriculum is None else curriculum.first_epochs()


def build_seconds_iter_factory(
    task: Type[AbsTask],
    args: argparse.Namespace,
    options: IteratorOptions,
    mode: str,
) -> AbsIterFactory:
    """Build the iterators of a training or validation set.

    Every process makes the same batches and takes its share of each.

    Args:
        task: Builds the data set.
        args: Of the training.
        options: ESPnet's options for building iterators. Its first shape file has the
            samples of `speech`.
        mode: `train` or `valid`.

    Raises:
        UserError: a file is missing, or files disagree.
    """
    rank, processes = 0, 1
    if options.distributed:
        rank = torch.distributed.get_rank()
        processes = torch.distributed.get_world_size()
    samples = read_samples(options.shape_files[0])
    counts = read_talker_counts(options.data_path_and_name_and_type, samples)
    max_samples = round(args.batch_seconds * args.sampling_rate)
    dataset = task.build_dataset(args, options, set(samples))
    logging.info(f"[{mode}] dataset:\n{dataset}")
    make_factory = partial(
        SequenceIterFactory,
        dataset,
        seed=args.seed,
        num_workers=args.num_workers,
        collate_fn=options.collate_fn,
        pin_memory=args.ngpu > 0,
    )
    curriculum = curriculum_of(args)
    if options.train and curriculum is not None:
        return CurriculumIterFactory(
            make_factory,
            samples,
            counts,
            curriculum,
            max_samples,
            options.num_iters_per_epoch,
            processes,
            rank,
            args.seed,
            args.accum_grad,
        )
    sampler = AudioBatchSampler(
        samples,
        counts,
        max_samples,
        processes,
        rank,
        args.accum_grad if options.train else None,
    )
    logging.info(f"[{mode}] {describe(sampler, args.sampling_rate)}")
    return make_factory(sampler, num_iters_per_epoch=options.num_iters_per_epoch)


def describe(sampler: AudioBatchSampler, rate: int) -> str:
    """Describe a process's share of a batch, and what is lost."""
    shares = [share for batch in sampler.batches for share in batch]
    sizes = [size(share, sampler.samples) for share in shares]
    limit = sampler.max_samples / sampler.ranks
    text = (
        f"{len(sampler)} batches; a process's share has {min(map(len, shares))} to "
        f"{max(map(len, shares))} mixtures and {min(sizes) / rate:.1f} to "
        f"{max(sizes) / rate:.1f} s, {sum(n > limit for n in sizes)} of {len(sizes)} "
        f"exceed {limit / rate:g} s; processes wait for each other "
        f"{100 * idle(sampler.batches, sampler.samples):.1f} % of the time"
    )
    narrow = sampler.narrow_steps()
    if sampler.accum_grad is not None and narrow:
        text += (
            f"; {narrow} steps lack a talker count: a larger batch_seconds or "
            f"accum_grad would give them all"
        )
    return text


def read_samples(path: str) -> Dict[str, int]:
    """Read samples of each mixture from a shape file (`id N` or `id N,D`).

    Raises:
        UserError: it is missing or isn't one.
    """
    samples = {}
    for utt, shape in read_table(path).items():
        try:
            samples[utt] = int(shape.split(",")[0])
        except ValueError as e:
            raise UserError(
                f"{path}: {shape!r} of {utt} is not a length; collect statistics again"
            ) from e
    return samples


def read_talker_counts(
    data: Sequence[Sequence[str]], utts: Mapping[str, int]
) -> Dict[str, int]:
    """Read the talker count of each of `utts` from the SOT transcripts among `data`.

    Raises:
        UserError: there are no transcripts, or one is missing.
    """
    paths = [path for path, name, kind in data if (name, kind) == ("text", "text")]
    if not paths:
        raise UserError(
            "batch_seconds: needs data of name and type text,text for the talker "
            "counts; add --train_data_path_and_name_and_type PATH,text,text"
        )
    texts = read_table(paths[0])
    missing = [utt for utt in utts if utt not in texts]
    if missing:
        raise UserError(
            f"{paths[0]}: lacks {missing[0]}, whose length is known; add its text, or "
            f"collect statistics again"
        )
    return {utt: count_talkers(texts[utt]) for utt in utts}
