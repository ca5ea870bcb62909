"""Download one file over HTTP; an interrupted download can be resumed.

The data so far are kept in NAME.part and continued with a Range request (RFC 9110,
section 14); NAME.part.json says which version of the file they belong to. The standard
library does the rest: none of the package's dependencies offers resumed downloads.
"""

import http.client
import json
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Iterator, Optional, TypeVar

import espnet_mtasr
from espnet_mtasr.corpora.download.meter import Meter, format_bytes
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole

TRANSIENT_CODES = (408, 425, 429, 500, 502, 503, 504)
BLOCK = 1 << 18
LONGEST_WAIT = 60.0
T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How interruptions are handled.

    Attributes:
        retries: Failed attempts in a row before a source is given up.
        wait: Seconds before the first of them; doubled each time, up to 60.
        timeout: Seconds without data after which a download counts as interrupted.
    """

    retries: int = 5
    wait: float = 1.0
    timeout: float = 60.0


@dataclass(frozen=True)
class Remote:
    """One version of a file on a server; None: the server does not say."""

    url: str
    size: Optional[int] = None
    etag: Optional[str] = None
    last_modified: Optional[str] = None


class SourceError(Exception):
    """A source does not have the file; the message says why."""


class _Break(Exception):
    """Worth another attempt."""


class _NoConnection(_Break):
    """The server was not reached at all."""


def part_of(path: Path) -> Path:
    """Return the path of an unfinished download."""
    return path.with_name(path.name + ".part")


def note_of(path: Path) -> Path:
    """Return the note beside it."""
    return path.with_name(path.name + ".part.json")


def bytes_there(path: Path) -> int:
    """Return how many bytes of a download are there."""
    part = part_of(path)
    return part.stat().st_size if part.is_file() else 0


def discard(path: Path) -> None:
    """Remove an unfinished download."""
    part_of(path).unlink(missing_ok=True)
    note_of(path).unlink(missing_ok=True)


def probe(url: str, patience: Patience) -> Remote:
    """Ask a server for one byte of a file, to check that it exists and get its size.

    Raises:
        SourceError: the file is not available there.
    """

    def ask() -> Remote:
        try:
            with _open(url, {"Range": "bytes=0-0"}, patience.timeout) as response:
                return _describe(url, response)
        except urllib.error.HTTPError as e:  # 416: it has no first byte
            raise SourceError("has an empty file") from e

    return _insist(ask, lambda: 0, patience)


def fetch(url: str, path: Path, has_checksum: bool, patience: Patience) -> Remote:
    """Download `url` until `path`.part is complete; resume an existing part.

    A file that has changed since (ETag, date or size) is downloaded from the beginning.

    Args:
        has_checksum: The whole will be compared with a checksum, so that one mirror's
            beginning may be continued from another.

    Raises:
        SourceError: the source does not have the file; the data so far are kept.
        UserError: it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return _insist(
        lambda: _transfer(url, path, has_checksum, patience.timeout),
        lambda: bytes_there(path),
        patience,
    )


def _insist(
    attempt: Callable[[], T], bytes_so_far: Callable[[], int], patience: Patience
) -> T:
    """Call `attempt` until it succeeds or too many in a row have failed."""
    at_first = bytes_so_far()
    failures = 0
    while True:
        before = bytes_so_far()
        try:
            return attempt()
        except _Break as e:
            now = bytes_so_far()
            failures = 0 if now > before else failures + 1
            allowed = patience.retries
            if isinstance(e, _NoConnection) and now <= at_first:
                # A machine without a network must not wait for minutes.
                allowed = min(allowed, 1)
            if failures > allowed:
                raise SourceError(str(e)) from e
            time.sleep(min(patience.wait * 2 ** max(failures - 1, 0), LONGEST_WAIT))


def _open(url: str, headers: dict, timeout: float):
    agent = f"espnet_mtasr/{espnet_mtasr.__version__}"
    # Some servers answer 403 to Python's own name.
    request = urllib.request.Request(url, headers={"User-Agent": agent, **headers})
    try:
        return urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as e:
        if e.code == 416:
            raise
        why = f"HTTP {e.code} {e.reason}".strip()
        raise (_Break if e.code in TRANSIENT_CODES else SourceError)(why) from e
    except urllib.error.URLError as e:
        raise _explain(e.reason) from e
    except (OSError, http.client.HTTPException) as e:
        raise _explain(e) from e


def _explain(reason) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return SourceError(f"its certificate is not valid ({reason.verify_message})")
    if isinstance(reason, (socket.gaierror, ConnectionRefusedError)):
        return _NoConnection(f"no connection ({reason.strerror or reason})")
    if isinstance(reason, TimeoutError):
        return _Break("no answer in time")
    if isinstance(reason, OSError) and not isinstance(reason, ConnectionError):
        return _NoConnection(f"no connection ({reason.strerror or reason})")
    return _Break(f"the connection broke ({reason or type(reason).__name__})")


def _describe(url: str, response) -> Remote:
    headers = response.headers
    if headers.get_content_type() == "text/html":
        # A log-in page must not be taken for the file, or overwrite its beginning.
        raise SourceError("answers with a web page")
    if response.status == 206:
        size = _parse_range(headers.get("Content-Range"))[1]
    else:
        length = headers.get("Content-Length")
        size = int(length) if length and length.isdecimal() else None
    return Remote(url, size, headers.get("ETag"), headers.get("Last-Modified"))


def _parse_range(content_range: Optional[str]):
    """Return (first byte, total) of a Content-Range; None if missing.

    >>> _parse_range("bytes 7-9/10"), _parse_range("bytes */10"), _parse_range("odd")
    ((7, 10), (None, 10), (None, None))
    """
    match = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", (content_range or "").strip()
    )
    if not match:
        return None, None
    first, total = match.groups()
    return (
        int(first) if first else None,
        int(total) if total and total != "*" else None,
    )


def _read_note(path: Path) -> Optional[Remote]:
    try:
        return Remote(**json.loads(note_of(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _same_version(old: Optional[Remote], new: Remote, has_checksum: bool) -> bool:
    """Whether bytes of `old` can be continued with those of `new`."""
    if old is None or old.size != new.size:
        return False
    if old.url != new.url:
        return has_checksum
    stamps = [(old.etag, new.etag), (old.last_modified, new.last_modified)]
    agree = [a == b for a, b in stamps if a and b]
    # One address may be served by several machines, each with its own ETags.
    return not agree or (any(agree) if has_checksum else all(agree))


def _transfer(url: str, path: Path, has_checksum: bool, timeout: float) -> Remote:
    """One attempt: request the missing bytes, and append them to the part."""
    start, old = bytes_there(path), _read_note(path)
    if start and (old is None or (old.url != url and not has_checksum)):
        start = 0
    try:
        headers = {"Range": f"bytes={start}-"} if start else {}
        with _open(url, headers, timeout) as response:
            remote = _describe(url, response)
            if response.status == 206:
                first = _parse_range(response.headers.get("Content-Range"))[0]
                if first != start or not _same_version(old, remote, has_checksum):
                    discard(path)
                    raise _Break("the file has changed")
            elif start:
                print(f"{path.name}: {url} starts again", flush=True)
                start = 0
            with _writing(path, remote.size):
                if not start:
                    # First, so that the note is never beside another file's bytes.
                    discard(path)
                write_whole(note_of(path), json.dumps(asdict(remote)) + "\n")
            _append(response, path, start, remote.size)
    except urllib.error.HTTPError as e:  # 416: there is nothing after `start`
        remote = Remote(url, _parse_range(e.headers.get("Content-Range"))[1])
        if remote.size != start or not _same_version(old, remote, has_checksum):
            discard(path)
            raise _Break("the file has changed") from e
    return remote


def _append(response, path: Path, start: int, total: Optional[int]) -> None:
    meter = Meter(path.name, total, start)
    done = start
    try:
        # Unbuffered, so that the bytes that a full disk accepted are in the file.
        with _writing(path, total):
            f = part_of(path).open("ab" if start else "wb", buffering=0)
        with f:
            while True:
                try:
                    block = response.read(BLOCK)
                except (OSError, http.client.HTTPException) as e:
                    raise _Break(
                        f"the connection broke after {format_bytes(done)}"
                    ) from e
                if not block:
                    break
                with _writing(path, total):
                    _write_all(f, block)
                done += len(block)
                meter.show(done)
            with _writing(path, total):
                os.fsync(f.fileno())
    finally:
        meter.close()
    if total is not None and done < total:
        raise _Break(
            f"the connection broke after {format_bytes(done)} of {format_bytes(total)}"
        )


def _write_all(f, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[f.write(left) :]


@contextmanager
def _writing(path: Path, total: Optional[int]) -> Iterator[None]:
    """Turn errors of writing into one line."""
    try:
        yield
    except OSError as e:
        of = f" of {format_bytes(total)}" if total else ""
        raise UserError(
            f"{part_of(path)}: can't be written ({e.strerror}); "
            f"{format_bytes(bytes_there(path))}{of} are kept: free some space in "
            f"{path.parent} or link it to a larger disk, and run again"
        ) from e
