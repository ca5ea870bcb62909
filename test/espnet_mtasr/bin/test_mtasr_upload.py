"""Uploading a packed model to a stand-in of the hub, and using it from there."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.stand_in_writable_hub import TOKEN, stand_in_writable_hub
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_results import save_results

from espnet_mtasr.bin import mtasr_pack
from espnet_mtasr.inference import Speech2Text

ROOT = Path(__file__).resolve().parents[3]
NOWHERE = "http://127.0.0.1:9"
PACKED = [
    "README.md",
    "config.yaml",
    "meta.yaml",
    "model.safetensors",
    "model_card.yaml",
    "results.json",
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("packed")
    model = save_tiny_model(root / "exp")
    save_results(model)
    path = root / "some_model.zip"
    mtasr_pack.main(["--mtasr_model_file", str(model), "--outpath", str(path)])
    return path


@pytest.fixture(scope="module")
def unscored(archive, tmp_path_factory):
    """The model packed without its results."""
    path = tmp_path_factory.mktemp("unscored") / "unscored.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if name != "results.json":
                new.writestr(name, old.read(name))
    return path


@pytest.fixture
def hub():
    with stand_in_writable_hub() as state:
        yield state


def python(tmp_path, endpoint, *words, **environment):
    """Run it in a process of its own: the hub's client reads its settings once."""
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_TOKEN": TOKEN,
        **environment,
    }
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done


def upload(tmp_path, endpoint, archive, repository="me/model", *options, **environment):
    words = ["-m", "espnet_mtasr.bin.mtasr_upload", "--packed_model", archive]
    words += ["--hf_repo", repository, *options]
    return python(tmp_path, endpoint, *words, **environment)


def refused(done, message):
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_upload_download_transcribe(tmp_path, hub, archive):
    done = upload(tmp_path, hub.endpoint, archive, "lab/model")
    assert done.returncode == 0, done.stderr
    files = hub.files("lab/model")
    assert sorted(set(files) - {".gitattributes"}) == PACKED
    with zipfile.ZipFile(archive) as f:
        for name in set(PACKED) - {"README.md"}:
            assert files[name] == f.read(name)
        assert b'from_pretrained("some_model.zip")' in f.read("README.md")
    assert b'from_pretrained("lab/model")' in files["README.md"]
    assert hub.private == {"lab/model": True}
    # Its owner shows it to everybody.
    hub.private["lab/model"] = False
    sha = hub.commits["lab/model"][-1][0]
    assert f"at lab/model: {hub.endpoint}/lab/model/commit/{sha}\n" in done.stdout
    assert sorted(p.name for p in archive.parent.iterdir()) == ["exp", archive.name]

    # From the hub, without token; then without the hub; then ESPnet's way.
    fetch = tmp_path / "fetch.py"
    fetch.write_text("""
import dataclasses, json, sys
from espnet_model_zoo.downloader import ModelDownloader
from espnet_mtasr.model_zoo.model_files import fetch_model

if sys.argv[2] == "zoo":
    found = ModelDownloader("zoo").download_and_unpack(sys.argv[1])
else:
    found = dataclasses.asdict(fetch_model(sys.argv[1]))
print(json.dumps(found, default=str))
""")
    speech = noises(9000)
    model = archive.parent / "exp" / "model.pth"
    expected = Speech2Text(mtasr_model_file=model)(speech)[0].sot_text
    assert expected.strip()
    for endpoint, tag, way in (
        (hub.endpoint, "lab/model", "ours"),
        (NOWHERE, "lab/model", "ours"),
        (NOWHERE, f"lab/model@{sha}", "ours"),
        (hub.endpoint, "lab/model", "zoo"),
    ):
        done = python(tmp_path, endpoint, fetch, tag, way, HF_TOKEN="")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert all(path.startswith(str(tmp_path)) for path in found.values())
        assert Speech2Text(**found)(speech)[0].sot_text == expected


def test_repeated_it_changes_nothing_and_interrupted_it_goes_on(tmp_path, hub, archive):
    hub.refusals["PUT /lfs/"] = (400, "the line went dead")
    done = upload(tmp_path, hub.endpoint, archive)
    refused(done, "--hf_repo me/model: ")
    assert "400 (the line went dead)" in done.stderr
    assert set(hub.files("me/model")) == {".gitattributes"}
    hub.refusals["POST /api/models/me/model/commit"] = (400, "no commit today")
    refused(upload(tmp_path, hub.endpoint, archive), "400 (no commit today")
    transfers = hub.count("PUT /lfs/")
    assert transfers == 2
    for _ in range(2):
        done = upload(tmp_path, hub.endpoint, archive)
        assert done.returncode == 0, done.stderr
        assert set(hub.files("me/model")) == {".gitattributes", *PACKED}
        assert len(hub.commits["me/model"]) == 2
    assert hub.count("PUT /lfs/") == transfers
    assert not list(archive.parent.glob("upload.*"))


def test_an_older_upload_is_replaced(tmp_path, hub, archive):
    old = {
        "meta.yaml": b"files: {mtasr_model_file: old.pth}\nyaml_files: {}\n",
        "old.pth": b"old",
        "routing.json": b"{}",
        "example.wav": b"mine",
        "images/mine.png": b"mine",
    }
    hub.add("me/model", old, private=True)
    public = ["--hf_private", "false"]
    done = upload(tmp_path, hub.endpoint, archive, "me/model", *public)
    assert done.returncode == 0, done.stderr
    assert "me/model already exists and stays private" in done.stdout
    assert "removing old.pth, routing.json of an earlier upload" in done.stdout
    assert set(hub.files("me/model")) == {*PACKED, "example.wav", "images/mine.png"}


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": b"{}", "model.safetensors": b""},
        {"meta.yaml": b"files: {asr_model_file: x.pth}", "x.pth": b""},
    ],
)
def test_something_else_is_not_overwritten(tmp_path, hub, archive, files):
    hub.add("me/model", files, private=True)
    refused(upload(tmp_path, hub.endpoint, archive), "me/model: has other content (")
    assert hub.files("me/model") == files


def test_a_card_that_the_hub_refuses(tmp_path, hub, archive):
    hub.refusals["POST /api/validate-yaml"] = (400, "no such licence")
    done = upload(tmp_path, hub.endpoint, archive)
    refused(done, "Invalid metadata in README.md. ; fix this and try again")
    assert set(hub.files("me/model")) == {".gitattributes"}


def test_public_if_told(tmp_path, hub, archive):
    hub.add("me/known", {})
    done = upload(tmp_path, hub.endpoint, archive, "me/known")
    refused(done, "--hf_repo me/known: exists and is public; add --hf_private false if")
    assert hub.files("me/known") == {}
    for repository in ("me/known", "me/model"):
        public = ["--hf_private", "false"]
        done = upload(tmp_path, hub.endpoint, archive, repository, *public)
        assert done.returncode == 0, done.stderr
        assert set(PACKED) <= set(hub.files(repository))
    assert hub.private == {"me/known": False, "me/model": False}


def test_a_model_that_was_not_scored(tmp_path, hub, unscored):
    for options in ([], ["--dry_run", "true", "--output_dir", tmp_path / "out"]):
        done = upload(tmp_path, hub.endpoint, unscored, "me/model", *options)
        refused(done, "unscored.zip: was packed without scores; run stages")
        assert "or add --hf_without_results true" in done.stderr
    assert hub.commits == {} and not (tmp_path / "out").exists()
    wanted = ["--hf_without_results", "true"]
    done = upload(tmp_path, hub.endpoint, unscored, "me/model", *wanted)
    assert done.returncode == 0, done.stderr
    assert b"Missing: this model" in hub.files("me/model")["README.md"]


def test_results_of_another_checkpoint(tmp_path, hub, archive):
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "results.json":
                content = content.replace(b"model.pth", b"last.pth")
            new.writestr(name, content)
    done = upload(tmp_path, hub.endpoint, other)
    refused(
        done, "was measured with last.pth, not with the packed checkpoint model.pth"
    )
    assert hub.commits == {}


def test_what_the_hub_refuses(tmp_path, hub, archive):
    def refuses(message, repository="me/model", endpoint=hub.endpoint, **environment):
        for options in ([], ["--check_access", "true"]):
            done = upload(
                tmp_path, endpoint, archive, repository, *options, **environment
            )
            refused(done, message)

    refuses(f"no token for {hub.endpoint}; run 'hf auth login'", HF_TOKEN="")
    refuses(f"{hub.endpoint} rejects the token; run 'hf", HF_TOKEN="hf_wrong")
    refuses("you/model: you is not your account; give one of your", "you/model")
    refuses(f"{NOWHERE} can't be reached (ConnectError", endpoint=NOWHERE)
    refuses("HF_HUB_OFFLINE blocks the hub; unset it", HF_HUB_OFFLINE="1")
    hub.me["auth"]["accessToken"]["role"] = "read"
    refuses("the token test may only read; make one with write access")
    assert hub.commits == {}
    # A token with rights for single repositories passes the first question.
    hub.me["auth"]["accessToken"]["role"] = "fineGrained"
    hub.refusals["POST /api/repos/create"] = (403, "no rights")
    done = upload(tmp_path, hub.endpoint, archive)
    refused(done, "the token may not write to it (no rights); give one of your own")


def test_access_is_checked_without_an_archive(tmp_path, hub):
    done = upload(
        tmp_path, hub.endpoint, "none.zip", "lab/model", "--check_access", "true"
    )
    assert (done.returncode, done.stdout) == (0, "lab/model: me may write to it\n")
    assert hub.count("GET /api/whoami-v2") == 1 and hub.count("POST") == 0


def test_dry_run(tmp_path, archive):
    out = tmp_path / "would_go"
    options = ["me/model", "--dry_run", "true", "--output_dir", out]
    for _ in range(2):
        done = upload(tmp_path, NOWHERE, archive, *options, HF_TOKEN="")
        assert done.returncode == 0, done.stderr
        assert "Dry run, nothing is uploaded" in done.stdout
        assert "me/model (private if it is new)" in done.stdout
        assert sorted(p.name for p in out.iterdir()) == PACKED
        assert all(f"MB  {name}\n" in done.stdout for name in PACKED)
    assert 'from_pretrained("me/model")' in (out / "README.md").read_text()
    (out / "meta.yaml").unlink()
    done = upload(tmp_path, NOWHERE, archive, *options)
    refused(done, "would_go: has other files; give another")


@pytest.mark.parametrize(
    "options, message",
    [
        (["model"], "--hf_repo model: must have the form owner/name"),
        (["a/b/c"], "--hf_repo a/b/c: must have the form owner/name"),
        (
            ["me/x", "--hf_private", "yes"],
            "--hf_private takes true or false, not 'yes'",
        ),
        (["me/x", "--dry_run", "1"], "--dry_run takes true or false, not '1'"),
        (["me/x"], "--packed_model none.zip: no such file; run stage 14 first"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    refused(upload(tmp_path, NOWHERE, "none.zip", *options), message)


def test_a_damaged_archive(tmp_path, hub):
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK not really")
    refused(
        upload(tmp_path, hub.endpoint, broken), "broken.zip: is damaged or not a zip"
    )
    assert hub.commits == {}


def test_a_dry_run_replaces_no_other_model(tmp_path, archive):
    """An exported model has a meta.yaml too."""
    out = tmp_path / "exported"
    out.mkdir()
    for name in ("meta.yaml", "config.yaml", "trunk.onnx"):
        (out / name).touch()
    done = upload(
        tmp_path, NOWHERE, archive, "me/model", "--dry_run", "true", "--output_dir", out
    )
    refused(done, "exported: has other files; give another")
    assert (out / "trunk.onnx").exists()
