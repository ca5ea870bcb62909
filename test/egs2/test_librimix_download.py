"""egs2/librimix/mtasr1/local/download.sh with db.sh, as local/data.sh calls it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.stand_in_mirror import SUBSETS, make_mirror
from helpers.terminal import run_in_terminal

ROOT = Path(__file__).resolve().parents[2]
DOWNLOAD = ROOT / "egs2" / "librimix" / "mtasr1" / "local" / "download.sh"


@pytest.fixture
def recipe(tmp_path):
    """A recipe folder as TEMPLATE's setup.sh makes it, outside the repository."""
    folder = tmp_path / "librimix" / "mtasr1"
    setup = ROOT / "egs2" / "TEMPLATE" / "mtasr1" / "setup.sh"
    subprocess.run([setup, folder], check=True, capture_output=True)
    shutil.copy(DOWNLOAD, folder / "local")
    return folder


def environment(**variables):
    env = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    return {**env, **{name: str(value) for name, value in variables.items()}}


def call(recipe, *options, **variables):
    return subprocess.run(
        ["local/download.sh", *options],
        cwd=recipe,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_mirrors_of_db_sh(recipe, tmp_path):
    mirror = make_mirror(tmp_path / "mirror")
    urls = {f"{n}_URL": mirror.as_uri() for n in ("LIBRISPEECH", "WHAM_NOISE")}
    urls |= {"LIBRIMIX_URL": mirror, "CORPORA_MD5SUMS": mirror / "md5sum.txt"}
    done = call(recipe, **urls)
    assert (done.returncode, done.stderr) == (0, "")
    downloads = recipe / "downloads"
    assert {p.name for p in (downloads / "LibriSpeech").iterdir() if p.is_dir()} == set(
        SUBSETS
    )
    assert (downloads / "wham_noise" / "tr" / "n0.wav").is_file()
    assert (downloads / "librimix_metadata" / "Libri2Mix").is_dir()
    again = call(recipe)
    assert again.returncode == 0
    assert len(again.stdout.splitlines()) == 3

    # What db.sh points at is only checked, and the rest is as before.
    noise = tmp_path / "noise"
    (downloads / "wham_noise").rename(noise)
    done = call(recipe, WHAM_NOISE=noise)
    assert done.returncode == 0
    assert f"WHAM_NOISE: {noise} is ready" in done.stdout
    shutil.rmtree(noise / "tr")
    done = call(recipe, WHAM_NOISE=noise)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"WHAM_NOISE={noise} lacks recordings in tr" in done.stderr


def test_options_go_on(recipe, tmp_path):
    mirror = make_mirror(tmp_path / "mirror")
    done = call(recipe, "--parts", "wham_noise", WHAM_NOISE_URL=mirror)
    assert done.returncode == 0
    assert [p.name for p in (recipe / "downloads").iterdir() if p.is_dir()] == [
        "wham_noise"
    ]
    done = call(recipe, "--help")
    assert done.returncode == 0
    assert "local/download.sh" in done.stdout and "--parts" in done.stdout


def test_progress_on_a_terminal(recipe, tmp_path):
    mirror = make_mirror(tmp_path / "mirror", noise_bytes=1000)
    code, text = run_in_terminal(
        ["local/download.sh", "--parts", "wham_noise"],
        cwd=recipe,
        env=environment(WHAM_NOISE_URL=mirror),
    )
    assert code == 0
    assert "wham_noise.zip: unpacking [" in text and " %, " in text
