"""The corpora from a stand-in mirror: by file, by path, by HTTP, stopped, run again."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.stand_in_mirror import (
    LIBRIMIX_ZIP,
    SUBSETS,
    make_mirror,
    make_tar,
    make_zip,
    serve,
    write_md5sums,
)

from espnet_mtasr.bin.download_corpora import main
from espnet_mtasr.corpora.download import corpora, unpack
from espnet_mtasr.corpora.download.archives import ARCHIVES
from espnet_mtasr.errors import run_command_line
from espnet_mtasr.locks import alone_in

QUICK = ["--retries", "1", "--retry_wait", "0.01", "--timeout", "5"]
DEV = "LibriSpeech/dev-clean"


@pytest.fixture
def mirror(tmp_path):
    return make_mirror(tmp_path / "mirror")


@pytest.fixture
def server(mirror):
    with serve(mirror) as server:
        yield server


@pytest.fixture
def download(tmp_path, mirror, capsys):
    """Run the command line; returns exit code, stdout, stderr."""

    def run(*options, source=None, md5sums=mirror / "md5sum.txt"):
        sources = []
        for name in ("librispeech_url", "wham_noise_url", "librimix_url"):
            sources += [f"--{name}", str(source)] if source else []
        command = ["--download_dir", str(tmp_path / "downloads"), *QUICK, *sources]
        command += ["--md5sums", str(md5sums)] if md5sums else []
        code = 0
        try:
            run_command_line(main, [*command, *map(str, options)])
        except SystemExit as e:
            code = e.code
        return (code, *capsys.readouterr())

    return run


def tree(folder: Path):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def everything():
    files = [".lock", "LibriSpeech/SPEAKERS.TXT"]
    for subset in SUBSETS:
        inside = f"LibriSpeech/{subset}"
        files += [f"{inside}/.complete", f"{inside}/11/7/11-7-0000.flac"]
        files += [f"{inside}/11/7/11-7.trans.txt"]
        files += [
            f"librimix_metadata/Libri{k}Mix/libri{k}mix_{subset}.csv" for k in (2, 3)
        ]
    files += ["librimix_metadata/.complete", "wham_noise/.complete"]
    files += ["wham_noise/README.txt"]
    files += [f"wham_noise/{split}/n0.wav" for split in ("tr", "cv", "tt")]
    return sorted(files)


@pytest.mark.parametrize("kind", ["path", "file", "http"])
def test_all_of_it(download, mirror, tmp_path, server, kind):
    source = {"path": mirror, "file": mirror.as_uri(), "http": server.url}[kind]
    before = tree(mirror)
    code, out, err = download(source=source)
    assert (code, err) == (0, "")
    assert tree(tmp_path / "downloads") == everything()
    # The archives of a mirror on this machine are read where they lie.
    assert tree(mirror) == before
    assert out.splitlines()[-3:] == [
        f"LIBRISPEECH: {tmp_path}/downloads/LibriSpeech is ready",
        f"WHAM_NOISE: {tmp_path}/downloads/wham_noise is ready",
        f"LIBRIMIX_METADATA: {tmp_path}/downloads/librimix_metadata is ready",
    ]
    marker = json.loads((tmp_path / "downloads" / DEV / ".complete").read_text())
    archive = (mirror / "dev-clean.tar.gz").read_bytes()
    assert marker["md5"] == hashlib.md5(archive).hexdigest()


def test_second_run_does_nothing(download, server, tmp_path, monkeypatch):
    assert download(source=server.url)[0] == 0
    asked = len(server.requests)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "downloads").rglob("*")}
    monkeypatch.setattr(unpack, "_md5", lambda *args: pytest.fail("hashed again"))
    code, out, err = download(source=server.url)
    assert (code, err) == (0, "")
    assert out.count("is ready") == len(out.splitlines()) == 3
    assert len(server.requests) == asked
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "downloads").rglob("*")}
    assert after == stamps


def test_some_parts(download, mirror, tmp_path):
    code, out, _ = download("--parts", "dev-clean", "wham_noise", source=mirror)
    assert code == 0
    folder = tmp_path / "downloads"
    assert (folder / DEV).is_dir() and (folder / "wham_noise").is_dir()
    assert not (folder / "LibriSpeech" / "test-clean").exists()
    assert not (folder / "librimix_metadata").exists()


def test_keep_archives(download, server, tmp_path):
    parts = ["--parts", "dev-clean", "wham_noise"]
    assert download(*parts, "--keep_archives", source=server.url)[0] == 0
    archives = [p.name for p in (tmp_path / "downloads").iterdir() if p.is_file()]
    wanted = [".lock", "dev-clean.tar.gz", "dev-clean.tar.gz.checked"]
    assert sorted(archives) == [*wanted, "wham_noise.zip"]


def test_break_and_resume(download, server, tmp_path):
    # Three attempts: one that brings 100 bytes, and two that bring nothing.
    server.breaks["wham_noise.zip"] = [100, 0, 0]
    code, _, err = download("--parts", "wham_noise", source=server.url)
    assert code == 2
    assert err.count("\n") == 1
    assert "was interrupted" in err and "100 B are kept: run again to resume" in err
    assert (tmp_path / "downloads" / "wham_noise.zip.part").stat().st_size == 100
    code, out, _ = download("--parts", "wham_noise", source=server.url)
    assert code == 0
    assert "100 B already there" in out
    assert server.asked("wham_noise.zip") == [None] + ["bytes=100-"] * 3
    assert tree(tmp_path / "downloads" / "wham_noise") == [
        ".complete",
        "README.txt",
        "cv/n0.wav",
        "tr/n0.wav",
        "tt/n0.wav",
    ]


def test_killed_while_downloading(server, tmp_path):
    """SIGKILL in the middle, from outside; the next run goes on from there."""
    make_mirror(server.folder, noise_bytes=200_000)
    command = [sys.executable, "-m", "espnet_mtasr.bin.download_corpora"]
    command += ["--download_dir", str(tmp_path / "d"), "--parts", "wham_noise"]
    # The server sends a half and the client waits a minute for a new connection.
    server.breaks["wham_noise.zip"] = [300_000]
    slow = [*command, "--wham_noise_url", server.url, "--retry_wait", "60"]
    part = tmp_path / "d" / "wham_noise.zip.part"
    with subprocess.Popen(slow, env=environment()) as process:
        end = time.monotonic() + 30
        while not (part.is_file() and part.stat().st_size == 300_000):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "d" / "wham_noise").exists()
    done = subprocess.run([*command, "--wham_noise_url", server.url], env=environment())
    assert done.returncode == 0
    assert server.asked("wham_noise.zip") == [None, "bytes=300000-"]
    noise = (tmp_path / "d" / "wham_noise" / "tt" / "n0.wav").read_bytes()
    assert noise == b"x" * 200_000


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}


def test_killed_while_unpacking(download, mirror, tmp_path, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(unpack.os, "rename", stop)
    code, _, err = download("--parts", "dev-clean", source=mirror)
    assert (code, err) == (130, "\nstopped; run again to resume\n")
    assert not (tmp_path / "downloads" / DEV).exists()
    monkeypatch.undo()
    assert download("--parts", "dev-clean", source=mirror)[0] == 0
    assert (tmp_path / "downloads" / DEV / ".complete").is_file()


def test_wrong_checksum(download, server, tmp_path):
    """The archive is sound in itself, but not the one whose checksum is known."""
    make_tar(server.folder / "dev-clean.tar.gz", {f"{DEV}/1/1/a.trans.txt": b""})
    code, _, err = download("--parts", "dev-clean", source=server.url)
    assert code == 2 and err.count("\n") == 1
    assert "its md5 is" in err and "it was removed: run again" in err
    assert tree(tmp_path / "downloads") == [".lock"]
    write_md5sums(make_mirror(server.folder))
    assert download("--parts", "dev-clean", source=server.url)[0] == 0


def test_damaged_archive(download, server, tmp_path):
    path = server.folder / "wham_noise.zip"
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"xxxxxxxx", b"xxxXxxxx", 1))
    code, _, err = download("--parts", "wham_noise", source=server.url)
    assert code == 2 and err.count("\n") == 1
    assert "CRC" in err and "it was removed: run again" in err
    assert tree(tmp_path / "downloads") == [".lock"]
    path.write_bytes(sound)
    assert download("--parts", "wham_noise", source=server.url)[0] == 0


def test_damaged_archive_of_a_local_mirror_stays(download, mirror):
    (mirror / "wham_noise.zip").write_bytes(b"<html>403</html>")
    code, _, err = download("--parts", "wham_noise", source=mirror)
    assert code == 2
    assert f"{mirror}/wham_noise.zip: it can't be unpacked" in err
    assert "put an intact copy there" in err
    assert (mirror / "wham_noise.zip").exists()


def test_zip_that_lost_its_directory(download, server, tmp_path):
    """Such a file is met when its size is asked for, before it is unpacked."""
    by_hand = tmp_path / "downloads" / "wham_noise.zip"
    by_hand.parent.mkdir()
    sound = (server.folder / "wham_noise.zip").read_bytes()
    by_hand.write_bytes(sound.replace(b"PK\x01\x02", b"????"))
    code, _, err = download("--parts", "wham_noise", source=server.url)
    assert code == 2 and err.count("\n") == 1
    assert "can't be unpacked" in err and "it was removed" in err


@pytest.mark.parametrize("status", [403, 404])
def test_refused_and_fetched_by_hand(download, server, mirror, tmp_path, status):
    server.status["wham_noise.zip"] = status
    code, _, err = download(source=server.url)
    assert code == 2 and err.count("\n") == 1
    by_hand = tmp_path / "downloads" / "wham_noise.zip"
    assert f"wham_noise.zip: HTTP {status}" in err
    assert f"by hand from http://wham.whisper.ai, put it at {by_hand} and" in err
    assert "WHAM_NOISE_URL" in err
    # It was seen before anything was downloaded.
    assert server.asked("dev-clean.tar.gz") == []
    shutil.copy(mirror / "wham_noise.zip", by_hand)
    assert download(source=server.url)[0] == 0
    assert tree(tmp_path / "downloads") == everything()


def test_file_put_there_by_hand_is_checked(download, tmp_path):
    by_hand = tmp_path / "downloads" / "wham_noise.zip"
    by_hand.parent.mkdir()
    make_zip(by_hand, {"wham_scripts/a.py": b""})
    code, _, err = download("--parts", "wham_noise", source="nowhere")
    assert code == 2
    assert f"{by_hand}: it lacks the folder wham_noise; it was removed" in err
    assert not by_hand.exists()


def test_sources_are_tried_in_turn(download, server, mirror):
    """An address may be that of the archive, under any name."""
    shutil.move(mirror / "wham_noise.zip", mirror / "moved.zip")
    both = f"{server.url}/wham_noise.zip {server.url}/moved.zip"
    code, out, _ = download("--parts", "wham_noise", "--wham_noise_url", both)
    assert code == 0
    assert f"wham_noise: {server.url}/moved.zip" in out


def test_source_that_dies_on_the_way(download, server, mirror, tmp_path):
    """LibriSpeech has checksums: the second mirror goes on where the first ended."""
    other = make_mirror(tmp_path / "other")
    shutil.copytree(mirror, other, dirs_exist_ok=True)
    server.breaks["dev-clean.tar.gz"] = [50, 0, 0]
    with serve(other) as second:
        second.etag = None
        both = f"{server.url} {second.url}"
        parts = ["--parts", "dev-clean"]
        assert download(*parts, "--librispeech_url", both)[0] == 0
        assert second.asked("dev-clean.tar.gz") == ["bytes=50-"]


def test_offline(download):
    code, out, err = download(source="http://no-such-host.invalid", md5sums=None)
    assert code == 2 and err.count("\n") == 1
    assert "no connection" in err and "no-such-host.invalid" in err
    assert out == ""


def test_another_archive_under_the_name(download, server):
    """A captive portal's page, or an older edition: seen by its size."""
    code, _, err = download("--parts", "dev-clean", source=server.url, md5sums=None)
    assert code == 2
    assert "bytes, not the 337926286 published" in err


def test_given_folders_are_only_checked(download, mirror, tmp_path):
    assert download(source=mirror)[0] == 0
    ready = tmp_path / "downloads"
    ready.rename(tmp_path / "corpora")
    ready = tmp_path / "corpora"
    given = ["--librispeech", ready / "LibriSpeech", "--wham_noise"]
    given += [ready / "wham_noise", "--librimix_metadata", ready / "librimix_metadata"]
    code, out, err = download(*given, source="nowhere")
    assert (code, err) == (0, "")
    assert f"LIBRISPEECH: {ready}/LibriSpeech is ready" in out
    # The stand-in is smaller than LibriSpeech, which is said, and allowed.
    assert f"note: {ready}/LibriSpeech/dev-clean has 1 talkers, LibriSpeech's 40" in out
    assert not (tmp_path / "downloads").exists()

    shutil.rmtree(ready / "LibriSpeech" / "train-clean-360")
    shutil.rmtree(ready / "wham_noise" / "cv")
    (ready / "librimix_metadata" / "Libri3Mix" / "libri3mix_dev-clean.csv").unlink()
    code, _, err = download(*given, source="nowhere")
    assert code == 2 and err.count("\n") == 1
    assert "lacks train-clean-360/TALKER/CHAPTER/*.trans.txt" in err
    assert f"WHAM_NOISE={ready}/wham_noise lacks recordings in cv" in err
    assert "lacks Libri3Mix/libri3mix_dev-clean.csv" in err
    assert download(*given, "--parts", "train-clean-100", source="nowhere")[0] == 0
    counts = ["--talker_counts", "2"]
    metadata = ["--parts", "dev-clean", "librimix_metadata"]
    assert download(*given, *metadata, *counts, source="nowhere")[0] == 0


def test_folder_above_the_corpus(download, mirror, tmp_path):
    assert download("--parts", "dev-clean", source=mirror)[0] == 0
    given = ["--librispeech", tmp_path / "downloads", "--parts", "dev-clean"]
    code, _, err = download(*given)
    assert code == 2
    assert f"(did you mean {tmp_path}/downloads/LibriSpeech?)" in err


def test_unpacked_by_someone_else(download, mirror, tmp_path):
    assert download("--parts", "dev-clean", source=mirror)[0] == 0
    folder = tmp_path / "downloads" / DEV
    (folder / ".complete").unlink()
    code, out, _ = download("--parts", "dev-clean", source="nowhere")
    assert code == 0
    assert f"{folder}: was not unpacked by this program; used as it is" in out
    (folder / "11" / "7" / "11-7.trans.txt").unlink()
    code, _, err = download("--parts", "dev-clean", source=mirror)
    assert code == 2 and "exists but lacks" in err


def test_complete_folder_that_lost_files(download, mirror, tmp_path):
    assert download("--parts", "wham_noise", source=mirror)[0] == 0
    shutil.rmtree(tmp_path / "downloads" / "wham_noise" / "tt")
    code, _, err = download("--parts", "wham_noise", source=mirror)
    assert code == 2
    assert "was complete, but lacks recordings in tt; remove the folder" in err


def test_disk_that_is_too_small(download, server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(corpora.shutil, "disk_usage", lambda folder: usage)
    code, _, err = download(source=server.url)
    assert code == 2 and err.count("\n") == 1
    assert f"{tmp_path}/downloads: " in err and "1.0 kB are free" in err
    assert all(header == "bytes=0-0" for _, header in server.requests)


def test_download_folder_that_is_none(download, mirror, tmp_path):
    (tmp_path / "downloads").symlink_to(tmp_path / "gone")
    code, _, err = download(source=mirror)
    assert code == 2 and err.count("\n") == 1
    assert f"{tmp_path}/downloads: can't be written (File exists)" in err


def test_two_runs_at_once(download, mirror, tmp_path):
    (tmp_path / "downloads").mkdir()
    with alone_in(tmp_path / "downloads", "downloading"):
        code, _, err = download(source=mirror)
    assert code == 2 and "another run is downloading there" in err
    assert download(source=mirror)[0] == 0


@pytest.mark.parametrize(
    "options, says",
    [
        (
            ["--wham_noise_url", "ftp://x/y.zip"],
            "give a path or an http, https or file",
        ),
        (["--retries", "-1"], "give positive numbers"),
        (["--md5sums", "no_such_file"], "no_such_file: can't be read"),
    ],
)
def test_bad_options(download, options, says):
    code, _, err = download(*options, md5sums=None)
    assert code == 2 and err.count("\n") == 1 and says in err


def test_bad_md5sums(download, mirror):
    (mirror / "md5sum.txt").write_text("abc dev-clean.tar.gz\n")
    code, _, err = download(source=mirror)
    assert code == 2 and "md5sum.txt:1: is not 'MD5 FILE'" in err


def test_names_of_the_real_archives():
    """As the publishers name them: a person who fetches them by hand sees these."""
    names = [a.file for a in ARCHIVES]
    subsets = (*SUBSETS, "train-clean-5", "dev-clean-2", "speechocean762")
    assert names == [f"{s}.tar.gz" for s in subsets] + ["wham_noise.zip", LIBRIMIX_ZIP]
