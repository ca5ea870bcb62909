"""Runs that are killed, and two runs in one folder."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.recipe_copy import write_script
from helpers.stand_in_decoder import ANSWERS, DECODE

from espnet_mtasr.data.tables import write_table

UTILS = Path(__file__).resolve().parents[2] / "egs2" / "TEMPLATE" / "mtasr1" / "utils"
MTASR = UTILS.parent / "mtasr.sh"
# Notes its own process, then works.
JOB = "echo $$ >pid.part; mv pid.part pid; exec sleep 60"


def wait_for(condition, seconds=20, what=""):
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline, what
        time.sleep(0.05)


def lives(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def pid_in(path):
    wait_for(path.exists, what=f"{path} is missing")
    return int(path.read_text())


def start(folder, *words, new_session=False, **environment):
    return subprocess.Popen(
        [str(word) for word in words],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=new_session,
        # Tests that run in the background may ignore them.
        preexec_fn=lambda: [
            signal.signal(s, signal.SIG_DFL) for s in (signal.SIGINT, signal.SIGHUP)
        ],
    )


def errors(done):
    assert done.wait(timeout=30) == 2
    (line,) = done.stderr.read().splitlines()
    return line


@pytest.mark.parametrize("killed", ["run.sh", "mtasr.sh", "mtasr.sh above others"])
def test_jobs_end_with_a_run_that_is_killed(tmp_path, killed):
    run = f"{UTILS}/run.sh a.log bash -c '{JOB}'; echo"
    words = {
        "run.sh": (UTILS / "run.sh", "a.log", "bash", "-c", JOB),
        "mtasr.sh": ("bash", "-c", f"export MTASR_CALLER=$$; {run}"),
        # As espnet2.bin.launch is between the two.
        "mtasr.sh above others": (
            *("bash", "-c", 'export MTASR_CALLER=$$; bash -c "$1"; echo', "x", run),
        ),
    }
    process = start(tmp_path, *words[killed])
    job = pid_in(tmp_path / "pid")
    process.kill()
    wait_for(lambda: not lives(job), what="the job lives on")


def test_a_job_that_somebody_else_has_started_goes_on(tmp_path):
    """By nohup, say, from a shell that then ends."""
    run = f"{UTILS}/run.sh a.log bash -c '{JOB}' &"
    environment = {k: v for k, v in os.environ.items() if k != "MTASR_CALLER"}
    subprocess.run(["bash", "-c", run], cwd=tmp_path, env=environment, check=True)
    job = pid_in(tmp_path / "pid")
    time.sleep(3)
    assert lives(job)
    os.kill(job, signal.SIGKILL)


def test_a_job_that_does_not_end_by_term(tmp_path):
    """It gets ten seconds."""
    job = f"trap '' TERM; {JOB}"
    process = start(tmp_path, UTILS / "run.sh", "a.log", "bash", "-c", job)
    pid = pid_in(tmp_path / "pid")
    process.kill()
    time.sleep(5)
    assert lives(pid)
    wait_for(lambda: not lives(pid), what="the job lives on")


def test_the_watcher_goes_with_the_run(tmp_path):
    done = start(tmp_path, UTILS / "run.sh", "a.log", "true", MARK="of_this_test")
    assert done.wait(timeout=20) == 0
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = entry.read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        assert b"MARK=of_this_test" not in environment or not lives(entry.parent.name)


HOLD = f"""
die() {{ echo "script: error: $*" >&2; exit 2; }}
command_line="./run.sh --stage 8 "
. {UTILS}/lock.sh
"""


def holding(folder, script, **environment):
    return start(folder, "bash", "-c", HOLD + script, **environment)


@pytest.mark.parametrize(
    "first, second, goes",
    [
        ("exclusive", "exclusive", False),
        ("exclusive", "shared", False),
        ("shared", "exclusive", False),
        ("shared", "shared", True),
    ],
)
def test_two_runs_in_one_folder(tmp_path, first, second, goes):
    process = holding(tmp_path, f"hold {first} exp; {JOB}")
    pid_in(tmp_path / "pid")
    other = holding(tmp_path, f"hold {second} exp; touch worked")
    if goes:
        assert other.wait(timeout=20) == 0
        assert (tmp_path / "worked").exists()
    else:
        line = errors(other)
        assert re.fullmatch(
            rf"script: error: exp is in use by process {process.pid}, since "
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d on \S+, \./run\.sh --stage 8: wait for "
            rf"it, or end it by: kill {process.pid}",
            line,
        ), line
        assert not (tmp_path / "worked").exists()
    process.terminate()
    process.wait(timeout=20)
    # A lock's file that is left is no lock.
    last = holding(tmp_path, "hold exclusive exp; touch last")
    assert last.wait(timeout=20) == 0 and (tmp_path / "last").exists()


def test_a_lock_becomes_shared(tmp_path):
    process = holding(tmp_path, f"hold exclusive data; hold shared data; {JOB}")
    pid_in(tmp_path / "pid")
    assert holding(tmp_path, "hold shared data").wait(timeout=20) == 0
    process.kill()


def test_a_job_that_outlived_its_run_is_named(tmp_path):
    """One that was started without run.sh, which would have ended it."""
    process = holding(tmp_path, f"hold exclusive exp; bash -c '{JOB}' & wait")
    orphan = pid_in(tmp_path / "pid")
    process.kill()
    process.wait(timeout=20)
    line = errors(holding(tmp_path, "hold exclusive exp"))
    assert f"these are still running there: {orphan}; wait for them, or end" in line
    assert line.endswith(f"by: kill {orphan}")
    os.kill(orphan, signal.SIGKILL)
    wait_for(lambda: not lives(orphan))
    assert holding(tmp_path, "hold exclusive exp").wait(timeout=20) == 0


def test_the_run_that_is_named_is_the_one_that_lives(tmp_path):
    """Of two that share a lock the last writer has ended, and nobody was killed."""
    first = holding(tmp_path, f"hold shared data; {JOB}")
    pid_in(tmp_path / "pid")
    assert holding(tmp_path, "hold shared data").wait(timeout=20) == 0
    line = errors(holding(tmp_path, "hold exclusive data"))
    assert line.endswith(f"or end them by: kill {first.pid}") and "killed" not in line
    first.kill()


def test_a_folder_that_only_others_may_write(tmp_path):
    """A colleague's data can be trained on."""
    (tmp_path / "data").mkdir()
    os.chmod(tmp_path, 0o755)
    user = ["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps=-all"]
    script = HOLD + "hold shared data; echo went on"
    for state in ("no lock", "a lock of another user"):
        done = subprocess.run(
            [*user, "bash", "-c", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        if "Permission denied" in done.stderr and "went on" not in done.stdout:
            pytest.skip("the folders above can't be read by others")
        assert done.stdout == "went on\n" and done.stderr == "", state
        (tmp_path / "data" / ".lock").touch(mode=0o644)


def test_without_flock_runs_go_on(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("bash", "mkdir"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    done = holding(tmp_path, "hold exclusive exp", PATH=str(tmp_path / "bin"))
    assert done.wait(timeout=20) == 0


@pytest.fixture
def recipe(tmp_path):
    """A recipe's folder, with scripts in the place of Python and of the decoder."""
    for name in ("conf", "data", "exp/mtasr_phase2", "local"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("train_phase1", "train_phase2", "decode"):
        (tmp_path / "conf" / f"{name}.yaml").write_text("{}\n")
    for name in ("utils", "path.sh", "cmd.sh", "mtasr.sh"):
        (tmp_path / name).symlink_to(UTILS.parent / name)
    for name in ("t1", "t2"):
        data = tmp_path / "dump" / "raw" / name
        write_table(data / "wav.scp", {"a": data / "a.flac"})
        write_table(data / "text", {"a": "had lunch <sc> good day"})
        write_table(data / "utt2num_spk", {"a": "2"})
    write_script(
        tmp_path / "python",
        ANSWERS
        + "case $* in *mtasr_inference*raw/t2*) [ ! -e broken ] || exit 1 ;; "
        + "*mtasr_inference*) ;; *) exit 0 ;; esac\n"
        + DECODE,
    )
    return tmp_path


def mtasr(recipe, stage, *options, **environment):
    words = "--train_set train --valid_set dev --inference_nj 1"
    stages = ["--stage", stage, "--stop_stage", stage, "--test_sets", "t1 t2"]
    python = ["--python", f"{recipe}/python"]
    words = [*words.split(), *stages, *python, *options]
    return start(recipe, "./mtasr.sh", *words, **environment)


def test_a_second_training_changes_nothing(recipe):
    """mtasr.sh refuses before it touches the log of the first."""
    process = holding(recipe, f"hold exclusive exp/mtasr_phase2; {JOB}")
    pid_in(recipe / "pid")
    log = recipe / "exp" / "mtasr_phase2" / "train.log"
    log.write_text("epoch 1\n")
    line = errors(mtasr(recipe, 11))
    assert f"exp/mtasr_phase2 is in use by process {process.pid}, since" in line
    assert log.read_text() == "epoch 1\n"
    process.kill()


def test_stage_1_ends_with_a_run_that_is_killed(recipe):
    write_script(recipe / "local" / "data.sh", JOB)
    process = mtasr(recipe, 1)
    job = pid_in(recipe / "pid")
    process.kill()
    wait_for(lambda: not lives(job), what="the job lives on")


def test_a_decoding_that_breaks_off_leaves_no_text_of_before(recipe):
    """Stage 13 alone would score it with the new texts of the other sets."""
    exp = recipe / "exp" / "mtasr_phase2"
    (exp / "valid.loss_ctc.ave.pth").touch()
    (exp / "config.yaml").touch()
    options = ["--rescore_routing", "false"]
    assert mtasr(recipe, 12, *options).wait(timeout=60) == 0
    folder = exp / "decode_rescore_routingfalse_valid.loss_ctc.ave"
    texts = [folder / name / "text" for name in ("t1", "t2")]
    assert all(text.read_text() == "a\n" for text in texts)
    (recipe / "broken").touch()
    assert mtasr(recipe, 12, *options).wait(timeout=60) == 1
    assert texts[0].exists() and not texts[1].exists()
    assert not texts[1].with_name("posteriors").exists()


@pytest.mark.parametrize(
    "stage, running, refused",
    [(3, "4711", True), (3, "", False), (12, "4711", False)],
)
def test_jobs_that_a_closed_terminal_has_left(recipe, stage, running, refused):
    """They read what stages 1 to 6 write; a later stage of another set may run."""
    (recipe / "exp/mtasr_phase1/q").mkdir(parents=True)
    (recipe / "exp/mtasr_phase1/q/train.id").write_text("4711;cluster\n")
    (recipe / "exp/mtasr_phase1/q/old.id").write_text("12\n")
    (recipe / "exp/mtasr_phase1/q/none.id").touch()
    (recipe / "exp/mtasr_phase2/valid.loss_ctc.ave.pth").touch()
    write_script(
        recipe / "bin" / "squeue",
        'case "${@: -1}" in 4711,12 | 12,4711) ;; *) exit 1 ;; esac\n'
        f"for id in {running} {running}; do echo $id; done",
    )
    path = f"{recipe}/bin:{os.environ['PATH']}"
    options = ["--rescore_routing", "false"]
    process = mtasr(recipe, stage, *options, PATH=path)
    if refused:
        line = errors(process)
        assert line.endswith("or cancel them by: scancel 4711"), line
        assert "that this one would write: 4711; wait for them" in line
    else:
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    "number, cancelled", [(signal.SIGHUP, False), (signal.SIGINT, True)]
)
def test_a_closed_terminal_and_ctrl_c(recipe, number, cancelled):
    """The whole run gets the signal, and its slurm job is left or cancelled."""
    for name, lines in (
        ("sbatch", "echo 4711; touch up; exec sleep 60"),
        ("scancel", "echo $1 >cancelled"),
        ("squeue", "exit 1"),
    ):
        write_script(recipe / "bin" / name, lines)
    (recipe / "exp/mtasr_phase2/valid.loss_ctc.ave.pth").touch()
    path = f"{recipe}/bin:{os.environ['PATH']}"
    options = ["--rescore_routing", "false"]
    environment = dict(PATH=path, cmd_backend="slurm", new_session=True)
    process = mtasr(recipe, 12, *options, **environment)
    wait_for((recipe / "up").exists)
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "slurm job 4711 " + ("cancelled" if cancelled else "goes on") in stderr
    assert (recipe / "cancelled").exists() == cancelled


POOL = """
import os, sys, time
from espnet_mtasr.lifetime import worker_pool

def work(number):
    with open(f"worker{number}.part", "w") as f:
        f.write(str(os.getpid()))
    os.rename(f"worker{number}.part", f"worker{number}")
    time.sleep(60)

with worker_pool(2) as pool:
    list(pool.map(work, range(2)))
"""


def test_workers_end_with_a_process_that_is_killed(tmp_path):
    process = start(tmp_path, sys.executable, "-c", POOL)
    workers = [pid_in(tmp_path / f"worker{k}") for k in range(2)]
    process.kill()
    wait_for(lambda: not any(map(lives, workers)), what="workers live on")


COMMAND = """
import os, time
from espnet_mtasr.errors import run_command_line

def main(cmd):
    with open("pid.part", "w") as f:
        f.write(str(os.getpid()))
    os.rename("pid.part", "pid")
    time.sleep(60)

run_command_line(main)
"""


@pytest.mark.parametrize("called_by_recipe", [True, False])
def test_a_command_ends_with_the_script_that_called_it(tmp_path, called_by_recipe):
    export = "export MTASR_CALLER=$$; " if called_by_recipe else ""
    script = f'{export}"$1" -c "$2"; echo'
    process = start(tmp_path, "bash", "-c", script, "x", sys.executable, COMMAND)
    command = pid_in(tmp_path / "pid")
    process.kill()
    if called_by_recipe:
        wait_for(lambda: not lives(command), what="the command lives on")
    else:
        # It may be anybody's.
        time.sleep(1)
        assert lives(command)
        os.kill(command, signal.SIGKILL)


TRAINING = """
import sys, time
from pathlib import Path
from espnet_mtasr.errors import run_command_line
from espnet_mtasr.locks import alone_in

def main(cmd):
    with alone_in(Path("exp"), "training", ".training.lock"):
        Path(sys.argv[1]).touch()
        time.sleep(float(sys.argv[2]))

run_command_line(main)
"""


def test_two_trainings_by_hand(tmp_path):
    first = start(tmp_path, sys.executable, "-c", TRAINING, "first", 60)
    wait_for((tmp_path / "first").exists)
    line = errors(start(tmp_path, sys.executable, "-c", TRAINING, "second", 0))
    assert f"exp: another run is training there ({first.pid} since " in line
    assert not (tmp_path / "second").exists()
    first.kill()
    first.wait(timeout=20)
    third = start(tmp_path, sys.executable, "-c", TRAINING, "third", 0)
    assert third.wait(timeout=20) == 0


@pytest.mark.parametrize("queued", [True, False])
def test_the_job_of_a_slurm_pl_that_was_killed(tmp_path, queued):
    (tmp_path / "bin").mkdir()
    write_script(tmp_path / "bin" / "sbatch", 'echo 4712; bash "${@: -1}"')
    answer = 'echo "4711 R"' if queued else "exit 1"
    write_script(tmp_path / "bin" / "squeue", f'[ "$3" = 4711 ] && {answer}')
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "a.id").write_text("4711\n")
    (tmp_path / "a.log").write_text("epoch 1\n")
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    done = start(tmp_path, UTILS / "slurm.pl", "a.log", "true", PATH=path)
    if queued:
        line = errors(done)
        assert "slurm job 4711 of an earlier run is writing a.log" in line
        assert line.endswith("scancel 4711")
        assert (tmp_path / "a.log").read_text() == "epoch 1\n"
    else:
        assert done.wait(timeout=20) == 0
