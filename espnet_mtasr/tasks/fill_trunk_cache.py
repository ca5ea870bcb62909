"""Compute the outputs of the frozen trunk once, and list them for the training.

Jobs share the mixtures of a training's lists, and outputs that are already cached are
not computed again. cached_trunk.py makes lists from the jobs' tables.
"""

import argparse
from pathlib import Path
from typing import Dict, List, Optional, Sequence

import numpy as np
import torch
from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.asr.trunk_cache import (
    TrunkCache,
    check_frozen,
    speech_hash,
    trunk_hash,
)
from espnet_mtasr.data.audio import read_recording
from espnet_mtasr.data.batching import batches_of_similar_length
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.render import Reader
from espnet_mtasr.mixture.source_cache import SourceCache
from espnet_mtasr.mixture.speech_list import Speech, read_speech_list
from espnet_mtasr.progress import progress
from espnet_mtasr.tasks.cached_trunk import (
    PARTS,
    check_cacheable,
    describe_files,
    job_table,
    known_hashes,
)
from espnet_mtasr.tasks.init_param import check_init_param
from espnet_mtasr.tasks.mtasr import MTASRTask
from espnet_mtasr.tasks.options import is_part

# Memory for the recordings of mixtures; the preprocessor's default.
CACHE_MEGABYTES = 100.0


def run_job(
    train_args: argparse.Namespace,
    stats_dir: Path,
    cache_dir: Path,
    job: int = 1,
    num_jobs: int = 1,
    device: str = "cpu",
    dtype: str = "float16",
    batch_size: int = 8,
    shard_size: int = 96,
    known_stats_dir: Optional[Path] = None,
) -> None:
    """Compute the outputs of this job's share that aren't cached; write its table.

    Args:
        train_args: Options of the training that will read the outputs.
        stats_dir: With `lists/train` and `lists/valid`.
        cache_dir: Parent of the folders of all trunks.
        job: From 1 to `num_jobs`.
        num_jobs: Jobs that share the mixtures.
        device: `cpu` or `cuda`.
        dtype: Of the stored outputs, float16 or float32.
        batch_size: Recordings in a batch.
        shard_size: Recordings in a file.
        known_stats_dir: Of another training, with hashes of the same speech.

    Raises:
        UserError: the outputs differ between epochs, or see `build_model`.
    """
    MTASRTask.check_args(train_args)
    check_cacheable(train_args)
    speeches = {
        (part, utt): speech
        for part in PARTS
        for utt, speech in read_speech_list(stats_dir / "lists" / part).items()
    }
    share = list(speeches.items())[job - 1 :: num_jobs]
    model = build_model(train_args, device, stats_dir)
    cache = TrunkCache.of(cache_dir, trunk_hash(model), dtype)
    known = {} if known_stats_dir is None else known_hashes(known_stats_dir)
    # Recordings are in many mixtures.
    conf = train_args.preprocessor_conf
    mixing = conf.get("dynamic_mixing_conf") or {}
    rooms = [c.get("cache_megabytes", CACHE_MEGABYTES) for c in (conf, mixing)]
    read_source = SourceCache(max(rooms)).read

    tables: Dict[str, Dict[str, str]] = {part: {} for part in PARTS}
    missing: Dict[str, Speech] = {}
    for (part, utt), speech in progress(share, len(share), "reading recordings"):
        # The time comes first, so a change while reading is noticed later.
        stat = describe_files(speech)
        audio = known.get((speech, stat)) or speech_hash(speech, read_source)
        tables[part][utt] = f"{cache.folder} {audio} {stat}"
        if audio not in cache:
            missing[audio] = speech
    print(f"{cache.folder}: has {len(share) - len(missing)} of {len(share)} mixtures")
    fill(cache, model, missing, batch_size, shard_size, read_source)
    for part in PARTS:
        write_table(job_table(stats_dir, part, job), tables[part])


def build_model(
    train_args: argparse.Namespace, device: str, folder: Path
) -> MTASRModel:
    """Build phase 2's initial model, without its teacher, in evaluation mode.

    Args:
        train_args: Options of the training.
        device: For the model.
        folder: For `check_init_param`.

    Raises:
        UserError: see `check_init_param`; or training would change a part below the
            branches.
    """
    train_args.teacher = None
    model = MTASRTask.build_model(train_args)
    for init in check_init_param(train_args.init_param, folder):
        _, _, keys = init.partition(":")
        target = keys.split(":")[1] if ":" in keys else ""
        # Other parts, such as the teacher, don't affect anything below the branches.
        if target.split(".")[0] in ("", "frontend", "normalize", "encoder"):
            # Without a target, the file has a whole model with its teacher.
            ignore = train_args.ignore_init_mismatch or not target
            load_pretrained_model(init, model, ignore)
    for name, parameter in model.named_parameters():
        if any(is_part(name, prefix) for prefix in train_args.freeze_param):
            parameter.requires_grad = False
    check_frozen(model)
    return model.to(device).eval()


def fill(
    cache: TrunkCache,
    model: MTASRModel,
    missing: Dict[str, Speech],
    batch_size: int,
    shard_size: int,
    read_source: Reader,
) -> None:
    """Compute the mixtures in `missing` (hash to speech), shard by shard."""
    # In an order that doesn't depend on the lists.
    order = sorted(missing)
    lengths = [
        missing[audio].check(missing[audio].value).num_samples for audio in order
    ]
    shards = batches_of_similar_length(lengths, max_items=shard_size)
    for number, shard in enumerate(shards, 1):
        label = f"trunk's outputs, part {number} of {len(shards)}"
        outputs: Dict[str, np.ndarray] = {}
        firsts = range(0, len(shard), batch_size)
        for first in progress(firsts, len(firsts), label):
            batch = [order[place] for place in shard[first : first + batch_size]]
            arrays = encode(model, [missing[audio] for audio in batch], read_source)
            outputs.update(zip(batch, arrays))
        cache.add(outputs)
        # For the log of a job, which isn't a terminal.
        print(f"{label}: done", flush=True)


def encode(
    model: MTASRModel,
    speeches: Sequence[Speech],
    read_source: Reader = read_recording,
) -> List[np.ndarray]:
    """Return the trunk's outputs `(T, D)`, float32, for some mixtures.

    Raises:
        UserError: a recording has several channels, or the trunk's `context` can't be
            made without its input.
    """
    device = next(model.parameters()).device
    waves = []
    for speech in speeches:
        samples = speech.read(read_source)
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
    if wanted is None or made is None:
        return wanted is made
    return wanted.shape == made.shape and torch.allclose(wanted, made, atol=1e-5)
