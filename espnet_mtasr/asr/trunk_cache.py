"""Outputs of a frozen trunk, computed once and stored on disk.

A frozen trunk gives the same frames for a recording in every epoch. They are stored in
`ROOT/HASH_DTYPE/`, where HASH is the trunk's, in shards that np.memmap reads:
`NAME.npy` with the rows `(sum of T, D)` of some recordings one after another, and
`NAME.index` with a line `AUDIO OFFSET FRAMES` for each, where AUDIO is the hash of the
recording's file. Another trunk or another recording has another hash, so outputs can't
be mixed up. A shard is complete once its index exists.
"""

import functools
import hashlib
import inspect
import os
import time
from collections import OrderedDict
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Tuple, Union

import numpy as np
import torch

from espnet_mtasr.data.audio import read_recording
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole
from espnet_mtasr.mixture.render import Reader
from espnet_mtasr.mixture.speech_list import Kind, Speech

DTYPES = ("float16", "float32")
# Increase it when code between samples and the trunk's output changes.
VERSION = 1
HEX_DIGITS = 32
MAX_OPEN_SHARDS = 256
AGAIN = "run cache_trunk again (stage 7 of phase 1, stage 10 of phase 2)"


def parts_below_branches(
    model: torch.nn.Module,
) -> Iterator[Tuple[str, torch.nn.Module]]:
    """Return names and modules of everything between samples and the branches."""
    for name, part in (
        ("frontend", model.frontend),
        ("normalize", model.normalize),
        ("encoder.trunk", model.encoder.trunk),
    ):
        if part is not None:
            yield name, part


def check_frozen(model: torch.nn.Module) -> None:
    """Raise `UserError` if training would change a part below the branches."""
    for name, part in parts_below_branches(model):
        if any(p.requires_grad for p in part.parameters()):
            raise UserError(
                f"freeze_param: lacks {name}, whose outputs are cached; "
                f"add it, or train with --cache_trunk false"
            )


def trunk_hash(model: torch.nn.Module) -> str:
    """Return a hash of everything that determines the branches' input for some samples.

    It covers weights and buffers, and every module's class and plain attributes: the
    number of heads, for example, doesn't show in any weight's shape.
    """
    digest = hashlib.sha256(f"version {VERSION}".encode())
    for name, part in parts_below_branches(model):
        for path, module in part.named_modules():
            digest.update(f"\n{name} {path} {_describe(module)}".encode())
        for path, tensor in (*part.named_parameters(), *part.named_buffers()):
            about = f"\n{name} {path} {tensor.dtype} {tuple(tensor.shape)}\n"
            digest.update(about.encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()[:HEX_DIGITS]


def _describe(module: torch.nn.Module) -> str:
    settings = {
        name: _plain(value)
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "training"
    }
    known = sorted((k, v) for k, v in settings.items() if v is not None)
    return f"{type(module).__module__}.{type(module).__qualname__} {known}"


def _plain(value: object) -> Union[str, None]:
    """Return a setting as text; None for tensors and other objects."""
    if inspect.isroutine(value) or inspect.isclass(value):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, (list, tuple)):
        parts = [_plain(v) for v in value]
        return None if None in parts else f"({', '.join(parts)})"
    # None isn't a setting either: ESPnet's attention stores its weights there when run.
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    return None


def audio_hash(path: Union[str, Path]) -> str:
    """Return a hash of a recording's file.

    It is of the content, because path, size and time can stay the same while samples
    change (a corpus made again by a script), and can change when a corpus is copied.
    """
    try:
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()[:HEX_DIGITS]
    except OSError as e:
        raise UserError(
            f"{path}: can't be read ({type(e).__name__}); run stage 3 again"
        ) from e


def speech_hash(speech: Speech, read_source: Reader = read_recording) -> str:
    """Return a hash of an utterance's speech: a recording's file, else the samples.

    An archive or a source may change in other places while these samples stay the same.
    `read_source` reads the recordings of mixtures.
    """
    if speech.kind is Kind.RECORDING:
        return audio_hash(speech.value)
    samples = speech.read(read_source)
    return hashlib.sha256(samples.tobytes()).hexdigest()[:HEX_DIGITS]


def hash_to_ids(digits: str) -> np.ndarray:
    """Return a hash as two int64, for ESPnet's batches."""
    return np.frombuffer(bytes.fromhex(digits), dtype=np.int64)


class TrunkCache:
    """Outputs of one trunk by the hash of the recording.

    Args:
        folder: `ROOT/HASH_DTYPE`, see `of`; need not exist yet.

    Raises:
        UserError: the folder has another name, or an index can't be read.
    """

    def __init__(self, folder: Union[str, Path]):
        self.folder = Path(folder)
        self.trunk_hash, _, self.dtype = self.folder.name.partition("_")
        if len(self.trunk_hash) != HEX_DIGITS or self.dtype not in DTYPES:
            raise UserError(f"{folder}: is not a cache of a trunk's outputs; {AGAIN}")
        self._places: Dict[str, Tuple[str, int, int]] = {}
        self._shards: "OrderedDict[str, np.ndarray]" = OrderedDict()
        for path in sorted(self.folder.glob("*.index")):
            self._read_index(path)

    @classmethod
    def of(cls, root: Union[str, Path], trunk_hash: str, dtype: str) -> "TrunkCache":
        """Return the cache below `root` for the trunk with this hash."""
        return cls(Path(root) / f"{trunk_hash}_{dtype}")

    def _read_index(self, path: Path) -> None:
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                audio, offset, frames = line.split()
                self._places[audio] = (path.stem, int(offset), int(frames))
        except ValueError as e:
            raise UserError(f"{path}: is damaged; remove it, then {AGAIN}") from e

    def __contains__(self, audio: str) -> bool:
        return audio in self._places

    def __len__(self) -> int:
        return len(self._places)

    def read(self, audio: str) -> np.ndarray:
        """Return `(T, D)` for the recording with this hash.

        Raises:
            UserError: it is missing, or the shard is damaged.
        """
        if audio not in self._places:
            raise UserError(f"{self.folder}: lacks recording {audio}; {AGAIN}")
        shard, offset, frames = self._places[audio]
        if shard in self._shards:
            self._shards.move_to_end(shard)
        else:
            path = self.folder / f"{shard}.npy"
            try:
                self._shards[shard] = np.load(path, mmap_mode="r")
            except (OSError, ValueError) as e:
                raise UserError(
                    f"{path}: can't be read ({type(e).__name__}); remove "
                    f"{path.with_suffix('.index')}, then {AGAIN}"
                ) from e
            # An open shard is an open file, and a process may only have 1,024.
            if len(self._shards) > MAX_OPEN_SHARDS:
                self._shards.popitem(last=False)
        return self._shards[shard][offset : offset + frames]

    def add(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Write a shard with `(T, D)` arrays, T from 0, by the recordings' hashes.

        Raises:
            UserError: a value is too large for the cache's type.
        """
        with np.errstate(over="ignore"):
            rows = np.concatenate(list(outputs.values())).astype(self.dtype)
        if not np.isfinite(rows).all():
            raise UserError(
                f"--cache_dtype {self.dtype}: the trunk has outputs that it can't "
                f"hold; choose float32"
            )
        # Named by its content, so parallel jobs and runs don't clash.
        name = hashlib.sha256(" ".join(outputs).encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{name}.{os.getpid()}.part"
        with part.open("wb") as f:
            np.save(f, rows)
        os.replace(part, self.folder / f"{name}.npy")
        lines: List[str] = []
        offset = 0
        for audio, array in outputs.items():
            lines.append(f"{audio} {offset} {len(array)}\n")
            offset += len(array)
        index = self.folder / f"{name}.index"
        write_whole(index, "".join(lines))
        self._shards.pop(name, None)
        self._read_index(index)

    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(path.stat().st_size for path in self.folder.glob("*.npy"))

    def remove_left_overs(self, seconds: float = 3600.0) -> None:
        """Remove half-written files of jobs that were killed at least this long ago."""
        for path in self.folder.glob("*.part"):
            if time.time() - path.stat().st_mtime > seconds:
                path.unlink(missing_ok=True)


@functools.lru_cache(maxsize=None)
def open_cache(folder: str) -> TrunkCache:
    """Return the cache in `folder`, read once per process (and its forks)."""
    return TrunkCache(folder)


def read_line(line: str) -> Tuple[np.ndarray, np.ndarray]:
    """Return the `(T, D)` that a line `FOLDER AUDIO` names, and the trunk's hash."""
    folder, audio = split_line(line)
    cache = open_cache(folder)
    return cache.read(audio), hash_to_ids(cache.trunk_hash)


def split_line(line: str) -> Tuple[str, str]:
    """Return folder and recording of a line; `UserError` for anything else."""
    folder, _, audio = line.rpartition(" ")
    if not folder:
        raise UserError(f"speech: {line!r} is not a cached output; {AGAIN}")
    return folder, audio
