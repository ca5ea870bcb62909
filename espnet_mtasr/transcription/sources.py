"""Find the recordings that files, folders and `-` name."""

import os
from collections import Counter
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import files_below
from espnet_mtasr.transcription.containers import SUFFIXES

STANDARD_INPUT = "-"


class Source(NamedTuple):
    """A file to transcribe.

    Attributes:
        name: Of the recording; no two sources share one.
        path: Audio file, or `-` for standard input.
    """

    name: str
    path: str


def printable(name: str) -> str:
    """A file's name as text, with replacement characters if it isn't UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def find_recordings(
    arguments: Sequence[str], tell: Callable[[str], None] = lambda line: None
) -> List[Source]:
    """Return the recordings that files, folders and `-` name, each once.

    Named files are always taken. In folders and below, only files with a suffix of
    audio or video are taken, sorted by name. A subfolder that can't be read is listed
    too, so that reading it fails.

    A recording's name is its file's without suffix, or its path below the named folder.
    If two would be equal, all get paths from their common parent folder, and suffixes
    if needed.

    Args:
        arguments: Files, folders, and `-` for standard input.
        tell: Gets a line for each folder in which files are skipped.

    Raises:
        UserError: a file doesn't exist, or a folder has no audio files.
    """
    # By the real path, since a file may be named in two ways.
    found: Dict[str, Source] = {}
    for argument in arguments:
        path = Path(argument)
        if argument == STANDARD_INPUT:
            named = [Source("stdin", argument)]
        elif path.is_dir():
            audio, others = _audio_files(path)
            if others:
                tell(f"{printable(argument)}: skips {others}")
            named = [Source(_name_in(path, p), str(p)) for p in audio]
        elif path.exists():
            named = [Source(path.stem, argument)]
        else:
            raise UserError(f"{argument}: no such file; name audio files or folders")
        for source in named:
            found.setdefault(os.path.abspath(source.path), source)
    short, paths = zip(*found.values())
    above = os.path.commonpath([os.path.dirname(place) for place in found])
    long = [Path(os.path.relpath(place, above)) for place in found]
    for names in (
        short,
        [path.with_suffix("").as_posix() for path in long],
        [path.as_posix() for path in long],
    ):
        if len(set(names)) == len(names):
            break
    return list(map(Source, map(printable, names), paths))


def _name_in(folder: Path, path: Path) -> str:
    """Name a recording by its path below `folder`, which itself may be unreadable."""
    if path == folder:
        return folder.name
    return path.relative_to(folder).with_suffix("").as_posix()


def _audio_files(folder: Path) -> Tuple[List[Path], str]:
    """Audio files in a folder and below, and unreadable subfolders; then the rest.

    Raises:
        UserError: there are none.
    """
    known = _suffixes()
    found: List[Path] = []
    others: Counter[str] = Counter()

    def cannot_be_read(error: OSError) -> None:
        found.append(Path(error.filename))

    for path in files_below(folder, cannot_be_read):
        suffix = path.suffix.lower()
        if suffix in known:
            found.append(path)
        elif not path.name.startswith("."):
            others[printable(suffix) or "without suffix"] += 1
    found.sort()
    rest = ""
    if others:
        kinds = ", ".join(f"{n} {kind}" for kind, n in others.most_common())
        number = others.total()
        rest = f"{number} file{'' if number == 1 else 's'} not named as audio ({kinds})"
    if not found:
        what = f", only {rest}" if rest else ""
        raise UserError(f"{folder}: a folder without audio files{what}; name another")
    return found, rest


def _suffixes() -> List[str]:
    import soundfile

    known = {f".{name.lower()}" for name in soundfile.available_formats()}
    # Raw samples have no header with their rate.
    return [*(known - {".raw"}), ".aif", ".oga", ".opus", *SUFFIXES]
