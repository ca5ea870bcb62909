"""Get the corpora in order: check existing folders and the disk, download, unpack.

Mistakes that can be detected early (a missing folder, a dead URL, too small a disk)
stop the run before the first long download. A complete part has a marker in its folder
and is skipped the next time.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from espnet_mtasr.corpora.download import check, fetch, unpack
from espnet_mtasr.corpora.download.archives import (
    ARCHIVES,
    CORPORA,
    Archive,
    is_local,
    sources_of,
)
from espnet_mtasr.corpora.download.fetch import Patience, SourceError
from espnet_mtasr.corpora.download.meter import format_bytes
from espnet_mtasr.errors import UserError
from espnet_mtasr.locks import alone_in


@dataclass(frozen=True)
class Request:
    """What to download, and from where.

    Attributes:
        folder: Where it is downloaded to and unpacked.
        parts: Names of archives.
        given: Corpus to an existing folder, which is only checked.
        mirrors: Corpus to sources (separated by spaces) instead of the known ones.
        archives: What is published.
        talker_counts: Talker counts whose metadata are needed.
        keep_archives: Whether to keep archives after unpacking.
    """

    folder: Path
    parts: Tuple[str, ...]
    given: Dict[str, Path] = field(default_factory=dict)
    mirrors: Dict[str, str] = field(default_factory=dict)
    archives: Tuple[Archive, ...] = ARCHIVES
    talker_counts: Tuple[int, ...] = (2, 3)
    keep_archives: bool = False
    patience: Patience = Patience()

    @property
    def wanted(self) -> List[Archive]:
        return [a for a in self.archives if a.part in self.parts]

    @property
    def subsets(self) -> List[str]:
        """Requested subsets of LibriSpeech, or all if none is requested."""
        every = [a for a in self.archives if a.corpus == "librispeech"]
        asked = [a.part for a in every if a.part in self.parts]
        return asked or [a.part for a in every]

    def lacks(self, corpus: str, folder: Path) -> Optional[str]:
        """Return what the folder of one archive lacks."""
        if corpus in ("librispeech", "mini_librispeech"):
            return check.lacking_in_librispeech(folder)
        if corpus == "speechocean762":
            return check.lacking_in_speechocean762(folder)
        if corpus == "wham_noise":
            return check.lacking_in_wham_noise(folder)
        return check.lacking_in_metadata(folder, self.subsets, self.talker_counts)


@dataclass
class Step:
    """One archive to unpack.

    Attributes:
        path: The archive, or where it will be.
        sources: URLs that may have it; none: it is already at `path`.
        size: Of the archive, in bytes, if known.
        unpacked: Estimated size after unpacking, in bytes.
    """

    archive: Archive
    path: Path
    sources: List[str]
    size: float
    unpacked: float


def get_corpora(request: Request) -> Dict[str, Path]:
    """Get all requested corpora; return corpus to its folder.

    Raises:
        UserError: a given folder lacks something, a file is not available, an archive
            is damaged, or the disk is too small.
    """
    roots = _check_given(request)
    missing = []
    for archive in request.wanted:
        if archive.corpus not in roots and not _is_ready(archive, request):
            missing.append(archive)
    if missing:
        with alone_in(request.folder, "downloading"):
            steps = [_plan(archive, request) for archive in missing]
            # The largest first: its archive is removed before the others need space.
            steps.sort(key=lambda step: step.size, reverse=True)
            _check_disk(steps, request)
            for step in steps:
                _carry_out(step, request)
    for corpus in dict.fromkeys(a.corpus for a in request.wanted):
        if corpus not in roots:
            roots[corpus] = request.folder / CORPORA[corpus].folder
        print(f"{CORPORA[corpus].variable}: {roots[corpus]} is ready", flush=True)
    return roots


def _check_given(request: Request) -> Dict[str, Path]:
    """Check the folders that db.sh names; all problems go into one message."""
    roots, troubles = {}, []
    for name in dict.fromkeys(a.corpus for a in request.wanted):
        if name in request.given:
            roots[name] = request.given[name]
            trouble = _trouble_with(name, roots[name], request)
            if trouble:
                troubles.append(f"{CORPORA[name].variable}={roots[name]} {trouble}")
    if troubles:
        raise UserError(
            f"{'; '.join(troubles)}; fix db.sh, or set the variable to 'downloads' "
            "there to download it"
        )
    if "librispeech" in roots:
        _note_incomplete(roots["librispeech"], request.subsets)
    return roots


def _trouble_with(name: str, root: Path, request: Request) -> Optional[str]:
    """Return the problem of a given folder; None if there is none."""
    if not root.is_dir():
        return "is no folder"
    folder = CORPORA[name].folder
    lacking, elsewhere = [], False
    for archive in request.wanted:
        if archive.corpus == name:
            inside = Path(archive.target).relative_to(folder)
            if lacks := request.lacks(name, root / inside):
                lacking.append(lacks)
                elsewhere |= not request.lacks(name, root / folder / inside)
    if not lacking:
        return None
    hint = f" (did you mean {root / folder}?)" if elsewhere else ""
    return f"lacks {', '.join(lacking)}{hint}"


def _note_incomplete(root: Path, subsets: Sequence[str]) -> None:
    for note in check.incomplete_subsets(root, subsets):
        print(note, flush=True)


def _is_ready(archive: Archive, request: Request) -> bool:
    """Whether a part already exists, made by this program or otherwise.

    Raises:
        UserError: something else is in its place.
    """
    target = request.folder / archive.target
    if not target.is_dir() or not any(target.iterdir()):
        return False
    lacks = request.lacks(archive.corpus, target)
    ours = (target / unpack.MARKER).is_file()
    if lacks and ours:
        raise UserError(
            f"{target}: was complete, but lacks {lacks}; remove the folder and run "
            "again to download it again"
        )
    if lacks:
        raise UserError(
            f"{target}: exists but lacks {lacks}; move it away, or complete it"
        )
    if not ours:
        print(f"{target}: was not unpacked by this program; used as it is", flush=True)
        if archive.corpus == "librispeech":
            _note_incomplete(target.parent, [archive.part])
    return True


def _plan(archive: Archive, request: Request) -> Step:
    """Find a source for an archive, and its size.

    Raises:
        UserError: there is none.
    """
    # What a break in the middle has left there would count as used.
    shutil.rmtree(
        unpack.temporary_of(request.folder / archive.target), ignore_errors=True
    )
    path = request.folder / archive.file
    sources = sources_of(archive, request.mirrors)
    if path.is_file():
        return _local_step(archive, path)
    failed = {}
    for number, source in enumerate(sources):
        try:
            if is_local(source):
                if Path(source).is_file():
                    return _local_step(archive, Path(source))
                raise SourceError("no such file")
            size = fetch.probe(source, request.patience).size
            if archive.size and size and size != archive.size:
                raise SourceError(f"has {size} bytes, not the {archive.size} published")
            expected = size or archive.size or archive.expected_size
            remote = [s for s in sources[number:] if not is_local(s)]
            return Step(archive, path, remote, expected, expected * archive.expansion)
        except (SourceError, OSError) as e:
            failed[source] = str(e)
    raise _not_to_be_had(archive, request, failed)


def _local_step(archive: Archive, path: Path) -> Step:
    size = path.stat().st_size
    return Step(archive, path, [], size, unpack.unpacked_size(archive, path))


def _not_to_be_had(
    archive: Archive, request: Request, failed: Dict[str, str]
) -> UserError:
    """Explain why no source (key of `failed`) has an archive, and what to do."""
    corpus = CORPORA[archive.corpus]
    return UserError(
        f"{archive.file}: is not available ({_say(failed)}); download it by hand from "
        f"{corpus.page}, put it at {request.folder / archive.file} and run again, or "
        f"set {corpus.url_variable} in db.sh to a mirror"
    )


def _say(failed: Dict[str, str]) -> str:
    if len(failed) > 1 and len(set(failed.values())) == 1:
        hosts = ", ".join(urlsplit(source).netloc or source for source in failed)
        return f"{hosts}: {next(iter(failed.values()))}"
    return "; ".join(f"{source}: {why}" for source, why in failed.items())


def space_needed(steps: Sequence[Step], request: Request) -> float:
    """Return the peak number of additional bytes on the disk."""
    most = used = 0.0
    for step in steps:
        if step.sources:
            used += max(step.size - fetch.bytes_there(step.path), 0)
        used += step.unpacked
        most = max(most, used)
        if _is_removed(step, request):
            used -= step.size
    return most


def _is_removed(step: Step, request: Request) -> bool:
    return not request.keep_archives and _is_ours(step, request)


def _is_ours(step: Step, request: Request) -> bool:
    """Whether an archive is in the download folder, not in a mirror."""
    return step.path == request.folder / step.archive.file


def _check_disk(steps: Sequence[Step], request: Request) -> None:
    needed = space_needed(steps, request)
    free = shutil.disk_usage(request.folder).free
    names = ", ".join(step.archive.part for step in steps)
    line = (
        f"{request.folder}: {names} need about {format_bytes(needed)} more, but "
        f"{format_bytes(free)} are free"
    )
    if needed > free:
        raise UserError(
            f"{line}; free some space, or make {request.folder} a link to a larger disk"
        )
    print(line, flush=True)


def _carry_out(step: Step, request: Request) -> None:
    archive, path = step.archive, step.path
    source = str(path)
    if step.sources:
        source = _download(step, request)
    target = request.folder / archive.target
    print(f"{archive.part}: unpacking {path} to {target}", flush=True)
    try:
        unpack.verify(archive, path, remember=_is_ours(step, request))
        unpack.unpack(
            archive,
            path,
            target,
            source,
            lambda folder: request.lacks(archive.corpus, folder),
        )
    except unpack.Damaged as e:
        if not _is_ours(step, request):
            raise UserError(f"{path}: {e}; put an intact copy there") from e
        _remove(path)
        raise UserError(
            f"{path}: {e}; it was removed: run again to download it again, or get it "
            f"by hand from {CORPORA[archive.corpus].page}"
        ) from e
    if _is_removed(step, request):
        _remove(path)


def _remove(path: Path) -> None:
    path.unlink()
    unpack.checked_of(path).unlink(missing_ok=True)


def _download(step: Step, request: Request) -> str:
    """Download an archive from the first source that has all of it; return which."""
    archive, path = step.archive, step.path
    failed = {}
    for source in step.sources:
        there = fetch.bytes_there(path)
        so_far = f", {format_bytes(there)} already there" if there else ""
        print(
            f"{archive.part}: {source} ({format_bytes(step.size)}{so_far})", flush=True
        )
        try:
            fetch.fetch(source, path, archive.md5 is not None, request.patience)
        except SourceError as e:
            failed[source] = str(e)
            continue
        fetch.part_of(path).replace(path)
        fetch.discard(path)
        return source
    if there := fetch.bytes_there(path):
        raise UserError(
            f"{archive.file}: the download was interrupted ({_say(failed)}); "
            f"{format_bytes(there)} are kept: run again to resume"
        )
    raise _not_to_be_had(archive, request, failed)
