"""Names that become files, and paths that stay below their folder.

Lists of mixtures and data directories may come from other people. A name in them must
not cause a write outside the file's folder, and a path must not cause a read outside
its corpus.
"""

import os
from functools import lru_cache
from pathlib import Path, PurePosixPath

from espnet_mtasr.errors import UserError

# File systems allow 255 with the suffix.
MAX_BYTES = 200


def check_name(name: str, where: str) -> None:
    """Raise `UserError` unless `name` can name a file.

    Args:
        name: Id of an utterance or a mixture.
        where: File, line and column, for the message.

    >>> check_name("1089-134686_121-127105", "mixtures.csv:2: mixture_ID")
    """
    fits = name not in ("", ".", "..") and len(name.encode()) <= MAX_BYTES
    if not fits or any(c in "/\\" or not c.isprintable() for c in name):
        raise UserError(
            f"{where} {name!r} can't name a file; use letters, digits, '-', '_' and '.'"
        )


def check_below(path: str, where: str, root: str) -> None:
    """Raise `UserError` unless a path is below its root.

    Args:
        path: As a list has it.
        where: File, line and column, for the message.
        root: Description of the root.

    >>> check_below("dev-clean/84/121123/84-121123-0000.flac", "a.csv:2:", "the corpus")
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise UserError(
            f"{where} {path!r} leaves {root}; give a path below it, without '..'"
        )


@lru_cache(maxsize=100_000)
def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def check_link(path: Path, root: Path) -> None:
    """Raise `UserError` if links lead from below `root` to a place outside.

    Args:
        path: Of a file below `root`, which may be missing.
        root: May be a link itself.
    """
    real = _real(path.parent) / path.name
    if path.is_symlink():
        real = Path(os.path.realpath(path))
    if not real.is_relative_to(_real(root)):
        raise UserError(
            f"{path}: links lead to {real}, outside {root}; if they are yours, give "
            "--follow_links true"
        )
