"""mtasr.sh's trainings: their environment; without phase 1, where phase 2 starts."""

import shutil
from pathlib import Path

import pytest
from helpers.recipe_copy import ROOT, call, write_script
from helpers.stand_in_decoder import ANSWERS

SETS = ["--train_set", "train", "--valid_set", "dev", "--test_sets", "t1"]
ALONE = ["--phase2_args", "--model_conf ctc_weight=1.0", "--skip_phase1", "true"]
# Notes each call, and a training's environment.
NOTE = """
echo "$*" >>{recipe}/calls
case $* in *mtasr_train*) env >{recipe}/environment ;; esac
"""


@pytest.fixture
def recipe(tmp_path):
    """A recipe before stage 11 that has neither phase 1 nor its statistics."""
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "egs2" / "TEMPLATE", root / "egs2" / "TEMPLATE")
    recipe = root / "egs2" / "tiny" / "mtasr1"
    call([root / "egs2/TEMPLATE/mtasr1/setup.sh", recipe], tmp_path).check_returncode()
    for name in ("train_phase1", "train_phase2", "decode"):
        (recipe / "conf" / f"{name}.yaml").write_text("{}\n")
    lists = recipe / "exp" / "mtasr_stats_phase2" / "lists"
    for file in (
        recipe / "data" / "token_list" / "char" / "tokens.txt",
        *(recipe / "dump" / "raw" / name / "wav.scp" for name in ("train", "dev")),
        *(lists / x / name for x in ("train", "valid") for name in ("wav.scp", "text")),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("a 1\n")
    write_script(recipe / "python", NOTE.format(recipe=recipe) + ANSWERS)
    return recipe


def run(recipe: Path, *options):
    command = ["./mtasr.sh", *SETS, "--token_type", "char", "--python", "./python"]
    done = call([*command, *options], recipe)
    calls = recipe / "calls"
    return done, calls.read_text().splitlines() if calls.exists() else []


def trainings(calls):
    return [c for c in calls if "espnet_mtasr.bin.mtasr_train" in c]


def test_phase_2_starts_from_the_encoder(recipe):
    stage = ["--stage", "11", "--stop_stage", "11"]
    done, calls = run(recipe, *stage, *ALONE[:2])
    assert done.returncode == 2
    assert "valid.loss_sot.ave.pth: no such file; run stage 8 first" in done.stderr
    assert trainings(calls) == []
    done, calls = run(recipe, *stage, *ALONE)
    assert done.returncode == 0, done.stderr
    [training] = trainings(calls)
    assert "--init_param" not in training
    assert training.endswith("--model_conf ctc_weight=1.0 --ngpu 0")


@pytest.mark.parametrize(
    "name, own, users",
    [
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1", "glibc.malloc.hugetlb=0"),
        ("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python", "upb"),
    ],
)
def test_tensors_stay_in_huge_pages(recipe, monkeypatch, name, own, users):
    def train():
        done, _ = run(recipe, "--stage", "11", "--stop_stage", "11", *ALONE)
        assert done.returncode == 0, done.stderr
        return (recipe / "environment").read_text().splitlines()

    monkeypatch.delenv(name, raising=False)
    assert f"{name}={own}" in train()
    monkeypatch.setenv(name, users)
    assert f"{name}={users}" in train()


@pytest.mark.parametrize("ngpu", [0, 1, 2])
def test_threads_are_those_of_each_process(recipe, ngpu):
    """Also where espnet2.bin.launch starts the processes, which takes no threads."""
    stage = ["--stage", "11", "--stop_stage", "11", "--num_threads", "3"]
    done, _ = run(recipe, *stage, "--ngpu", str(ngpu), *ALONE)
    assert done.returncode == 0, done.stderr
    variables = (recipe / "environment").read_text().splitlines()
    assert "OMP_NUM_THREADS=3" in variables
    assert "MTASR_STAGE=tiny_stage11" in variables


def test_with_phase_1_phase_2_starts_from_it(recipe):
    phase1 = recipe / "exp" / "mtasr_phase1"
    phase1.mkdir()
    (phase1 / "valid.loss_sot.ave.pth").touch()
    file = "exp/mtasr_phase1/valid.loss_sot.ave.pth"
    done, calls = run(recipe, "--stage", "11", "--stop_stage", "11")
    assert done.returncode == 0, done.stderr
    assert (
        f"--init_param {file}:encoder:encoder {file}:teacher:teacher"
        in trainings(calls)[0]
    )


def test_stages_7_to_9_are_left_out(recipe):
    done, calls = run(recipe, "--stage", "7", "--stop_stage", "9", *ALONE)
    assert done.returncode == 0, done.stderr
    assert "Stage" not in done.stdout.replace("Stages 7 to 9", "")
    assert trainings(calls) == []


def test_a_teacher_needs_phase_1(recipe):
    done, calls = run(recipe, "--stage", "7", "--skip_phase1", "true")
    assert done.returncode == 2
    assert (
        "--skip_phase1 true: phase 2 has a teacher, which phase 1 must" in done.stderr
    )
    assert trainings(calls) == []
