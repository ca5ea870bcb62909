"""Check and unpack one archive; the folder appears atomically, with a marker."""

import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath
from typing import Callable, Iterator, Optional

from espnet_mtasr.corpora.download.archives import Archive
from espnet_mtasr.corpora.download.meter import Meter
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole

MARKER = ".complete"
BLOCK = 1 << 20
# Exceptions of Python's readers for damaged archives.
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)


class Damaged(Exception):
    """An archive is not what it should be; the message says why."""


def verify(archive: Archive, path: Path, remember: bool) -> None:
    """Compare an archive with its checksum.

    Args:
        remember: Record in NAME.checked that it was right, and trust such a record.

    Raises:
        Damaged: it has another checksum.
        UserError: it can't be read.
    """
    if archive.md5 is None:
        return
    stat = path.stat()
    size, note = stat.st_size, checked_of(path)
    seen = json.dumps([archive.md5, size, stat.st_mtime_ns]) + "\n"
    if remember and note.is_file() and note.read_text(encoding="utf-8") == seen:
        return
    try:
        found = _md5(path, size)
    except OSError as e:
        raise UserError(f"{path}: can't be read ({e.strerror}); fix it") from e
    if found != archive.md5:
        raise Damaged(f"its md5 is {found}, not {archive.md5}")
    if remember:
        with suppress(OSError):  # Without a record it is only compared again.
            write_whole(note, seen)


def checked_of(path: Path) -> Path:
    """Return the path of the record that an archive's checksum was right."""
    return path.with_name(path.name + ".checked")


def _md5(path: Path, size: int) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as f, closing(Meter(f"{path.name}: md5", size)) as meter:
        while block := f.read(BLOCK):
            digest.update(block)
            meter.show(f.tell())
    return digest.hexdigest()


def unpacked_size(archive: Archive, path: Path) -> float:
    """Estimate the unpacked size of an archive, in bytes."""
    if path.suffix == ".zip":
        # A damaged archive is reported when it is unpacked.
        with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as z:
            return sum(i.file_size for i in z.infolist() if _is_wanted(archive, i))
    return path.stat().st_size * archive.expansion


def temporary_of(target: Path) -> Path:
    """Return where a folder is unpacked before renaming: on the same disk."""
    target = target.resolve()
    return target.parent / f".unpacking-{target.name}"


def unpack(
    archive: Archive,
    path: Path,
    target: Path,
    source: str,
    lacks: Callable[[Path], Optional[str]],
) -> None:
    """Unpack `archive.inside` of the archive at `path` to `target`.

    Args:
        source: Origin of the archive, for the marker.
        lacks: Returns what the unpacked folder lacks, if anything.

    Raises:
        Damaged: the archive is damaged, has paths outside its folder, or other content.
        UserError: it can't be written.
    """
    target = target.resolve()
    temporary = temporary_of(target)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        extract = _extract_zip if path.suffix == ".zip" else _extract_tar
        extract(archive, path, temporary)
        folder = next(temporary.glob(archive.inside), None)
        if folder is None:
            raise Damaged(f"it lacks the folder {archive.inside}")
        missing = lacks(folder)
        if missing:
            raise Damaged(f"it lacks {missing}")
        for file in temporary.glob(archive.beside) if archive.beside else ():
            os.replace(file, target.parent / file.name)
        marker = {"archive": archive.file, "source": source, "md5": archive.md5}
        write_whole(folder / MARKER, json.dumps(marker, indent=2) + "\n")
        # The marker appears with the folder, never without it.
        os.rename(folder, target)
    except DAMAGE as e:
        raise Damaged(f"it can't be unpacked ({e or type(e).__name__})") from e
    except OSError as e:
        raise UserError(
            f"{target}: can't be unpacked ({e.strerror or e}); {path} is kept: free "
            f"some space in {target.parent} or link it to a larger disk, and run again"
        ) from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_wanted(archive: Archive, member: zipfile.ZipInfo) -> bool:
    return archive.wanted is None or bool(re.fullmatch(archive.wanted, member.filename))


def _extract_tar(archive: Archive, path: Path, folder: Path) -> None:
    with (
        path.open("rb") as f,
        closing(Meter(f"{path.name}: unpacking", path.stat().st_size)) as meter,
        tarfile.open(fileobj=f, mode="r:gz") as tar,
    ):
        for member in tar:
            # Refuses links and paths that lead outside, devices and unusual
            # permissions.
            tar.extract(member, folder, filter="data")
            meter.show(f.tell())
        # gzip compares its checksum at the very end, which tarfile need not reach.
        while tar.fileobj.read(BLOCK):
            pass


def _extract_zip(archive: Archive, path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as z:
        members = [m for m in z.infolist() if _is_wanted(archive, m)]
        for member in members:
            inside = PurePosixPath(member.filename.replace("\\", "/"))
            if inside.is_absolute() or ".." in inside.parts:
                raise Damaged(f"{member.filename} is outside its folder")
        total = sum(m.file_size for m in members)
        with closing(Meter(f"{path.name}: unpacking", total)) as meter:
            for done in _extract_members(z, members, folder):
                meter.show(done)


def _extract_members(z, members, folder: Path) -> Iterator[int]:
    done = 0
    for member in members:
        # Reads to the end, where the member's CRC is compared.
        z.extract(member, folder)
        done += member.file_size
        yield done
