"""mtasr.sh's trainings: their environment; without phase 1, where phase 2 starts."""

import os
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
    lines = calls.read_text().splitlines() if calls.exists() else []
    return done, [line for line in lines if "show_progress" not in line]


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


def test_a_users_file_adds_to_phase_1s_model(recipe):
    """The trainer adds them up."""
    phase1 = recipe / "exp" / "mtasr_phase1"
    phase1.mkdir()
    (phase1 / "valid.loss_sot.ave.pth").touch()
    stage = ["--stage", "11", "--stop_stage", "11"]
    done, calls = run(recipe, *stage, "--phase2_args", "--init_param mine.pth:ctc:ctc")
    assert done.returncode == 0, done.stderr
    words = trainings(calls)[0].split()
    assert words.count("--init_param") == 2
    assert words.index("--init_param") < words.index("mine.pth:ctc:ctc")


@pytest.mark.parametrize("stage", [8, 11])
def test_pretrained_models(recipe, stage):
    """ESPnet's names; the first phase that is trained starts from them."""
    stats = recipe / "exp" / "mtasr_stats_phase2"
    shutil.copytree(stats, stats.with_name("mtasr_stats_phase1"))
    given = "one.pth:encoder:encoder two.pth"
    options = ["--stage", str(stage), "--stop_stage", str(stage)]
    options += ["--pretrained_model", given, "--ignore_init_mismatch", "true"]
    if stage == 11:
        options += ALONE
    done, calls = run(recipe, *options)
    assert done.returncode == 2
    assert "one.pth:encoder:encoder: one.pth: no such file" in done.stderr
    assert not calls
    for name in ("one.pth", "two.pth"):
        (recipe / name).touch()
    done, calls = run(recipe, *options)
    assert done.returncode == 0, done.stderr
    [training] = trainings(calls)
    assert f"--init_param {given} " in training
    assert "--ignore_init_mismatch true" in training


STATISTICS = """
echo "$*" >>calls
case $* in
    *statistics_key*) echo "statistics_key $(cat key)" ;;
    *aggregate_stats_dirs*)
        for n in train valid; do
            mkdir -p "${!#}/${n}" && cat key >"${!#}/${n}/speech_shape"
        done ;;
esac
"""


def test_lengths_are_collected_once(recipe):
    """For trainings that differ in what lengths don't depend on."""
    write_script(recipe / "python", STATISTICS + ANSWERS)
    stage = ["--stage", "10", "--stop_stage", "10", *ALONE]

    def collects(key, tag):
        (recipe / "key").write_text(key)
        (recipe / "calls").unlink(missing_ok=True)
        done, calls = run(recipe, *stage, "--phase2_tag", tag)
        assert done.returncode == 0, done.stderr
        assert "check_alignable" in calls[-1]
        assert f"--stats_dir exp/mtasr_stats_{tag} " in calls[-1]
        [asked] = [call for call in calls if "statistics_key" in call]
        assert "text,text,text --token" not in asked and "ctc_weight=1.0" in asked
        for part in ("train", "valid"):
            found = recipe / "exp" / f"mtasr_stats_{tag}" / part / "speech_shape"
            assert found.read_text() == key
        return any("--collect_stats true" in call for call in calls)

    assert collects("123", "one")
    assert not collects("123", "two")
    assert not collects("123", "one")
    assert collects("456", "two")
    kept = recipe / "exp" / "mtasr_stats_char_123"
    assert sorted(path.name for path in kept.iterdir()) == ["train", "valid"]
    assert not list(recipe.glob("exp/*/kept"))
    # What isn't known can't be kept.
    assert collects("", "one") and collects("", "one")


def test_logs_of_earlier_runs_stay(recipe):
    stage = ["--stage", "11", "--stop_stage", "11", *ALONE]
    exp = recipe / "exp" / "mtasr_phase2"
    seen = []
    for number in range(3):
        write_script(recipe / "python", f"{ANSWERS}echo run {number}\n")
        done, _ = run(recipe, *stage)
        assert done.returncode == 0, done.stderr
        seen.insert(0, (exp / "train.log").read_text())
        assert f"run {number}" in seen[0]
    assert (exp / "train.1.log").read_text() == seen[1]
    assert (exp / "train.2.log").read_text() == seen[2]
    assert sorted(path.name for path in exp.glob("*.log")) == [
        *("train.1.log", "train.2.log", "train.log")
    ]


def test_the_log_of_a_training_that_slurm_still_runs_stays(recipe, monkeypatch):
    """After a hang-up the job goes on, and writes into it."""
    exp = recipe / "exp" / "mtasr_phase2"
    (exp / "q").mkdir(parents=True)
    (exp / "q" / "train.id").write_text("4711;cluster\n")
    (exp / "train.log").write_text("epoch 1\n")
    (recipe / "bin").mkdir()
    write_script(recipe / "bin" / "squeue", '[ "${!#}" != 4711 ] || echo 4711')
    monkeypatch.setenv("PATH", f"{recipe / 'bin'}:{os.environ['PATH']}")
    stage = ["--stage", "11", "--stop_stage", "11", *ALONE]
    done, calls = run(recipe, *stage)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.endswith("or cancel them by: scancel 4711\n")
    assert trainings(calls) == []
    assert [path.name for path in exp.glob("*.log")] == ["train.log"]
    write_script(recipe / "bin" / "squeue", "exit 1")
    done, calls = run(recipe, *stage)
    assert done.returncode == 0, done.stderr
    assert (exp / "train.1.log").read_text() == "epoch 1\n"


def test_it_is_asked_whether_a_training_may_go_on(recipe):
    """Before a log is begun or a GPU asked for."""
    stage = ["--stage", "11", "--stop_stage", "11", *ALONE]
    done, calls = run(recipe, *stage)
    assert "check_resume" not in "".join(calls)
    exp = recipe / "exp" / "mtasr_phase2"
    (exp / "checkpoint.pth").touch()
    done, calls = run(recipe, *stage, "--resume_anyway", "true")
    *_, asked, trained, _ = calls
    assert "bin.check_resume --config conf/train_phase2.yaml" in asked
    options = asked.split("check_resume ")[1]
    assert "--resume true" in options and options.endswith("--resume_anyway true")
    assert options in trained
    refuse = "case $* in *check_resume*) echo no >&2; exit 2 ;; esac\n"
    write_script(recipe / "python", refuse + NOTE.format(recipe=recipe) + ANSWERS)
    log = (exp / "train.log").read_text()
    done, _ = run(recipe, *stage)
    assert (done.returncode, done.stderr) == (2, "no\n")
    assert (exp / "train.log").read_text() == log


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
