"""Find a model's files: in a folder, in a zip, on the Hugging Face hub, or by its name.

Like `espnet_model_zoo.downloader.ModelDownloader` for ESPnet's models, but for all
sources of this package's users: meta.yaml names the files, as
espnet2.main_funcs.pack_funcs writes it.
"""

import hashlib
import os
import re
import stat
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Optional, Union

import yaml

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import SAFE_SUFFIX
from espnet_mtasr.model_zoo.hub import hub_errors, is_repository_id

# Models that ship with the package, below its folder.
KNOWN_MODELS = {
    "speech": "models/mtasr_speech.zip",
    "mini": "models/mtasr_mini.zip",
}
# What transcribes if no model is named.
DEFAULT_MODEL = "speech"
CACHE_VARIABLE = "ESPNET_MTASR_CACHE"
# The checkpoint that a recipe decodes with, for the folder of a whole training.
PREFERRED_MODEL = "valid.loss_ctc.ave.pth"
# Calibration of a model's scores and times (transcription/calibration/).
CALIBRATION = "calibration.json"
# How to pick a branch when the talker-count head is unsure (asr/routing.py).
ROUTING = "routing.json"
# N-gram that is fitted to a model (text/ngram.py).
NGRAM = "ngram.safetensors"
# Tokenizer of a packed teacher (asr/teacher/packed_tokenizer.py).
TEACHER_TOKENIZER = "teacher_tokenizer.json"
# Files beside a training's configuration that are packed with the model.
DECODING_FILES = ("RESULTS.md", "results.json")
RESULT_FILES = (
    *DECODING_FILES,
    CALIBRATION,
    "calibration.md",
    ROUTING,
    "routing.md",
    NGRAM,
    "ngram.md",
)

REVISION = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class ModelFiles:
    """Absolute paths, under the names that `Speech2Text` takes.

    Attributes:
        mtasr_train_config: config.yaml of the training.
        mtasr_model_file: Checkpoint, or an exported model's onnx.json.
    """

    mtasr_train_config: Path
    mtasr_model_file: Path

    @property
    def revision(self) -> Optional[str]:
        """Commit on the hub, or SHA-256 of the zip; None: neither is known.

        Both caches keep a model in a folder of that name.
        """
        folders = [folder.name for folder in self.mtasr_model_file.parents]
        return next(filter(REVISION.fullmatch, folders), None)


def check_source(tag: str) -> None:
    """Check what can be checked of `fetch_model`'s argument without network.

    Raises:
        UserError: it is a file that doesn't exist, or no name of a model.
    """
    path = Path(tag).expanduser()
    if tag in KNOWN_MODELS or path.exists():
        return
    if path.suffix in (".zip", ".pth", SAFE_SUFFIX):
        raise UserError(f"model {tag}: no such file; give another")
    if not is_repository_id(tag.partition("@")[0]):
        raise UserError(
            f"model {tag}: is not a folder, a file, a model on the hub (owner/name) or "
            f"one of the package's ({', '.join(KNOWN_MODELS)}); give one of these"
        )


def fetch_model(tag_or_zip_or_folder: Union[str, Path]) -> ModelFiles:
    """Return the paths of a model's files; download or unpack it if needed.

    Args:
        tag_or_zip_or_folder: A name in `KNOWN_MODELS`; a folder: an unpacked model or a
            training's; a checkpoint, `.pth` or `.safetensors`, with config.yaml beside
            it; a `.zip`, which is unpacked into `$ESPNET_MTASR_CACHE`
            (`~/.cache/espnet_mtasr`) under the hash of its content; or
            `owner/name[@revision]` on the hub, kept in the hub's own cache and found
            there without network.

    Raises:
        UserError: there is no such model, or it is damaged, or not of this package.
    """
    tag = str(tag_or_zip_or_folder)
    if tag in KNOWN_MODELS:
        archive = Path(__file__).parents[1] / KNOWN_MODELS[tag]
        if not archive.is_file():
            raise UserError(
                f"model {tag}: its file {KNOWN_MODELS[tag]} is missing in the "
                "installed package; install it from a full clone, or give a zip"
            )
        return unpack_cached(archive)
    path = Path(tag).expanduser()
    if path.is_dir():
        return files_of(path)
    if path.is_file() and path.suffix in (".pth", SAFE_SUFFIX):
        return _checked(path.parent, {"mtasr_model_file": path.name}, tag)
    if path.is_file():
        return unpack_cached(path)
    check_source(tag)
    repository, _, revision = tag.partition("@")
    return _from_hub(repository, revision or None)


def model_name(tag_or_zip_or_folder: Union[str, Path]) -> str:
    """Return a name for a model's results: the last part, without `.zip`.

    >>> model_name("owner/name@v1"), model_name("exp/some.zip"), model_name("mini")
    ('name', 'some', 'mini')
    """
    tag = str(tag_or_zip_or_folder)
    if not Path(tag).exists():
        tag = tag.partition("@")[0]
    name = Path(tag).absolute().name
    for suffix in (".zip", ".pth", SAFE_SUFFIX):
        name = name.removesuffix(suffix)
    return name


def cache_folder() -> Path:
    """Return where zips are unpacked."""
    folder = os.environ.get(CACHE_VARIABLE) or "~/.cache/espnet_mtasr"
    return Path(folder).expanduser().absolute()


def files_of(folder: Path, name: Optional[str] = None) -> ModelFiles:
    """Return the files of a model in a folder.

    Args:
        folder: With meta.yaml, as packed; or a training's, with config.yaml and
            checkpoints.
        name: Its name in messages; None: the folder.

    Raises:
        UserError: files are missing, or it isn't clear which checkpoint to use.
    """
    name = name or str(folder)
    if (folder / "meta.yaml").is_file():
        return _checked(folder, _read_meta(folder / "meta.yaml", name), name)
    if not (folder / "config.yaml").is_file():
        raise UserError(
            f"model {name}: has neither meta.yaml nor config.yaml; give the folder of "
            "a packed model or of a training"
        )
    checkpoints = sorted(path.name for path in folder.glob("*.pth"))
    if PREFERRED_MODEL in checkpoints:
        checkpoints = [PREFERRED_MODEL]
    if len(checkpoints) != 1:
        raise UserError(
            f"model {name}: has {len(checkpoints)} checkpoints (*.pth), and no "
            f"{PREFERRED_MODEL}; give the .pth file itself"
        )
    return _checked(folder, {"mtasr_model_file": checkpoints[0]}, name)


def unpack_cached(archive: Path) -> ModelFiles:
    """Unpack a zip into the cache, under the hash of its content, unless it is there.

    Raises:
        UserError: it is damaged, has paths outside its folder, doesn't contain a model
            of this package, or the cache can't be written.
    """
    cache = cache_folder()
    name = str(archive)
    try:
        with archive.open("rb") as f:
            target = cache / hashlib.file_digest(f, "sha256").hexdigest()
        if _is_complete(target):
            return files_of(target, name)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="unpacking.") as temporary:
            part = Path(temporary) / "model"
            unpack_zip(archive, part)
            files_of(part, name)
            if target.exists():
                # A file was removed from it.
                os.replace(target, Path(temporary) / "incomplete")
            try:
                os.replace(part, target)
            except OSError:
                # Another process was faster.
                if not _is_complete(target):
                    raise
    except OSError as e:
        raise UserError(
            f"model {name}: can't be unpacked into {cache} ({e.strerror}); free some "
            f"space there, or set {CACHE_VARIABLE} to another folder"
        ) from e
    return files_of(target, name)


def unpack_zip(archive: Path, folder: Path) -> None:
    """Unpack a zip into a folder, and nothing outside of it.

    Raises:
        UserError: it is damaged, or contains a link or a path outside its folder.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if not _stays_inside(info.filename) or _is_link(info):
                    raise UserError(
                        f"{archive}: refused, because its entry {info.filename!r} is "
                        "outside its folder; get the model from somewhere else"
                    )
            packed.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as e:
        # RuntimeError: it asks for a password.
        raise UserError(
            f"{archive}: is damaged or not a zip ({e}); copy or download it again"
        ) from e


def _from_hub(repository: str, revision: Optional[str]) -> ModelFiles:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    name = repository if revision is None else f"{repository}@{revision}"
    with hub_errors(f"model {name} (there is no folder of this name)"):
        try:
            # Check this before gigabytes of another package's model are downloaded.
            meta = hf_hub_download(repository, "meta.yaml", revision=revision)
        except RemoteEntryNotFoundError as e:
            raise UserError(
                f"model {name}: has no meta.yaml, so it is not a packed model of "
                "espnet_mtasr; give another"
            ) from e
        _read_meta(Path(meta), name)
        return files_of(Path(snapshot_download(repository, revision=revision)), name)


def _read_meta(path: Path, name: str) -> Dict[str, str]:
    """Entries of a meta.yaml under our names, relative to its folder."""
    try:
        meta = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries: Dict[str, Any] = {**meta["yaml_files"], **meta["files"]}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as e:
        raise UserError(
            f"model {name}: its meta.yaml is damaged; get the model again"
        ) from e
    found = {
        key: str(entries[key])
        for key in ("mtasr_train_config", "mtasr_model_file")
        if key in entries
    }
    if "mtasr_model_file" not in found:
        raise UserError(
            f"model {name}: its meta.yaml names no mtasr_model_file, so it is another "
            f"kind of model ({', '.join(entries)}); give one of espnet_mtasr's"
        )
    return found


def _checked(folder: Path, entries: Dict[str, str], name: str) -> ModelFiles:
    """Absolute paths of the entries, which must exist below the folder."""
    found = {}
    for key, file in {"mtasr_train_config": "config.yaml", **entries}.items():
        if not _stays_inside(file) or not (folder / file).is_file():
            raise UserError(f"model {name}: lacks its file {file}; get the model again")
        # Links of the hub's cache are kept, because their targets have no readable
        # names.
        found[key] = folder.absolute() / file
    return ModelFiles(**found)


def _is_complete(folder: Path) -> bool:
    try:
        files_of(folder)
    except UserError:
        return False
    return True


def _stays_inside(file: str) -> bool:
    parts = PurePosixPath(file.replace("\\", "/"))
    return not parts.is_absolute() and ".." not in parts.parts


def _is_link(info: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(info.external_attr >> 16)
