"""Archives that are damaged, lead outside or hold something else; and the marker."""

import errno
import gzip
import io
import json
import tarfile

import pytest
from helpers.stand_in_mirror import make_tar, make_zip

from espnet_mtasr.corpora.download import unpack as unpack_module
from espnet_mtasr.corpora.download.archives import Archive
from espnet_mtasr.corpora.download.unpack import Damaged, unpack, verify
from espnet_mtasr.errors import UserError

TAR = Archive(
    "dev", "c", "dev.tar.gz", inside="L/dev", target="L/dev", beside="L/*.TXT"
)
ZIP = Archive("noise", "c", "noise.zip", inside="noise", target="noise")


def take(archive, path, lacks=lambda folder: None):
    unpack(archive, path, path.parent / "out" / archive.target, "a mirror", lacks)


def left_behind(tmp_path):
    """What lies in the output folder, temporary folders included."""
    out = tmp_path / "out"
    return sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())


@pytest.fixture
def tar(tmp_path):
    path = tmp_path / "dev.tar.gz"
    make_tar(path, {"L/TALKERS.TXT": b"t", "L/dev/1/a.flac": b"abc" * 500, "L/x": b"x"})
    return path


def test_tar_becomes_a_folder_with_a_marker(tar, tmp_path):
    take(TAR, tar)
    # L/x is neither inside nor one of the files that are kept beside it.
    wanted = ["L/TALKERS.TXT", "L/dev/.complete", "L/dev/1/a.flac"]
    assert left_behind(tmp_path) == wanted
    marker = json.loads((tmp_path / "out/L/dev/.complete").read_text())
    assert marker == {"archive": "dev.tar.gz", "source": "a mirror", "md5": None}


def test_zip_takes_only_what_is_wanted(tmp_path):
    path = tmp_path / "noise.zip"
    make_zip(path, {"top/m/a.csv": b"1", "top/m/b.txt": b"2", "top/c.csv": b"3"})
    archive = Archive("m", "c", "", "*/m", "meta", wanted=r"[^/]+/m/[^/]+\.csv")
    take(archive, path)
    assert left_behind(tmp_path) == ["meta/.complete", "meta/a.csv"]


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "noise/../../evil", "noise\\..\\..\\evil"]
)
def test_zip_slip(tmp_path, name):
    path = tmp_path / "noise.zip"
    make_zip(path, {"noise/tr/a.wav": b"a", name: b"evil"})
    with pytest.raises(Damaged, match="is outside"):
        take(ZIP, path)
    assert left_behind(tmp_path) == []
    assert not list(tmp_path.rglob("evil"))


def test_tar_slip(tmp_path):
    path = tmp_path / "dev.tar.gz"
    make_tar(path, {"L/dev/a.flac": b"a", "../../evil": b"evil"})
    with pytest.raises(Damaged, match="outside"):
        take(TAR, path)
    assert left_behind(tmp_path) == []
    assert not list(tmp_path.rglob("evil"))


def test_tar_link_that_leads_outside(tmp_path):
    path = tmp_path / "dev.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("L/dev")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with pytest.raises(Damaged, match="link"):
        take(TAR, path)


def test_damaged_zip_member(tmp_path):
    path = tmp_path / "noise.zip"
    make_zip(path, {"noise/tr/a.wav": b"sound" * 100})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"soundsound", b"soundsOund", 1))
    with pytest.raises(Damaged, match="CRC"):
        take(ZIP, path)
    assert left_behind(tmp_path) == []


def cut(content):
    return content[: len(content) // 2]


def other_crc(content):
    """The last 8 bytes of gzip are its CRC and length."""
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


def cut_inside(content):
    """A sound gzip file of a tar that ends within its second member."""
    return gzip.compress(gzip.decompress(content)[:2500])


@pytest.mark.parametrize("damage", [cut, other_crc, cut_inside, lambda c: b"<html>"])
def test_damaged_tar(tar, tmp_path, damage):
    tar.write_bytes(damage(tar.read_bytes()))
    with pytest.raises(Damaged, match="can't be unpacked"):
        take(TAR, tar)
    assert left_behind(tmp_path) == []


def test_something_else_in_it(tmp_path):
    path = tmp_path / "noise.zip"
    make_zip(path, {"other/a.wav": b"a"})
    with pytest.raises(Damaged, match="lacks the folder noise"):
        take(ZIP, path)
    make_zip(path, {"noise/a.wav": b"a"})
    with pytest.raises(Damaged, match="lacks the recordings"):
        take(ZIP, path, lambda folder: "the recordings")
    assert left_behind(tmp_path) == []


def test_full_disk(tar, tmp_path, monkeypatch):
    def extract(self, member, *args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extract", extract)
    with pytest.raises(UserError, match="No space left on device.*is kept"):
        take(TAR, tar)
    assert tar.exists()
    assert left_behind(tmp_path) == []


def test_what_a_killed_run_left_is_no_obstacle(tar, tmp_path):
    temporary = tmp_path / "out" / "L" / ".unpacking-dev"
    (temporary / "L" / "dev" / "9").mkdir(parents=True)
    (temporary / "L" / "dev" / "9" / "old.flac").write_text("old")
    take(TAR, tar)
    wanted = ["L/TALKERS.TXT", "L/dev/.complete", "L/dev/1/a.flac"]
    assert left_behind(tmp_path) == wanted


def test_checksum_is_computed_once(tmp_path, monkeypatch):
    path = tmp_path / "dev.tar.gz"
    path.write_bytes(b"abc")
    sound = Archive("d", "c", path.name, "", "", md5="900150983cd24fb0d6963f7d28e17f72")
    verify(sound, path, remember=True)
    monkeypatch.setattr(unpack_module, "_md5", lambda *args: pytest.fail("again"))
    verify(sound, path, remember=True)
    monkeypatch.undo()
    path.write_bytes(b"abd")
    with pytest.raises(Damaged, match="not 900150983cd24fb0d6963f7d28e17f72"):
        verify(sound, path, remember=True)


def test_a_mirror_gets_no_notes(tmp_path):
    path = tmp_path / "dev.tar.gz"
    path.write_bytes(b"abc")
    sound = Archive("d", "c", path.name, "", "", md5="900150983cd24fb0d6963f7d28e17f72")
    verify(sound, path, remember=False)
    assert [p.name for p in tmp_path.iterdir()] == ["dev.tar.gz"]


def test_gzip_reader_is_the_one_that_is_drained():
    """`other_crc` above would pass unseen if tarfile's file were not gzip's."""
    packed = io.BytesIO(gzip.compress(b"\0" * 10240))
    with tarfile.open(fileobj=packed, mode="r:gz") as tar:
        assert isinstance(tar.fileobj, gzip.GzipFile)
