"""A local server that answers uploads as the Hugging Face hub does, and downloads them.

The requests are those of huggingface_hub 2.4 without Xet (HF_HUB_DISABLE_XET=1):
create, preupload, LFS batch, transfer and verification, commit; then information, tree
and files of any commit.
"""

import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Iterator, List, Optional, Tuple

TOKEN = "hf_of_me"
ME = {
    "name": "me",
    "orgs": [{"name": "lab"}],
    "auth": {"accessToken": {"displayName": "test", "role": "write"}},
}
LFS_SUFFIXES = (".safetensors", ".pth", ".model", ".png")
Files = Dict[str, bytes]


class HubState:
    """What the server holds, for a test to look at and to spoil.

    Attributes:
        commits: Repository to its commits, `(sha, files)`, newest last.
        private: Repository to its visibility.
        lfs: Large files that were transferred, by SHA-256.
        requests: `METHOD PATH` of all requests.
        refusals: `METHOD PATH-PREFIX` to status and message: answered so, once each.
        me: Answer to whoami.
    """

    def __init__(self) -> None:
        self.commits: Dict[str, List[Tuple[str, Files]]] = {}
        self.private: Dict[str, bool] = {}
        self.lfs: Files = {}
        self.requests: List[str] = []
        self.refusals: Dict[str, Tuple[int, str]] = {}
        self.me: Dict[str, Any] = json.loads(json.dumps(ME))
        self.endpoint = ""

    def add(self, repository: str, files: Files, private: bool = False) -> None:
        """Commit files to a repository, which is made if need be."""
        self.private.setdefault(repository, private)
        history = self.commits.setdefault(repository, [])
        seed = f"{repository} {len(history)} {sorted(files)}".encode()
        history.append((hashlib.sha1(seed).hexdigest(), dict(files)))

    def files(self, repository: str, revision: str = "main") -> Optional[Files]:
        """Files of a revision; None: there is none of this name."""
        history = self.commits[repository]
        if revision == "main":
            return history[-1][1]
        return dict(history).get(revision)

    def count(self, start: str) -> int:
        """How many requests began so."""
        return sum(request.startswith(start) for request in self.requests)


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def oid(name: str, content: bytes) -> str:
    if name.endswith(LFS_SUFFIXES):
        return hashlib.sha256(content).hexdigest()
    return git_oid(content)


class _Handler(BaseHTTPRequestHandler):
    hub: HubState

    def answer(self) -> None:
        path = self.path.split("?")[0]
        request = f"{self.command} {path}"
        self.hub.requests.append(request)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for start in list(self.hub.refusals):
            if request.startswith(start):
                status, message = self.hub.refusals.pop(start)
                return self.send(status, {"error": message})
        if path.startswith("/lfs/"):
            # Storage of its own, with signed addresses and no token.
            self.hub.lfs[path.removeprefix("/lfs/")] = body
            return self.send(200, {})
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in ("", TOKEN):
            message = "Invalid credentials in Authorization header"
            return self.send(401, {"error": message}, {"X-Error-Message": message})
        known = token == TOKEN
        if path == "/api/whoami-v2":
            return self.send(200, self.hub.me) if known else self.send(401, {})
        if path == "/api/validate-yaml":
            return self.send(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        for repository in self.hub.commits:
            if self.hub.private[repository] and not known:
                continue
            if path.startswith(f"/api/models/{repository}"):
                rest = path.removeprefix(f"/api/models/{repository}")
                return self.model_api(repository, rest.split("/")[1:], body)
            if path == f"/{repository}.git/info/lfs/objects/batch":
                return self.lfs_batch(json.loads(body))
            if path.startswith(f"/{repository}/resolve/"):
                rest = path.removeprefix(f"/{repository}/resolve/")
                return self.resolve(repository, *rest.split("/", 1))
        if path == "/lfs-verify":
            known_file = json.loads(body)["oid"] in self.hub.lfs
            return self.send(200 if known_file else 404, {})
        return self.send(404, {}, {"X-Error-Code": "RepoNotFound"})

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def create(self, wish: Dict[str, Any]) -> None:
        repository = f"{wish['organization']}/{wish['name']}"
        url = {"url": f"{self.hub.endpoint}/{repository}"}
        if repository in self.hub.commits:
            return self.send(409, {"error": "You already created this model", **url})
        self.hub.add(
            repository, {".gitattributes": b"*"}, wish.get("visibility") == "private"
        )
        return self.send(200, url)

    def model_api(self, repository: str, rest: List[str], body: bytes) -> None:
        what, revision = (rest + ["main"])[:2] if rest else ("revision", "main")
        files = self.hub.files(repository, revision)
        if files is None:
            return self.send(404, {}, {"X-Error-Code": "RevisionNotFound"})
        if what == "tree":
            return self.send(200, _tree(files))
        if what == "preupload":
            return self.send(200, {"files": _modes(files, json.loads(body)["files"])})
        if what == "commit":
            return self.commit(repository, body)
        history = self.hub.commits[repository]
        sha = history[-1][0] if revision == "main" else revision
        return self.send(
            200,
            {
                "id": repository,
                "sha": sha,
                "private": self.hub.private[repository],
                "siblings": [{"rfilename": name} for name in files],
            },
        )

    def lfs_batch(self, wish: Dict[str, Any]) -> None:
        objects = []
        for wanted in wish["objects"]:
            if wanted["oid"] not in self.hub.lfs:
                wanted["actions"] = {
                    "upload": {"href": f"{self.hub.endpoint}/lfs/{wanted['oid']}"},
                    "verify": {"href": f"{self.hub.endpoint}/lfs-verify"},
                }
            objects.append(wanted)
        self.send(200, {"transfer": "basic", "objects": objects})

    def commit(self, repository: str, body: bytes) -> None:
        files = dict(self.hub.files(repository))
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
            else:
                assert entry["key"] == "header", entry
        self.hub.add(repository, files)
        sha = self.hub.commits[repository][-1][0]
        url = f"{self.hub.endpoint}/{repository}/commit/{sha}"
        self.send(200, {"commitUrl": url, "commitOid": sha})

    def resolve(self, repository: str, revision: str, name: str) -> None:
        files = self.hub.files(repository, revision)
        if files is None:
            return self.send(404, {}, {"X-Error-Code": "RevisionNotFound"})
        if name not in files:
            return self.send(404, {}, {"X-Error-Code": "EntryNotFound"})
        shas = [sha for sha, _ in self.hub.commits[repository]]
        headers = {
            "X-Repo-Commit": shas[-1] if revision == "main" else revision,
            "ETag": f'"{oid(name, files[name])}"',
        }
        return self.send(200, files[name], headers)

    def send(self, status: int, body: Any, headers=()) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args) -> None:
        pass


def _modes(there: Files, wanted: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    return [
        {
            "path": file["path"],
            "uploadMode": "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular",
            "shouldIgnore": False,
            **(
                {"oid": oid(file["path"], there[file["path"]])}
                if file["path"] in there
                else {}
            ),
        }
        for file in wanted
    ]


def _tree(files: Files) -> List[Dict[str, Any]]:
    entries = []
    for name, content in files.items():
        entry = {"type": "file", "path": name, "size": len(content)}
        entry["oid"] = git_oid(content)
        if name.endswith(LFS_SUFFIXES):
            sha = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 130}
        entries.append(entry)
    return entries


@contextlib.contextmanager
def stand_in_writable_hub() -> Iterator[HubState]:
    """Yield the state of a server that runs meanwhile, at its `endpoint`."""
    hub = HubState()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
