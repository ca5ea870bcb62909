"""`get_models --check_access true` against a stand-in for the Hugging Face hub."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.stand_in_hub import COMMIT, fill_cache, stand_in_hub

ROOT = Path(__file__).resolve().parents[3]
LLM = "meta-llama/Llama-3.2-1B"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer_config.json": b"{}",
    "model.safetensors": b"weights",
}


def get_models(tmp_path, endpoint, *options, **environment):
    """Run it as mtasr.sh does, with a cache of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "espnet_mtasr.bin.get_models"]
        + ["--output_dir", str(tmp_path / "models"), "--encoder", ""]
        + ["--encoder_revision", "", *options],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HF_HOME": str(tmp_path / "home"),
            "HF_ENDPOINT": endpoint,
            "HF_HUB_DISABLE_XET": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done


def check(tmp_path, endpoint, llm=LLM, revision="", **environment):
    done = get_models(
        tmp_path,
        endpoint,
        *("--llm", llm, "--llm_revision", revision, "--check_access", "true"),
        **environment,
    )
    assert not (tmp_path / "models").exists()
    return done


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_without_access(tmp_path, status):
    with stand_in_hub(LLM, FILES, (status, "GatedRepo")) as (endpoint, requests):
        done = check(tmp_path, endpoint)
    assert done.returncode == 2
    assert done.stderr == (
        f"get_models: error: --llm {LLM}: is gated; "
        "request access on its hub page and run 'hf auth login', or use a model that "
        "isn't gated, for instance "
        "--llm HuggingFaceTB/SmolLM2-1.7B\n"
    )
    assert requests == [f"HEAD /{LLM}/resolve/main/config.json"]


@pytest.mark.parametrize("revision", ["", COMMIT])
def test_a_model_with_access_is_not_downloaded(tmp_path, revision):
    with stand_in_hub(LLM, FILES) as (endpoint, requests):
        done = check(tmp_path, endpoint, revision=revision)
    assert (done.returncode, done.stderr) == (0, "")
    assert requests == [f"HEAD /{LLM}/resolve/{revision or 'main'}/config.json"]


def test_what_passes_the_check_is_then_downloaded(tmp_path):
    with stand_in_hub(LLM, FILES) as (endpoint, _):
        assert check(tmp_path, endpoint).returncode == 0
        done = get_models(tmp_path, endpoint, "--llm", LLM, "--llm_revision", "")
        assert done.returncode == 0, done.stderr
    llm = tmp_path / "models" / "llm"
    assert (llm / "model.safetensors").read_bytes() == b"weights"
    assert f'"revision": "{COMMIT}"' in (tmp_path / "models/models.json").read_text()


def test_a_wrong_name_or_revision(tmp_path):
    with stand_in_hub(LLM, FILES) as (endpoint, _):
        done = check(tmp_path, endpoint, llm="meta-llama/Lama")
        assert done.returncode == 2
        about = "--llm meta-llama/Lama: the hub has no such repository for you; check"
        assert about in done.stderr
        assert done.stderr.endswith(", or give a folder (there is none of this name)\n")
        done = check(tmp_path, endpoint, revision="9" * 40)
        assert done.returncode == 2
        assert "'History'; give another --llm_revision\n" in done.stderr


def test_a_cached_model_needs_no_network(tmp_path):
    fill_cache(tmp_path / "home", LLM, FILES)
    nowhere = "http://127.0.0.1:9"
    for environment in ({}, {"HF_HUB_OFFLINE": "1"}):
        done = check(tmp_path, nowhere, revision=COMMIT, **environment)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_a_half_cached_model_needs_it(tmp_path, environment):
    fill_cache(tmp_path / "home", LLM, {"config.json": FILES["config.json"]})
    done = check(tmp_path, "http://127.0.0.1:9", revision=COMMIT, **environment)
    assert done.returncode == 2
    reason = "http://127.0.0.1:9 can't be reached|HF_HUB_OFFLINE blocks the hub"
    assert re.search(f"--llm {LLM}: ({reason})", done.stderr)
    assert done.stderr.count("\n") == 1


def test_folders_need_no_check(tmp_path):
    (tmp_path / "llm").mkdir()
    done = check(tmp_path, "http://127.0.0.1:9", llm=str(tmp_path / "llm"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_token_that_may_not_read(tmp_path):
    """Advice for reading, not for an upload."""
    with stand_in_hub(LLM, FILES, (403, "")) as (endpoint, _):
        done = check(tmp_path, endpoint)
    assert done.returncode == 2
    assert f"--llm {LLM}: the token may not read it (" in done.stderr
    assert done.stderr.count("\n") == 1 and "write" not in done.stderr
