"""Finding a model's files: folders, zips, names; what is refused."""

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import asdict

import pytest
import yaml
from helpers.tiny_inference import save_tiny_model

from espnet_mtasr.bin import mtasr_pack
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.model_zoo import model_files
from espnet_mtasr.model_zoo.model_files import ModelFiles, fetch_model

META = yaml.safe_dump(
    {
        "files": {"mtasr_model_file": "model.pth"},
        "yaml_files": {"mtasr_train_config": "config.yaml"},
    }
)
FILES = {"meta.yaml": META, "config.yaml": "a: 1\n", "model.pth": "weights"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPNET_MTASR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_zip(path, files=FILES):
    with zipfile.ZipFile(path, "w") as f:
        for name, content in files.items():
            f.writestr(name, content)
    return path


def make_folder(path, files=FILES):
    path.mkdir()
    for name, content in files.items():
        (path / name).write_text(content)
    return path


def expected(folder, model="model.pth"):
    return ModelFiles(folder / "config.yaml", folder / model)


def refused(tag, message):
    with pytest.raises(UserError) as error:
        fetch_model(tag)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_packed_model_is_unpacked_once_and_loads(tmp_path, cache, monkeypatch):
    model = save_tiny_model(tmp_path / "exp")
    archive = tmp_path / "tiny.zip"
    mtasr_pack.main(["--mtasr_model_file", str(model), "--outpath", str(archive)])
    found = fetch_model(archive)
    assert Speech2Text(**asdict(found)).model.talker_counts == (2, 3)
    [folder] = cache.iterdir()
    assert found == expected(folder, "model.safetensors")
    assert found.revision == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert fetch_model(model).revision is None
    # The same content under another name, and from another folder.
    other = archive.rename(tmp_path / "other.zip")
    monkeypatch.chdir(tmp_path)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert fetch_model("other.zip") == fetch_model(other) == found
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert [p.name for p in cache.iterdir()] == [folder.name]


def test_other_content_is_another_model(tmp_path, cache):
    first = fetch_model(make_zip(tmp_path / "a.zip"))
    second = fetch_model(make_zip(tmp_path / "a.zip", {**FILES, "model.pth": "b"}))
    assert first != second
    assert first.mtasr_model_file.read_text() == "weights"
    assert second.mtasr_model_file.read_text() == "b"


def test_what_is_lost_from_the_cache_is_unpacked_again(tmp_path, cache):
    archive = make_zip(tmp_path / "a.zip")
    found = fetch_model(archive)
    found.mtasr_model_file.unlink()
    assert fetch_model(archive) == found
    assert found.mtasr_model_file.read_text() == "weights"
    assert len(list(cache.iterdir())) == 1


def test_folders(tmp_path):
    assert fetch_model(make_folder(tmp_path / "packed")) == expected(
        tmp_path / "packed"
    )
    training = {"config.yaml": "", "1epoch.pth": "", "valid.loss_ctc.ave.pth": ""}
    exp = make_folder(tmp_path / "exp", training)
    assert fetch_model(str(exp)) == expected(exp, "valid.loss_ctc.ave.pth")
    assert fetch_model(exp / "1epoch.pth") == expected(exp, "1epoch.pth")
    (exp / "valid.loss_ctc.ave.pth").rename(exp / "2epoch.pth")
    refused(exp, "exp: has 2 checkpoints (*.pth), and no valid.loss_ctc.ave.pth; give")
    (exp / "config.yaml").unlink()
    refused(exp, "exp: has neither meta.yaml nor config.yaml; give the folder of a")
    refused(exp / "1epoch.pth", "lacks its file config.yaml")


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "..\\evil"])
def test_a_zip_that_leads_elsewhere(tmp_path, cache, name):
    archive = make_zip(tmp_path / "a.zip", {**FILES, name: "evil"})
    refused(
        archive, f"a.zip: refused, because its entry {name!r} is outside its folder"
    )
    assert not list(tmp_path.rglob("*evil*")) and not list(cache.iterdir())


def test_a_zip_with_a_link(tmp_path, cache):
    archive = make_zip(tmp_path / "a.zip")
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "a") as f:
        f.writestr(link, "/etc/passwd")
    refused(archive, "refused, because its entry 'link' is outside its folder")
    assert not list(cache.iterdir())


def test_meta_yaml_that_leads_elsewhere(tmp_path):
    (tmp_path / "secret.pth").touch()
    meta = META.replace("model.pth", "../secret.pth")
    folder = make_folder(tmp_path / "packed", {**FILES, "meta.yaml": meta})
    refused(folder, "packed: lacks its file ../secret.pth; get the model again")


@pytest.mark.parametrize(
    "files, message",
    [
        ({"a": ""}, "a.zip: has neither meta.yaml nor config.yaml"),
        ({**FILES, "meta.yaml": "a: ["}, "a.zip: its meta.yaml is damaged"),
        ({**FILES, "meta.yaml": "files: 3"}, "a.zip: its meta.yaml is damaged"),
        ({"meta.yaml": META, "config.yaml": ""}, "a.zip: lacks its file model.pth"),
        (
            {"meta.yaml": "files: {asr_model_file: a}\nyaml_files: {}"},
            "names no mtasr_model_file, so it is another kind of model (asr_model",
        ),
    ],
)
def test_a_zip_of_something_else(tmp_path, cache, files, message):
    refused(make_zip(tmp_path / "a.zip", files), message)
    assert not list(cache.iterdir())


def test_a_damaged_zip(tmp_path, cache):
    archive = make_zip(tmp_path / "a.zip")
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"weights", b"weighty"))
    refused(archive, "a.zip: is damaged or not a zip (Bad CRC-32")
    archive.write_bytes(content[:40])
    refused(archive, "a.zip: is damaged or not a zip")
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written(tmp_path, cache):
    cache.write_text("a file")
    archive = make_zip(tmp_path / "a.zip")
    refused(archive, "free some space there, or set ESPNET_MTASR_CACHE")


def test_names(tmp_path, monkeypatch):
    monkeypatch.setitem(model_files.KNOWN_MODELS, "mini", "models/none.zip")
    refused("mini", "model mini: its file models/none.zip is missing in the installed")
    archive = make_zip(tmp_path / "a.zip")
    monkeypatch.setitem(model_files.KNOWN_MODELS, "mini", str(archive))
    assert fetch_model("mini") == fetch_model(archive)
    refused("none.zip", "model none.zip: no such file; give another")
    refused("exp/none.zip", "model exp/none.zip: no such file; give another")
    refused(
        "nothing",
        "model nothing: is not a folder, a file, a model on the hub (owner/name) or "
        "one of the package's (speech, mini); give one of these",
    )


def test_a_hub_id_without_network(tmp_path):
    """In a process of its own: the hub's client reads its settings once."""
    code = (
        "from espnet_mtasr.bin import mtasr_download as m; m.run_command_line(m.main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--model", "owner/name@v1"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert (
        "model owner/name@v1 (there is no folder of this name): is not" in done.stderr
    )


def test_nothing_heavy_is_imported():
    code = "import sys, espnet_mtasr.model_zoo.model_files; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not {"torch", "huggingface_hub", "espnet2"} & set(done.stdout.split())
