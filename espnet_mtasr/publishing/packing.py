"""Pack a trained model so that it loads anywhere: no recipe, no hub.

The teacher is left out, unless it is wanted for decoding (packed_teacher.py).

The archive is ESPnet's (espnet2.main_funcs.pack_funcs): meta.yaml says which file is
which, under the names that `Speech2Text` takes. All files lie flat in it, so that it
can be unpacked by `unzip` as well. Weights are stored as safetensors, which hold
numbers and can't hold code.
"""

import argparse
import contextlib
import io
import os
import shutil
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import torch
from espnet2.main_funcs.pack_funcs import pack
from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump
from safetensors.torch import save_file

from espnet_mtasr import __version__
from espnet_mtasr.asr.int8_weights import SCALE, to_int8
from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import SAFE_SUFFIX, find_beside, sha256_of
from espnet_mtasr.inference import fit_beside
from espnet_mtasr.model_zoo.model_files import (
    DECODING_FILES,
    NGRAM,
    RESULT_FILES,
    TEACHER_TOKENIZER,
    files_of,
    unpack_zip,
)
from espnet_mtasr.publishing.model_card import CARD_FILE, FACTS_FILE, write_card
from espnet_mtasr.publishing.packed_teacher import (
    check_packed_teacher,
    pack_teacher,
    teacher_facts,
)
from espnet_mtasr.tasks.mtasr import MTASRTask
from espnet_mtasr.tasks.options import flatten, is_part
from espnet_mtasr.text.tokenizer import TYPES_WITH_FILE, check_units
from espnet_mtasr.transcription.mtasr import MTASR

# Largest integer of a weight.
INTEGERS = {"int8": 127, "int7": 63}
# What builds the model and reads its output. An option that is in neither list is about
# the machine and the data of the training, or about the teacher: it gets its default.
MODEL_OPTIONS = (
    "talker_counts",
    "input_size",
    "frontend",
    "frontend_conf",
    "specaug",
    "specaug_conf",
    "normalize",
    "normalize_conf",
    "encoder",
    "encoder_conf",
    "separator",
    "separator_conf",
    "share_separator",
    "count_head_conf",
    "model",
    "model_conf",
    "token_type",
    "bpemodel",
    "cleaner",
    "g2p",
    "sampling_rate",
)
# How it was trained, for readers and for fine-tuning.
TRAINING_OPTIONS = (
    "freeze_param",
    "lr_scale",
    "optim",
    "optim_conf",
    "scheduler",
    "scheduler_conf",
    "grad_clip",
    "max_epoch",
    "batch_type",
    "batch_size",
    "batch_bins",
    "fold_length",
    "accum_grad",
    "seed",
    "keep_nbest_models",
    "best_model_criterion",
)


class Packed(NamedTuple):
    """What was packed.

    Attributes:
        names: Of the files.
        teacher_bytes: Of the teacher's weights, before compression; 0: no teacher.
    """

    names: List[str]
    teacher_bytes: int


def pack_model(
    config_file: Path,
    model_file: Path,
    outpath: Path,
    dtype: str = "float32",
    option: Sequence[Path] = (),
    max_mb: Optional[float] = None,
    card: Optional[Mapping[str, Any]] = None,
    trust_remote_code: bool = False,
    with_teacher: bool = False,
) -> Packed:
    """Pack a model, and load it from the archive as a check.

    Args:
        config_file: config.yaml of the training.
        model_file: Checkpoint with CTC heads (phase 2).
        outpath: Archive, `.zip`; written atomically.
        dtype: Weights are stored as float32, float16, int8 or int7 (see
            `int8_weights`); loading gives float32. Those of a teacher in half precision
            stay so, except with int8 and int7.
        option: More files. calibration.json and .md, the plots (*.png, and
            images/*.png) beside config.yaml, and RESULTS.md and results.json of the
            checkpoint's default decoding are always packed.
        max_mb: Largest size of the archive, in millions of bytes; None: any.
        card: For the model card README.md, what isn't in the model: `recipe`
            (`model_card.read_recipe_entries`), `pretrained`
            (`model_card.read_pretrained`), `commands` (of the training), `mixtures`.
        trust_remote_code: See `ModelBuilder.build_model_from_file`.
        with_teacher: Pack the teacher too, so that it can decode.

    Raises:
        UserError: a file is missing, two have one name, the checkpoint doesn't fit, a
            weight is too large for `dtype`, the archive is larger than `max_mb`, or
            there is no teacher.
    """
    outpath = outpath.absolute()
    model, args = MTASRTask.build_model_from_file(
        config_file, model_file, "cpu", with_teacher, trust_remote_code
    )
    if model.ctc is None:
        raise UserError(
            f"{model_file}: has no CTC heads (a phase-1 model?); pack a phase-2 model"
        )
    sources = _extra_files(config_file, model_file, option)
    config = packed_config(args, model)
    folder = config_file.absolute().parent
    # Of other types it is no part of the model.
    config["bpemodel"] = None
    if args.bpemodel is not None and args.token_type in TYPES_WITH_FILE:
        sources.append(Path(find_beside(args.bpemodel, folder)))
        check_units(args.token_type, sources[-1], model.token_list)
        config["bpemodel"] = sources[-1].name
    if config.get("normalize_conf", {}).get("stats_file") is not None:
        sources.append(Path(args.normalize_conf["stats_file"]))
        config["normalize_conf"]["stats_file"] = sources[-1].name
    made = [*[TEACHER_TOKENIZER] * with_teacher, FACTS_FILE, CARD_FILE]
    beside = [path.name for path in sources] + made
    weights = model_file.with_suffix(SAFE_SUFFIX).name
    names = ["config.yaml", weights, *beside]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two files are named {name}; rename one of them")
    facts = {**(card or {}), **card_facts(model, args, model_file, dtype)}
    facts["ngram"] = fit_beside(model_file) is not None

    with tempfile.TemporaryDirectory(prefix="mtasr_pack.") as temporary:
        staging, archive = Path(temporary) / "staging", Path(temporary) / "model.zip"
        staging.mkdir()
        if with_teacher:
            conf = pack_teacher(model, args, config_file, staging)
            config.update(teacher=args.teacher, teacher_conf=_without_places(conf))
            facts["teacher"] = teacher_facts(model, args)
        state = stored_weights(model, model_file, dtype)
        teacher_bytes = sum(w.nbytes for n, w in state.items() if _is_teachers(n))
        del model
        for path in sources:
            shutil.copyfile(path, staging / path.name)
        save_file(state, staging / weights)
        del state
        with (staging / "config.yaml").open("w", encoding="utf-8") as f:
            yaml_no_alias_safe_dump(config, f, indent=4, sort_keys=False)
        with (staging / FACTS_FILE).open("w", encoding="utf-8") as f:
            yaml_no_alias_safe_dump(facts, f, sort_keys=False)
        write_card(staging, outpath.name)
        # ESPnet names files by their place below the current folder. It prints a line
        # per file.
        with contextlib.chdir(staging), contextlib.redirect_stdout(io.StringIO()):
            pack(
                files={"mtasr_model_file": weights},
                yaml_files={"mtasr_train_config": "config.yaml"},
                option=beside,
                outpath=archive,
            )
        archive = compressed(archive)
        megabytes = archive.stat().st_size / 1e6
        if max_mb is not None and megabytes > max_mb:
            smaller = "" if dtype == "int7" else "a smaller --dtype or "
            if with_teacher:
                smaller = f"--pack_teacher false, {smaller}"
            raise UserError(
                f"--outpath {outpath}: would have {megabytes:.2f} MB, more than "
                f"--max_mb {max_mb:g}; give {smaller}a larger --max_mb"
            )
        unpack_zip(archive, Path(temporary) / "unpacked")
        files = files_of(Path(temporary) / "unpacked")
        MTASR.from_files(files, "cpu", trust_remote_code=trust_remote_code)
        if with_teacher:
            check_packed_teacher(files, trust_remote_code)
        outpath.parent.mkdir(parents=True, exist_ok=True)
        part = outpath.with_name(outpath.name + ".part")
        shutil.copyfile(archive, part)
        os.replace(part, outpath)
    return Packed(names, teacher_bytes)


def compressed(archive: Path) -> Path:
    """Write a compressed copy of a zip beside it; return its path.

    ESPnet doesn't compress. bzip2 makes an n-gram a seventh smaller than deflate does,
    and weights larger.
    """
    target = archive.with_stem(f"{archive.stem}_compressed")
    with (
        zipfile.ZipFile(archive) as stored,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
    ):
        for name in stored.namelist():
            ngram = PurePosixPath(name).name == NGRAM
            packed.compression = zipfile.ZIP_BZIP2 if ngram else zipfile.ZIP_DEFLATED
            with (
                stored.open(name) as source,
                packed.open(name, "w", force_zip64=True) as f,
            ):
                shutil.copyfileobj(source, f)
    return target


def packed_config(args: argparse.Namespace, model: MTASRModel) -> Dict[str, Any]:
    """Return the packed model's configuration, without local paths and teacher.

    Args:
        args: As `MTASRTask.build_model_from_file` returns them.
        model: For its token list.
    """
    config = {
        name: _without_places(getattr(args, name))
        for name in (*MODEL_OPTIONS, *TRAINING_OPTIONS)
        if hasattr(args, name)
    }
    if config["encoder_conf"].get("load_pretrained") is False:
        config["encoder_conf"].pop("model", None)
    config["freeze_param"] = [
        name for name in getattr(args, "freeze_param", []) if not _is_teachers(name)
    ]
    config["lr_scale"] = {
        prefix: factor
        for prefix, factor in flatten(config.get("lr_scale") or {}).items()
        if not _is_teachers(prefix)
    }
    # A token may look like a place: they are taken as they are.
    config.update(teacher=None, teacher_conf={}, token_list=model.token_list)
    # All other options are there, for whoever reads them, and say nothing.
    defaults = vars(MTASRTask.get_parser().parse_args([]))
    defaults.pop("required")
    return {**defaults, **config}


def card_facts(
    model: MTASRModel, args: argparse.Namespace, model_file: Path, dtype: str
) -> Dict[str, Any]:
    """Return what the model card tells of the model itself.

    Args:
        model: As it was loaded.
        args: As `MTASRTask.build_model_from_file` returns them.
        model_file: Its checkpoint.
        dtype: Type that the weights are stored in.
    """
    return {
        "model_file": model_file.name,
        "model_sha256": sha256_of(model_file),
        "dtype": dtype,
        "parameters": sum(
            weight.numel()
            for name, weight in model.named_parameters()
            if not _is_teachers(name)
        ),
        "talker_counts": list(model.talker_counts),
        "token_type": args.token_type,
        "units": len(model.token_list),
        "sampling_rate": args.sampling_rate,
        "versions": {
            name: version(name) for name in ("espnet", "torch", "transformers")
        }
        | {"espnet_mtasr": __version__},
    }


def stored_weights(
    model: MTASRModel, model_file: Path, dtype: str
) -> Dict[str, torch.Tensor]:
    """Return the weights in the type to store.

    Raises:
        UserError: a weight is too large for it, or is not finite.
    """
    state = model.state_dict()
    if dtype in INTEGERS:
        state = to_int8(state, INTEGERS[dtype])
    else:
        wanted = getattr(torch, dtype)
        for name, weight in state.items():
            if weight.is_floating_point() and weight.itemsize > wanted.itemsize:
                state[name] = weight.to(wanted)
    stored = {}
    for name, weight in state.items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise UserError(
                f"{model_file}: {name.removesuffix(SCALE)} can't be stored as {dtype}; "
                f"give --dtype float32, or train again if that fails too"
            )
        # safetensors refuses two names of one memory, as a shared separator has.
        stored[name] = weight.clone(memory_format=torch.contiguous_format)
    return stored


def _is_teachers(prefix: str) -> bool:
    return is_part(prefix, "teacher")


def _without_places(value: Any) -> Any:
    """Remove local paths from nested options."""
    if isinstance(value, dict):
        # transformers notes in `_name_or_path` where it read a model.
        return {
            k: _without_places(v)
            for k, v in value.items()
            if k == "stats_file" or not (k == "_name_or_path" or _is_place(v))
        }
    if isinstance(value, (list, tuple)):
        return [_without_places(v) for v in value if not _is_place(v)]
    return value


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("/", "~", "file:"))


def _extra_files(
    config_file: Path, model_file: Path, option: Sequence[Path]
) -> List[Path]:
    """Results, calibration, plots and the named files."""
    beside = results = config_file.absolute().parent
    # RESULTS.md of a training with decodings has them all.
    if any(beside.glob("*/results.json")):
        results = beside / f"decode_{model_file.stem}"
    names = list(RESULT_FILES)
    if fit_beside(model_file) is None:
        # The n-gram of another checkpoint, or one that doesn't help.
        names.remove(NGRAM)
    elif (beside / f"decode_ngram_{model_file.stem}" / "results.json").is_file():
        results = beside / f"decode_ngram_{model_file.stem}"
    places = dict.fromkeys(DECODING_FILES, results)
    found = [places.get(name, beside) / name for name in names]
    found += [*sorted(beside.glob("*.png")), *sorted(beside.glob("images/*.png"))]
    return [*(path for path in found if path.is_file()), *option]
