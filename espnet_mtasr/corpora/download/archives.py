"""Published archives: speech corpora, WHAM!'s noise, LibriMix's metadata.

LibriSpeech: Panayotov et al., ICASSP 2015, https://www.openslr.org/12; a part of it is
Mini LibriSpeech, https://www.openslr.org/31.
speechocean762: Zhang et al., Interspeech 2021, https://www.openslr.org/101.
WHAM!: Wichern et al., Interspeech 2019, http://wham.whisper.ai.
LibriMix: Cosentino et al., arXiv 2005.11262, https://github.com/JorisCos/LibriMix.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple
from urllib.parse import unquote, urlsplit

from espnet_mtasr.errors import UserError

GB = 1e9


@dataclass(frozen=True)
class Corpus:
    """A corpus, which is one variable of db.sh.

    Attributes:
        variable: In db.sh.
        url_variable: That of its mirrors.
        folder: Relative to the download folder.
        urls: Known sources of all its archives, tried in turn; see `locate`.
        page: Web page with the archives.
    """

    variable: str
    url_variable: str
    folder: str
    urls: Tuple[str, ...]
    page: str


@dataclass(frozen=True)
class Archive:
    """One archive and the folder that it becomes.

    Attributes:
        part: Its name for `--parts`.
        corpus: Key of `CORPORA`.
        file: Its file name.
        inside: The folder to unpack; may begin with `*/`.
        target: What that folder becomes, relative to the download folder.
        md5: As published; None if not published.
        size: Bytes, as published; None if not published.
        expected_size: Bytes, for the check of free disk space if no server gives the
            size.
        expansion: Unpacked size over the archive's.
        wanted: Regular expression of the members to unpack; None: all.
        beside: Files beside `inside` that are kept too (a glob pattern).
    """

    part: str
    corpus: str
    file: str
    inside: str
    target: str
    md5: Optional[str] = None
    size: Optional[int] = None
    expected_size: float = 0.0
    expansion: float = 1.0
    wanted: Optional[str] = None
    beside: Optional[str] = None


# Of LibriMix's main branch, the newest commit of its generate_librimix.sh that we know.
# LibriMix's authors promise not to change the metadata; the commit makes sure.
LIBRIMIX_COMMIT = "b898ca375c03e4039cdb3dbe3dd485aad58ec7d1"


def _openslr(variable: str, folder: str, number: int) -> Corpus:
    # OpenSLR and its mirrors, as its pages list them.
    hosts = ("www.openslr.org", "openslr.trmal.net", "openslr.elda.org")
    return Corpus(
        variable,
        f"{variable}_URL",
        folder,
        tuple(
            f"https://{host}/resources/{number}"
            for host in (*hosts, "openslr.magicdatatech.com")
        ),
        f"https://www.openslr.org/{number}",
    )


CORPORA: Dict[str, Corpus] = {
    "librispeech": _openslr("LIBRISPEECH", "LibriSpeech", 12),
    "mini_librispeech": _openslr("MINI_LIBRISPEECH", "LibriSpeech", 31),
    "speechocean762": _openslr("SPEECHOCEAN762", "speechocean762", 101),
    "wham_noise": Corpus(
        "WHAM_NOISE",
        "WHAM_NOISE_URL",
        "wham_noise",
        # LibriMix's script downloads the first. The second was the address until 2024
        # and has answered 403 or 404 since (LibriMix's issue 26, ESPnet's issue 6153):
        # should it come back, it serves.
        (
            "https://my-bucket-a8b4b49c25c811ee9a7e8bba05fa24c7.s3.amazonaws.com"
            "/wham_noise.zip",
            "https://storage.googleapis.com/whisper-public/wham_noise.zip",
        ),
        "http://wham.whisper.ai",
    ),
    "librimix_metadata": Corpus(
        "LIBRIMIX_METADATA",
        "LIBRIMIX_URL",
        "librimix_metadata",
        (f"https://github.com/JorisCos/LibriMix/archive/{LIBRIMIX_COMMIT}.zip",),
        "https://github.com/JorisCos/LibriMix",
    ),
}


def _librispeech(
    part: str, md5: str, size: int, corpus: str = "librispeech"
) -> Archive:
    return Archive(
        part,
        corpus,
        f"{part}.tar.gz",
        inside=f"LibriSpeech/{part}",
        target=f"LibriSpeech/{part}",
        md5=md5,
        size=size,
        # FLAC can't be compressed further; small files take whole blocks on disk.
        expansion=1.05,
        beside="LibriSpeech/*.TXT",
    )


# md5: https://www.openslr.org/resources/12/md5sum.txt. Bytes: what Kaldi's
# egs/librispeech/s5/local/download_and_untar.sh checks. Of Mini LibriSpeech: md5sums of
# PaddlePaddle's recipes, bytes of Kaldi's egs/mini_librispeech.
ARCHIVES: Tuple[Archive, ...] = (
    _librispeech("dev-clean", "42e2234ba48799c1f50f24a7926300a1", 337926286),
    _librispeech("test-clean", "32fa31d27d2e1cad72775fee3f4849a9", 346663984),
    _librispeech("train-clean-100", "2a93770f6d5c6c964bc36631d331a522", 6387309499),
    _librispeech("train-clean-360", "c0e676e450a7ff2f54aeade5171606fa", 23049477885),
    _librispeech(
        "train-clean-5",
        "5df7d4e78065366204ca6845bb08f490",
        332954390,
        "mini_librispeech",
    ),
    _librispeech(
        "dev-clean-2",
        "6d7ab67ac6a1d2c993d050e16d61080d",
        126046265,
        "mini_librispeech",
    ),
    # No checksum is published; gzip's own CRC is checked as it is unpacked.
    Archive(
        "speechocean762",
        "speechocean762",
        "speechocean762.tar.gz",
        inside="speechocean762",
        target="speechocean762",
        expected_size=0.55 * GB,
        expansion=1.3,
    ),
    # No checksum is published: a zip's own CRCs are checked as it is unpacked. Sizes:
    # 17.65 GB that unzip to 35 GB, says ESPnet's recipe egs2/librimix/enh1.
    Archive(
        "wham_noise",
        "wham_noise",
        "wham_noise.zip",
        inside="wham_noise",
        target="wham_noise",
        expected_size=17.65 * GB,
        expansion=2.0,
    ),
    # GitHub packs such archives anew when asked, so that no checksum of them lasts: the
    # commit names their content. Sizes are estimates, on the safe side.
    Archive(
        "librimix_metadata",
        "librimix_metadata",
        f"LibriMix-{LIBRIMIX_COMMIT}.zip",
        inside="*/metadata",
        target="librimix_metadata",
        expected_size=0.1 * GB,
        expansion=4.0,
        wanted=r"[^/]+/metadata/Libri\dMix/[^/]+\.csv",
    ),
)
PARTS: Tuple[str, ...] = tuple(archive.part for archive in ARCHIVES)
LIBRIMIX_PARTS: Tuple[str, ...] = tuple(
    archive.part
    for archive in ARCHIVES
    if archive.corpus in ("librispeech", "wham_noise", "librimix_metadata")
)


def locate(source: str, archive: Archive) -> str:
    """Return an archive's location at a source: a URL, or a path.

    A source with the archive's suffix is the archive itself, any other is a folder.

    >>> dev = ARCHIVES[0]
    >>> locate("https://www.openslr.org/resources/12/", dev)
    'https://www.openslr.org/resources/12/dev-clean.tar.gz'
    >>> locate("file:///data/my%20archives", dev)
    '/data/my archives/dev-clean.tar.gz'
    >>> locate("mirror/other.tar.gz", dev)
    'mirror/other.tar.gz'

    Raises:
        UserError: it is neither an http, https or file URL nor a path.
    """
    scheme = urlsplit(source).scheme if "://" in source else ""
    if scheme == "file":
        source = unquote(urlsplit(source).path)
    elif scheme not in ("", "http", "https"):
        raise UserError(f"{source}: give a path or an http, https or file address")
    suffix = ".zip" if archive.file.endswith(".zip") else ".tar.gz"
    if source.endswith(suffix):
        return source
    return f"{source.rstrip('/')}/{archive.file}"


def is_local(source: str) -> bool:
    """Whether `locate` gave a path."""
    return "://" not in source


def read_md5sums(path: Path) -> Dict[str, str]:
    """Read a file in md5sum's format: file name to md5.

    Raises:
        UserError: it can't be read, or a line has another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: can't be read ({e}); give md5sum's output") from e
    sums = {}
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(r"([0-9a-fA-F]{32}) [ *](?:.*/)?([^/]+)", line.strip())
        if match:
            sums[match[2]] = match[1].lower()
        elif line.strip():
            raise UserError(f"{path}:{number}: is not 'MD5 FILE' as md5sum writes it")
    return sums


def with_md5sums(
    archives: Sequence[Archive], md5sums: Dict[str, str]
) -> Tuple[Archive, ...]:
    """Replace the published checksums, for a mirror with its own archives."""
    return tuple(
        replace(a, md5=md5sums[a.file], size=None) if a.file in md5sums else a
        for a in archives
    )


def sources_of(archive: Archive, mirrors: Dict[str, str]) -> List[str]:
    """List an archive's sources; `mirrors`: corpus to sources separated by spaces."""
    given = mirrors.get(archive.corpus, "").split()
    chosen = given or CORPORA[archive.corpus].urls
    return [locate(source, archive) for source in chosen]
