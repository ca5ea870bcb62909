"""Stages 1 to 13 of the LibriMix recipe, on stand-ins of the real shape.

Corpora come from a mirror as archives; WavLM and Llama are tiny, with WavLM-Large's
number of layers; training is the recipe's configuration for one epoch, in two
processes. One run is shared by all tests.
"""

import json

import pytest
import torch
from helpers.librimix_mirror import make_librimix_mirror
from helpers.recipe_copy import call, copy_ready_recipe
from helpers.tiny_models import make_tiny_llm, make_tiny_wavlm

from espnet_mtasr.data.tables import read_table

SETS = ["test_libri2mix_clean", "test_libri3mix_noisy"]
N_MIXTURES = 3
ONE_EPOCH = "--max_epoch 1 --num_iters_per_epoch none --batch_seconds 30 "
ONE_EPOCH += "--num_workers 0 --use_tensorboard false"
SMALL = "--separator_conf hidden_size=8 --count_head_conf hidden_size=8"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run: its recipe, a way to call it again, what it said."""
    root = tmp_path_factory.mktemp("repository")
    recipe = copy_ready_recipe(root, "librimix")
    models = tmp_path_factory.mktemp("models")
    mirror = make_librimix_mirror(tmp_path_factory.mktemp("mirror"), N_MIXTURES)
    with (recipe / "db.sh").resolve().open("a") as db:
        for variable in ("LIBRISPEECH_URL", "WHAM_NOISE_URL", "LIBRIMIX_URL"):
            db.write(f"export {variable}=file://{mirror}\n")
        db.write(f"export CORPORA_MD5SUMS={mirror}/md5sum.txt\n")
    options = [
        *("--encoder", make_tiny_wavlm(models / "wavlm", num_hidden_layers=24)),
        *("--llm", make_tiny_llm(models / "llama")),
        *("--ngpu", 0, "--num_processes", 2, "--nj", 2, "--inference_nj", 1),
        *("--test_sets", " ".join(SETS)),
        *("--phase1_args", ONE_EPOCH, "--phase2_args", f"{ONE_EPOCH} {SMALL}"),
    ]

    def again(*more):
        done = call(["./run.sh", *options, *more], recipe, timeout=None)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    return recipe, again, again()


def test_all_stages_ran_and_nothing_is_missing(run):
    recipe, _, said = run
    for stage in range(1, 14):
        assert f"Stage {stage} took" in said
    results = json.loads((recipe / "exp/mtasr_phase2/results.json").read_text())
    assert list(results["sets"]) == SETS
    for row in results["sets"].values():
        counted = [row[name] for name in ("n_utt", "n_scored", "n_missing")]
        assert counted == [N_MIXTURES, N_MIXTURES, 0]
    assert "talker 2 begins at 1.0 to 1.5 s" in results["mixtures"]


def test_sets_are_librimixs(run):
    recipe, _, _ = run
    train = read_table(recipe / "data/train_both/utt2num_spk")
    # Two parts, two talker counts, clean and noisy.
    assert sorted(train.values()) == ["2"] * 4 * N_MIXTURES + ["3"] * 4 * N_MIXTURES
    for name in ("dev_libri2mix_clean", "dev_libri3mix_noisy", *SETS):
        onsets = read_table(recipe / "data" / name / "onsets")
        assert len(onsets) == N_MIXTURES
        for line in onsets.values():
            first, second, *third = map(float, line.split())
            assert first == 0.0 and 1.0 <= second <= 1.5
            assert len(third) == int(name.partition("libri")[2][0]) - 2
            assert all(2.5 <= onset <= 3.0 for onset in third)


def test_both_phases_trained_in_two_processes(run):
    recipe, _, _ = run
    for phase, frozen in ((1, "encoder.trunk."), (2, "teacher.")):
        exp = recipe / "exp" / f"mtasr_phase{phase}"
        log = (exp / "train.log").read_text()
        assert "torch.distributed.run" in log and "1epoch results" in log
        state = torch.load(exp / "latest.pth", weights_only=True)
        assert any(name.startswith(frozen) for name in state)
        assert all(value.isfinite().all() for value in state.values())


def test_stage_1_again_makes_nothing_anew(run):
    recipe, again, _ = run
    made = {
        path: path.stat().st_mtime_ns
        for folder in ("downloads", "data/local/mixtures")
        for path in (recipe / folder).rglob("*.flac")
    }
    assert len(made) > 2 * 2 * 4 * N_MIXTURES
    said = again("--stop_stage", 1)
    assert "LIBRISPEECH: downloads/LibriSpeech is ready" in said
    assert "unpacking" not in said
    assert made == {path: path.stat().st_mtime_ns for path in made}
