"""A local server that answers as the Hugging Face hub does, for one repository."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextlib.contextmanager
def stand_in_hub(
    repository: str,
    files: Dict[str, bytes],
    refusal: Optional[Tuple[int, str]] = None,
) -> Iterator[Tuple[str, List[str]]]:
    """Yield the server's address and the requests for files so far (`METHOD PATH`).

    Args:
        repository: Its id; any other is answered as one that isn't there.
        files: Name to content.
        refusal: Status and `X-Error-Code` of every answer about a file; what a gated
            repository holds is public all the same.
    """
    requests: List[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            if "/resolve/" in self.path:
                requests.append(f"{self.command} {self.path}")
            path = self.path.split("?")[0]
            if path.startswith(f"/api/models/{repository}/tree/"):
                self.send(200, json.dumps(_tree(files)).encode())
            elif path.startswith(f"/api/models/{repository}"):
                self.send(200, json.dumps(_repository_info(repository, files)).encode())
            elif not path.startswith(f"/{repository}/resolve/"):
                self.send(401, b"", {"X-Error-Code": "RepoNotFound"})
            elif refusal is not None:
                status, code = refusal
                self.send(status, b"", {"X-Error-Code": code})
            else:
                revision, name = path[len(f"/{repository}/resolve/") :].split("/", 1)
                if revision not in ("main", COMMIT):
                    self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
                elif name not in files:
                    self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
                else:
                    headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{name}"'}
                    self.send(200, files[name], headers)

        do_GET = do_HEAD = answer

        def send(self, status: int, body: bytes, headers=()) -> None:
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _repository_info(repository: str, files: Dict[str, bytes]) -> Dict[str, object]:
    return dict(
        id=repository, sha=COMMIT, siblings=[dict(rfilename=name) for name in files]
    )


def _tree(files: Dict[str, bytes]) -> List[Dict[str, object]]:
    return [
        dict(type="file", path=name, size=len(content), oid=name)
        for name, content in files.items()
    ]


def fill_cache(home: Path, repository: str, files: Dict[str, bytes]) -> Path:
    """Write a model as the hub's client caches it; return the snapshot's folder."""
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name, content in files.items():
        (snapshot / name).write_bytes(content)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return snapshot
