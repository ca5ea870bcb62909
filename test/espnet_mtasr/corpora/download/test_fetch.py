"""Downloads that break, change, are refused or don't fit: nothing is lost or spoilt."""

import errno
import json
import os
import socket
import subprocess

import pytest
from helpers.stand_in_mirror import serve

from espnet_mtasr.corpora.download import fetch as fetch_module
from espnet_mtasr.corpora.download.fetch import (
    Patience,
    Remote,
    SourceError,
    fetch,
    note_of,
    part_of,
    probe,
)
from espnet_mtasr.errors import UserError

QUICK = Patience(retries=1, wait=0.01, timeout=5)
ONCE = Patience(retries=0, wait=0.01, timeout=5)
CONTENT = bytes(range(256)) * 40  # 10,240 bytes


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "a.zip").write_bytes(CONTENT)
    with serve(folder) as server:
        yield server


def get(server, path, patience=QUICK, has_checksum=False):
    fetch(f"{server.url}/a.zip", path, has_checksum, patience)
    return part_of(path).read_bytes()


def test_whole(server, tmp_path):
    path = tmp_path / "new" / "a.zip"
    assert get(server, path) == CONTENT
    assert server.asked("a.zip") == [None]
    assert not path.exists()  # it is named so only once it is checked


def test_breaks_are_met_where_they_occur(server, tmp_path):
    server.breaks["a.zip"] = [1000, 500, 9]
    assert get(server, tmp_path / "a.zip") == CONTENT
    wanted = [None, "bytes=1000-", "bytes=1500-", "bytes=1509-"]
    assert server.asked("a.zip") == wanted


def test_goes_on_in_another_run(server, tmp_path):
    server.breaks["a.zip"] = [4000, 0]
    with pytest.raises(SourceError, match="broke after 4.0 kB of 10.2 kB"):
        get(server, tmp_path / "a.zip", ONCE)
    assert server.asked("a.zip") == [None, "bytes=4000-"]
    assert part_of(tmp_path / "a.zip").read_bytes() == CONTENT[:4000]
    assert get(server, tmp_path / "a.zip", ONCE) == CONTENT
    assert server.asked("a.zip") == [None, "bytes=4000-", "bytes=4000-"]


def test_gives_up_when_nothing_comes(server, tmp_path):
    server.breaks["a.zip"] = [10, 0, 0, 0]
    with pytest.raises(SourceError, match="broke"):
        get(server, tmp_path / "a.zip")
    # The first brought something; after that one retry is allowed.
    assert len(server.asked("a.zip")) == 3


def test_server_that_ignores_range(server, tmp_path, capsys):
    server.ranges = False
    server.breaks["a.zip"] = [4000]
    assert get(server, tmp_path / "a.zip") == CONTENT
    assert server.asked("a.zip") == [None, "bytes=4000-"]
    assert "starts again" in capsys.readouterr().out


@pytest.mark.parametrize("told_by", ["etag", "size"])
def test_a_changed_file_is_begun_anew(server, tmp_path, told_by):
    server.breaks["a.zip"] = [4000, 0]
    with pytest.raises(SourceError):
        get(server, tmp_path / "a.zip", ONCE)
    new = bytes(reversed(CONTENT))
    if told_by == "etag":
        server.etag = '"two"'
    else:
        new += b"more"
    (server.folder / "a.zip").write_bytes(new)
    assert get(server, tmp_path / "a.zip") == new
    assert server.asked("a.zip")[-1] is None


@pytest.mark.parametrize("has_checksum", [True, False])
def test_one_address_of_two_machines(server, tmp_path, has_checksum):
    """Their ETags differ, their dates agree: with a checksum that is good enough."""
    server.last_modified = "Mon, 15 Jun 2015 07:12:37 GMT"
    server.breaks["a.zip"] = [4000, 0]
    with pytest.raises(SourceError):
        get(server, tmp_path / "a.zip", ONCE)
    server.etag = '"two"'
    assert get(server, tmp_path / "a.zip", QUICK, has_checksum) == CONTENT
    wanted = [None] + ["bytes=4000-"] * 2 + ([] if has_checksum else [None])
    assert server.asked("a.zip") == wanted


def put_part(path, content, **remote):
    part_of(path).write_bytes(content)
    note = {"size": len(CONTENT), "etag": '"one"', "last_modified": None, **remote}
    note_of(path).write_text(json.dumps(note))


def test_416_of_a_complete_part(server, tmp_path):
    put_part(tmp_path / "a.zip", CONTENT, url=f"{server.url}/a.zip")
    assert get(server, tmp_path / "a.zip") == CONTENT
    assert server.asked("a.zip") == ["bytes=10240-"]


def test_416_of_a_part_that_is_too_long(server, tmp_path):
    put_part(tmp_path / "a.zip", CONTENT + b"x", url=f"{server.url}/a.zip")
    assert get(server, tmp_path / "a.zip") == CONTENT
    assert server.asked("a.zip") == ["bytes=10241-", None]


def test_part_without_note_is_not_trusted(server, tmp_path):
    part_of(tmp_path / "a.zip").write_bytes(b"?" * 4000)
    assert get(server, tmp_path / "a.zip") == CONTENT
    assert server.asked("a.zip") == [None]


@pytest.mark.parametrize("has_checksum", [True, False])
def test_another_mirror_goes_on_only_with_a_checksum(server, tmp_path, has_checksum):
    put_part(tmp_path / "a.zip", CONTENT[:4000], url="http://other/a.zip", etag='"2"')
    assert get(server, tmp_path / "a.zip", QUICK, has_checksum) == CONTENT
    assert server.asked("a.zip") == ["bytes=4000-" if has_checksum else None]


def test_without_a_length(server, tmp_path):
    server.lengths = server.ranges = False
    server.breaks["a.zip"] = [4000]
    assert get(server, tmp_path / "a.zip") == CONTENT
    assert len(server.asked("a.zip")) == 2


def test_probe_tells_the_size_and_takes_one_byte(server):
    url = f"{server.url}/a.zip"
    assert probe(url, QUICK) == Remote(url, 10240, '"one"')
    server.ranges = False
    assert probe(url, QUICK).size == 10240


@pytest.mark.parametrize("status, attempts", [(403, 1), (404, 1), (503, 2)])
def test_refusals(server, tmp_path, status, attempts):
    server.status["a.zip"] = status
    for call in (
        lambda: probe(f"{server.url}/a.zip", QUICK),
        lambda: get(server, tmp_path / "a.zip"),
    ):
        server.requests.clear()
        with pytest.raises(SourceError, match=f"HTTP {status}"):
            call()
        assert len(server.requests) == attempts


def test_web_page_instead_of_the_file(server):
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(SourceError, match="answers with a web page"):
        probe(f"{server.url}/a.zip", QUICK)


def test_web_page_instead_of_the_rest(server, tmp_path):
    server.breaks["a.zip"] = [4000, 0]
    with pytest.raises(SourceError):
        get(server, tmp_path / "a.zip", ONCE)
    server.content_type, server.ranges = "text/html", False
    with pytest.raises(SourceError, match="answers with a web page"):
        get(server, tmp_path / "a.zip")
    assert part_of(tmp_path / "a.zip").read_bytes() == CONTENT[:4000]


def test_nobody_listens(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}/a.zip"
    with pytest.raises(SourceError, match="no connection"):
        probe(url, QUICK)


def test_full_disk_keeps_what_has_come(server, tmp_path, monkeypatch):
    def write_until_full(f, block):
        f.write(block[:3000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch_module, "_write_all", write_until_full)
    with pytest.raises(UserError, match="No space left .*3.0 kB of 10.2 kB are kept"):
        get(server, tmp_path / "a.zip")
    assert part_of(tmp_path / "a.zip").read_bytes() == CONTENT[:3000]
    monkeypatch.undo()
    assert get(server, tmp_path / "a.zip") == CONTENT
    assert server.asked("a.zip") == [None, "bytes=3000-"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as e:
        pytest.skip(f"no mount: {e}")
    if done.returncode != 0:
        pytest.skip(f"a tmpfs can't be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_really_full_disk(server, small_disk):
    content = os.urandom(150_000)
    (server.folder / "a.zip").write_bytes(content)
    with pytest.raises(UserError) as e:
        get(server, small_disk / "a.zip")
    assert "No space left on device" in str(e.value)
    kept = part_of(small_disk / "a.zip").read_bytes()
    assert 0 < len(kept) < 65536
    assert content.startswith(kept)
    grow = ["mount", "-o", "remount,size=256k", str(small_disk)]
    subprocess.run(grow, check=True)
    assert get(server, small_disk / "a.zip") == content
    assert server.asked("a.zip") == [None, f"bytes={len(kept)}-"]


def test_stopped_between_note_and_bytes(server, tmp_path, monkeypatch):
    """The note of a new version must not vouch for the bytes of an old one."""
    path = tmp_path / "a.zip"
    put_part(path, b"?" * 4000, url=f"{server.url}/a.zip", etag='"old"')
    server.ranges = False
    monkeypatch.setattr(fetch_module, "_append", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        get(server, path)
    monkeypatch.undo()
    server.ranges = True
    assert get(server, path) == CONTENT


def test_part_that_can_not_be_written(server, tmp_path):
    part_of(tmp_path / "a.zip").mkdir()
    with pytest.raises(UserError, match="can't be written"):
        get(server, tmp_path / "a.zip")
