"""A mirror with LibriSpeech-, WHAM!- and LibriMix-shaped archives, and its server."""

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional

from espnet_mtasr.corpora.download.archives import LIBRIMIX_COMMIT

SUBSETS = ("dev-clean", "test-clean", "train-clean-100", "train-clean-360")
LIBRIMIX_ZIP = f"LibriMix-{LIBRIMIX_COMMIT}.zip"


def make_mirror(folder: Path, noise_bytes: int = 3000) -> Path:
    """Write all archives and md5sum.txt; the audio files are text.

    Args:
        noise_bytes: Size of each of the three noise files, stored uncompressed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for subset in SUBSETS:
        chapter = f"LibriSpeech/{subset}/11/7"
        make_tar(
            folder / f"{subset}.tar.gz",
            {
                "LibriSpeech/SPEAKERS.TXT": b"; talkers\n",
                f"{chapter}/11-7-0000.flac": b"audio of " + subset.encode(),
                f"{chapter}/11-7.trans.txt": b"11-7-0000 ALPHA BRAVO\n",
            },
        )
    make_zip(
        folder / "wham_noise.zip",
        {
            "wham_noise/README.txt": b"noise\n",
            **{
                f"wham_noise/{s}/n0.wav": b"x" * noise_bytes for s in ("tr", "cv", "tt")
            },
        },
    )
    top = f"LibriMix-{LIBRIMIX_COMMIT}"
    members = {f"{top}/generate_librimix.sh": b"exit 1\n"}
    for count in (2, 3):
        for subset in SUBSETS:
            name = f"Libri{count}Mix/libri{count}mix_{subset}.csv"
            members[f"{top}/metadata/{name}"] = b"mixture_ID,source_1_path\n"
    members[f"{top}/metadata/LibriSpeech/dev-clean.csv"] = b"not wanted\n"
    make_zip(folder / LIBRIMIX_ZIP, members)
    write_md5sums(folder)
    return folder


def make_tar(path: Path, members: Dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def make_zip(path: Path, members: Dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)


def write_md5sums(folder: Path) -> Path:
    """List LibriSpeech's stand-ins, as OpenSLR's md5sum.txt does."""
    lines = [
        f"{hashlib.md5(p.read_bytes()).hexdigest()}  {p.name}\n"
        for p in sorted(folder.glob("*.tar.gz"))
    ]
    path = folder / "md5sum.txt"
    path.write_text("".join(lines))
    return path


@dataclass
class Server:
    """A web server of a folder, and how it misbehaves.

    Attributes:
        url: Its address.
        requests: What was asked: (file name, Range header or None).
        status: File name to an HTTP status that it answers instead.
        breaks: File name to the bytes of each coming answer that are sent before the
            connection breaks off; one entry per answer, those to `probe` not counted.
        ranges: Whether it knows Range.
        lengths: Whether it tells how long a file is (it sends it in pieces otherwise).
        etag: Sent with every file.
        last_modified: The same.
        content_type: The same.
    """

    folder: Path
    url: str = ""
    requests: List[tuple] = field(default_factory=list)
    status: Dict[str, int] = field(default_factory=dict)
    breaks: Dict[str, List[int]] = field(default_factory=dict)
    ranges: bool = True
    lengths: bool = True
    etag: Optional[str] = '"one"'
    last_modified: Optional[str] = None
    content_type: str = "application/octet-stream"

    def asked(self, name: str) -> List[Optional[str]]:
        """The Range headers of the downloads of a file, without the first look."""
        every = [header for file, header in self.requests if file == name]
        return [header for header in every if header != "bytes=0-0"]


@contextmanager
def serve(folder: Path):
    """Serve a folder on a free port of this machine."""
    server = Server(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_GET(self):
            _answer(self, server)

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()


def _answer(handler, server: Server) -> None:
    name = handler.path.rsplit("/", 1)[-1]
    asked = handler.headers.get("Range")
    server.requests.append((name, asked))
    path = server.folder / name
    status = server.status.get(name, 200 if path.is_file() else 404)
    handler.close_connection = True
    if status != 200:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    content = path.read_bytes()
    first, last = 0, len(content) - 1
    if asked and server.ranges:
        low, high = asked.removeprefix("bytes=").split("-")
        first, last = int(low), int(high or last)
        if first >= len(content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
    else:
        handler.send_response(200)
    body = content[first : last + 1]
    handler.send_header("Content-Type", server.content_type)
    if server.etag:
        handler.send_header("ETag", server.etag)
    if server.last_modified:
        handler.send_header("Last-Modified", server.last_modified)
    if server.lengths:
        handler.send_header("Content-Length", str(len(body)))
    else:
        handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    sent = len(body)
    if asked != "bytes=0-0" and server.breaks.get(name):
        sent = server.breaks[name].pop(0)
    if server.lengths:
        handler.wfile.write(body[:sent])
    else:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(body[:sent]), body[:sent]))
        if sent == len(body):
            handler.wfile.write(b"0\r\n\r\n")
