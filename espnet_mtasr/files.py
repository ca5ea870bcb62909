"""Files: written atomically, found below a folder, or named by config.yaml."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from espnet_mtasr.errors import UserError

# Of packed weights; those of trainings, and of models packed before, are .pth.
SAFE_SUFFIX = ".safetensors"


def write_whole(path: Union[str, Path], content: Union[str, bytes]) -> None:
    """Write a file atomically, and make its folder.

    Args:
        path: Of the file.
        content: Text becomes UTF-8.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(part, path)


def read_json(path: Path) -> Dict[str, Any]:
    """Read a JSON file; {} if it isn't there.

    Raises:
        UserError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise UserError(f"{path}: is damaged ({e}); remove it") from e
    if not isinstance(found, dict):
        raise UserError(f"{path}: is damaged; remove it")
    return found


def write_list(path: Union[str, Path], lines: Sequence[str]) -> None:
    """Write `lines` to a file, or remove the file if there are none."""
    if lines:
        write_whole(path, "\n".join(lines) + "\n")
    else:
        Path(path).unlink(missing_ok=True)


def files_below(
    folder: Union[str, Path], onerror: Optional[Callable[[OSError], None]] = None
) -> List[Path]:
    """List all files below a folder, sorted; links to folders are followed.

    Args:
        folder: Where to look.
        onerror: Called for a folder that can't be read; without it such folders are
            skipped.
    """
    found: List[Path] = []
    # Real paths of a folder and its parents: a link to one of them would be an endless
    # loop.
    chains = {str(folder): (os.path.realpath(folder),)}
    for here, names, files in os.walk(folder, onerror=onerror, followlinks=True):
        chain: Tuple[str, ...] = chains.pop(here)
        for name in list(names):
            path = os.path.join(here, name)
            real = os.path.realpath(path)
            if real in chain:
                names.remove(name)
            chains[path] = (*chain, real)
        found += [Path(here, name) for name in files]
    return sorted(found)


def sha256_of(path: Union[str, Path]) -> str:
    """Return the hash of a file's content, in hexadecimal digits."""
    with Path(path).open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def find_beside(file: str, folder: Path) -> str:
    """Find a file that config.yaml names, whatever the current folder is.

    A training writes paths relative to the recipe, which is above config.yaml; a model
    that was copied elsewhere has the file beside it. The current folder comes last: it
    may be another recipe, with a file of the same name.

    Args:
        file: As config.yaml names it.
        folder: That of config.yaml, absolute.

    Raises:
        UserError: it is not found.
    """
    above = [parent / file for parent in folder.parents]
    for candidate in (folder / Path(file).name, *above, Path(file)):
        if candidate.is_file():
            return str(candidate)
    raise UserError(f"{file}: no such file; copy it into {folder}")


def find_folder_above(name: str, folder: Path) -> str:
    """Find a folder that config.yaml names relative to its recipe.

    Args:
        name: As config.yaml has it: a folder or a hub id.
        folder: That of config.yaml, absolute.

    Returns:
        The folder; `name` if there is none above, as with a hub id.
    """
    above = (parent / name for parent in folder.parents)
    return next((str(found) for found in above if found.is_dir()), name)
