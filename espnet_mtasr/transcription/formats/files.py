"""Paths and writing of transcripts: a file per recording and format."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Dict, List, Mapping, Sequence, Tuple, Union

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole
from espnet_mtasr.transcription.formats.table import get_format, render

if TYPE_CHECKING:
    from espnet_mtasr.transcription.transcript import Transcript


def output_paths(
    recordings: Sequence[str], folder: Union[str, Path], formats: Sequence[str]
) -> Dict[Tuple[str, str], Path]:
    """Return the paths that `write_transcripts` would write to.

    Args:
        recordings: Names; `a/mix` lies in a subfolder.
        folder: Above all files; need not exist.
        formats: Keys of `FORMATS`.

    Returns:
        `<folder>/<recording><suffix>` by recording and format.

    Raises:
        UserError: no such format, or see `paths_in`.
    """
    suffixes = {format: get_format(format).suffix for format in formats}
    return paths_in(folder, recordings, suffixes)


def paths_in(
    folder: Union[str, Path], recordings: Sequence[str], suffixes: Mapping[str, str]
) -> Dict[Tuple[str, str], Path]:
    """Return `<folder>/<recording><suffix>` by recording and the suffix's key.

    Raises:
        UserError: `folder` is a file, a name would leave it, or two recordings would
            share a file.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder for the transcripts")
    owners: Dict[Path, str] = {}
    paths = {}
    for recording in recordings:
        name = PurePosixPath(recording)
        if not name.name or name.is_absolute() or ".." in name.parts:
            raise UserError(f"{recording!r} can't name a file in {folder}: rename it")
        for key, suffix in suffixes.items():
            path = folder / name.with_name(name.name + suffix)
            if path in owners:
                raise UserError(
                    f"{path}: two recordings, {owners[path]!r} and {recording!r}, "
                    "would be written there: rename one, or use separate folders"
                )
            owners[path] = recording
            paths[recording, key] = path
    return paths


def write_transcripts(
    transcripts: Sequence[Transcript],
    folder: Union[str, Path],
    formats: Sequence[str],
) -> List[Path]:
    """Write `<folder>/<recording><suffix>` for each recording and format.

    Files are written atomically, after all texts were made. Files of an earlier run are
    replaced.

    Args:
        transcripts: Of recordings with different names.
        folder: Is created if needed.
        formats: Keys of `FORMATS`.

    Returns:
        The files, recording by recording.

    Raises:
        UserError: see `output_paths`; nothing is written then.
        ValueError: a transcript has invalid words (see `tidy.tidy`).
    """
    names = [transcript.recording for transcript in transcripts]
    paths = output_paths(names, folder, formats)
    by_name = dict(zip(names, transcripts))
    texts = {
        path: render([by_name[recording]], format)
        for (recording, format), path in paths.items()
    }
    for path, text in texts.items():
        write_whole(path, text)
    return list(texts)
