"""The shell helpers in egs2/TEMPLATE/mtasr1: run as a recipe runs them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EGS = ROOT / "egs2"
TEMPLATE = EGS / "TEMPLATE" / "mtasr1"
UTILS = TEMPLATE / "utils"


def call(*command, cwd, **env):
    return subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env={**os.environ, **{k: str(v) for k, v in env.items()}},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def write_script(path, text):
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def recipe(tmp_path):
    """A script with options, as mtasr.sh has them."""
    return write_script(
        tmp_path / "recipe.sh",
        f"""set -euo pipefail
help_message="Usage: recipe.sh [options]"
stage=1
stop_stage=13
num_talkers=
use_noise=true
train_args=
. {UTILS}/parse_options.sh
printf '<%s>' "$stage" "$num_talkers" "$use_noise" "$train_args" "$@"
""",
    )


class TestParseOptions:
    def test_defaults_stay(self, recipe, tmp_path):
        assert call(recipe, cwd=tmp_path).stdout == "<1><><true><>"

    def test_values_and_rest(self, recipe, tmp_path):
        done = call(
            *(recipe, "--stage", "3", "--num-talkers", "2", "--use_noise", "false"),
            *("--train-args", "--max_epoch 1 'x' $HOME", "left", "--stage", "9"),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == (
            "<3><2><false><--max_epoch 1 'x' $HOME><left><--stage><9>"
        )

    def test_equals_sign_takes_anything(self, recipe, tmp_path):
        done = call(recipe, "--train_args=--stage", "--stage=2", cwd=tmp_path)
        assert done.stdout == "<2><><true><--stage>"

    def test_values_are_not_run(self, recipe, tmp_path):
        value = "$(touch ran)`touch ran`;touch ran"
        done = call(recipe, "--train_args", value, cwd=tmp_path)
        assert value in done.stdout
        assert not (tmp_path / "ran").exists()

    def test_help(self, recipe, tmp_path):
        done = call(recipe, "--stage", "2", "--help", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "Usage: recipe.sh [options]\n")

    @pytest.mark.parametrize(
        "args, words",
        [
            (["--stag", "3"], "unknown option --stag (see recipe.sh --help)"),
            (["--PATH", "x"], "unknown option --PATH"),
            (["--stage[0]", "x"], "unknown option --stage[0]"),
            (["--stage"], "--stage needs a value"),
            (["--stage", "--stop-stage", "3"], "--stage needs a value"),
            (["--use_noise", "yes"], "--use_noise takes true or false, not 'yes'"),
        ],
    )
    def test_errors_are_one_line(self, recipe, tmp_path, args, words):
        done = call(recipe, *args, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.startswith("recipe.sh: error: ")
        assert done.stderr.count("\n") == 1


@pytest.fixture
def passing(tmp_path):
    """A script that takes a few options itself and passes the others on."""
    write_script(tmp_path / "other.sh", 'echo "help of other.sh: $*"')
    return write_script(
        tmp_path / "passing.sh",
        f"""set -euo pipefail
help_message="Usage: passing.sh [options]"
nj=2
use_noise=true
folder=mine
own_options=(nj use_noise seed)
passed_to=./other.sh
. {UTILS}/parse_options.sh
printf '<%s>' "$nj" "$use_noise" "${{seed-unset}}" "$folder"
printf '|'
printf '<%s>' "${{given_options[@]}}"
printf '|'
printf '<%s>' "${{passed_options[@]}}"
printf '|%s' "$#"
""",
    )


class TestPassThrough:
    @pytest.mark.parametrize(
        "args, printed",
        [
            ([], "<2><true><unset><mine>|<>|<>|0"),
            (
                ["--stage", "3", "--nj=4", "--use-noise", "false", "--stop-stage=5"],
                "<4><false><unset><mine>|<nj><use_noise>|<--stage><3><--stop-stage=5>|0",
            ),
            # Words are not changed.
            (
                ["--args", "--lr 1  'x'", "", "more", "--seed", "--beam", "--nj", ""],
                "<><true><--beam><mine>|<seed><nj>|<--args><--lr 1  'x'><><more>|0",
            ),
            (
                ["--args", "a\nb", "--seed=--nj", "--", "--PATH", "-x"],
                "<2><true><--nj><mine>|<seed>|<--args><a\nb><--><--PATH><-x>|0",
            ),
            # The value that was forgotten is missed by the script that is called.
            (["--stage", "--nj", "4"], "<4><true><unset><mine>|<nj>|<--stage>|0"),
            # Variables that are no options: of the script, of the parser, of the shell.
            (
                [
                    "--folder",
                    "x",
                    "--passed_to=y",
                    "--own-options=z",
                    "--_po_name",
                    "n",
                ],
                "<2><true><unset><mine>|<>|"
                "<--folder><x><--passed_to=y><--own-options=z><--_po_name><n>|0",
            ),
        ],
    )
    def test_own_options_are_taken_and_others_are_passed_on(
        self, passing, tmp_path, args, printed
    ):
        done = call(passing, *args, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, printed), done.stderr

    def test_the_environment_holds_no_options(self, passing, recipe, tmp_path):
        leak = dict(stage=7, seed=8, given_options="x", passed_options="y", hf_repo="z")
        done = call(passing, "--stage", "3", "--hf_repo=a", cwd=tmp_path, **leak)
        assert done.stdout.endswith("|<>|<--stage><3><--hf_repo=a>|0")
        # Nor does it turn the mode on.
        done = call(recipe, "--stage", "3", cwd=tmp_path, own_options="nj")
        assert done.stdout == "<3><><true><>"

    def test_help_is_that_of_both(self, passing, tmp_path):
        done = call(passing, "--stage", "3", "--help", "--more", cwd=tmp_path)
        expected = "Usage: passing.sh [options]\nhelp of other.sh: --help\n"
        assert (done.returncode, done.stdout) == (0, expected)

    @pytest.mark.parametrize(
        "args, words",
        [
            (["--stage", "3", "--nj"], "--nj needs a value (see passing.sh --help)"),
            (["--seed", "--use-noise", "true"], "--seed needs a value before --use-"),
            (["--use_noise", "yes"], "--use_noise takes true or false, not 'yes'"),
        ],
    )
    def test_errors_are_one_line(self, passing, tmp_path, args, words):
        done = call(passing, *args, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.startswith("passing.sh: error: ")
        assert done.stderr.count("\n") == 1


class TestRecipeFunctions:
    @pytest.fixture
    def from_user(self, tmp_path):
        """Call a function of utils/recipe.sh from another folder than the user's."""
        (tmp_path / "user" / "a b").mkdir(parents=True)
        (tmp_path / "user" / "link").symlink_to("a b")
        (tmp_path / "user" / "list.txt").touch()
        script = write_script(
            tmp_path / "x.sh",
            f'set -euo pipefail\ncalled_from=$PWD\ncd /\n. {UTILS}/recipe.sh\n"$@"',
        )
        return lambda *words: call(script, *words, cwd=tmp_path / "user")

    def test_paths_are_the_users(self, from_user, tmp_path):
        user = tmp_path / "user"
        for test, path, expected in (
            ("-d", "link", user / "link"),
            ("-d", "../user/./link/", user / "link"),
            ("-d", user, user),
            ("-f", "list.txt", user / "list.txt"),
        ):
            done = from_user("user_path", test, "corpus", path)
            assert done.stdout == f"{expected}\n", done.stderr

    @pytest.mark.parametrize(
        "test, path, words",
        [
            ("-d", "none", "--corpus none: no such folder; check the path"),
            ("-d", "list.txt", "--corpus list.txt: no such folder"),
            ("-f", "link", "--corpus link: no such file"),
            ("-d", "", "--corpus : no such folder"),
            ("-d", "a b", "/user/a b: contains a space; use a symlink without"),
        ],
    )
    def test_paths_that_cannot_be_used(self, from_user, test, path, words):
        done = from_user("user_path", test, "corpus", path)
        assert done.returncode == 2
        assert done.stderr.startswith("x.sh: error: --corpus ") and words in done.stderr
        assert done.stderr.count("\n") == 1

    def test_models_are_the_users_or_the_hubs(self, from_user, tmp_path):
        path = f"{tmp_path}/user/list.txt"
        for given, expected in (
            ("list.txt", path),
            (path, path),
            ("me/model", "me/model"),
            ("", ""),
        ):
            assert from_user("user_model", given).stdout == f"{expected}\n"


class TestRun:
    def test_log_has_output_and_trailer(self, tmp_path):
        done = call(
            *(UTILS / "run.sh", "--gpu", "0", "--num-threads", "2", "--mem", "1G"),
            *("--name", "x", "--cpus_per_gpu", "5", "--mem-per-gpu", "8G"),
            *("log/a.log", "bash", "-c", 'echo "$1"; echo $OMP_NUM_THREADS >&2', "x"),
            "two  words",
            cwd=tmp_path,
        )
        assert (done.returncode, done.stderr) == (0, "")
        lines = (tmp_path / "log/a.log").read_text().splitlines()
        assert lines[0].startswith("# Running on ")
        assert lines[3:5] == ["two  words", "2"]
        assert lines[5].startswith("# Accounting: time=")
        assert lines[6].startswith("# Ended (code 0)")

    def test_every_job_gets_its_number(self, tmp_path):
        done = call(
            *(UTILS / "run.sh", "JOB=2:4", "log/a.JOB.log"),
            *("bash", "-c", "echo JOB >out.JOB"),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        for job in (2, 3, 4):
            assert (tmp_path / f"out.{job}").read_text() == f"{job}\n"
            assert "Ended (code 0)" in (tmp_path / f"log/a.{job}.log").read_text()

    def test_jobs_run_side_by_side_with_one_thread_each(self, tmp_path):
        """nproc obeys OMP_NUM_THREADS, which path.sh sets: it is not the cores."""
        cores = len(os.sched_getaffinity(0))
        if cores < 2:
            pytest.skip("needs two cores")
        # Each job waits for the other's file.
        wait = "for i in {1..50}; do [ -e $((3 - JOB)) ] && exit; sleep .1; done"
        body = f"touch JOB; {wait}; exit 1"
        done = call(
            *(UTILS / "run.sh", "JOB=1:2", "JOB.log", "bash", "-c", body),
            cwd=tmp_path,
            OMP_NUM_THREADS=1,
        )
        assert done.returncode == 0, done.stderr

    def test_max_jobs_run(self, tmp_path):
        body = "echo + >>seen; sleep 0.2; echo - >>seen"
        done = call(
            *(UTILS / "run.sh", "--max-jobs-run", "1", "JOB=1:3", "JOB.log"),
            *("bash", "-c", body),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "seen").read_text().split() == ["+", "-"] * 3

    def test_failed_job(self, tmp_path):
        done = call(
            *(UTILS / "run.sh", "--max_jobs_run", "1", "JOB=1:3", "a.JOB.log"),
            *("bash", "-c", "echo job JOB; [ JOB -ne 2 ] || exit 7"),
            cwd=tmp_path,
        )
        assert done.returncode == 7
        first, last = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
        assert first == "run.sh: 1 of 3 jobs failed (code 7); log: a.2.log"
        assert last.strip() == "job 2"
        assert "Ended (code 7)" in (tmp_path / "a.2.log").read_text()
        # Nothing is begun once a job has failed.
        assert not (tmp_path / "a.3.log").exists()

    def test_job_that_loses_its_worker(self, tmp_path):
        done = call(
            UTILS / "run.sh", *"a.log bash -c".split(), "kill -9 $PPID", cwd=tmp_path
        )
        assert done.returncode == 1
        assert "1 of 1 jobs failed (code 1); log: a.log" in done.stderr

    def test_command_that_does_not_exist(self, tmp_path):
        done = call(UTILS / "run.sh", "a.log", "no_such_command_here", cwd=tmp_path)
        assert done.returncode == 127
        assert "no_such_command_here" in done.stderr

    def test_gpus_are_shared_out(self, tmp_path):
        done = call(
            *(UTILS / "run.sh", "--gpu", "1", "JOB=1:2", "JOB.log"),
            *("bash", "-c", "echo $CUDA_VISIBLE_DEVICES >gpu.JOB; sleep 0.5"),
            cwd=tmp_path,
            CUDA_VISIBLE_DEVICES="3,5",
        )
        assert done.returncode == 0, done.stderr
        assert {(tmp_path / f"gpu.{j}").read_text() for j in (1, 2)} == {"3\n", "5\n"}

    @pytest.mark.parametrize(
        "args, words",
        [
            (["--num_nodes", "2", "a.log", "true"], "--num_nodes 2"),
            (["--gpu", "x", "a.log", "true"], "--gpu takes a number, not 'x'"),
            (["--foo", "a.log", "true"], "unknown option --foo"),
            (["JOB=1:2", "a.log", "true"], "a.log has no JOB in it"),
            (["a.log"], "a log and a command are needed"),
        ],
    )
    def test_errors_are_one_line(self, tmp_path, args, words):
        done = call(UTILS / "run.sh", *args, cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1

    def test_interrupt_ends_the_grandchildren(self, tmp_path):
        process = subprocess.Popen(
            [UTILS / "run.sh", "a.log", "bash", "-c", "sleep 60 & echo $! >pid; wait"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        pid_file = tmp_path / "pid"
        deadline = time.time() + 10
        while not (pid_file.exists() and pid_file.read_text()):
            assert time.time() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=10)
        assert process.returncode == 130
        assert "run.sh: stopped; log: a.log" in stderr
        sleeper = Path(f"/proc/{pid_file.read_text().strip()}/cmdline")
        deadline = time.time() + 5
        while sleeper.exists() and b"sleep" in sleeper.read_bytes():
            assert time.time() < deadline, "the grandchild lives on"
            time.sleep(0.05)


@pytest.fixture
def slurm(tmp_path):
    """PATH with an sbatch that notes its options and runs the script's array here."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    write_script(
        bin_dir / "sbatch",
        """printf '%s\\n' "$@" >sbatch_args
first=0; last=0; array=
for arg in "$@"; do
    case $arg in --array=*) array=${arg#*=}; array=${array%%%*}
        first=${array%-*}; last=${array#*-};; esac
done
echo 4711
code=0
for ((i = first; i <= last; i++)); do
    if [ -n "$array" ]; then export SLURM_ARRAY_TASK_ID=$i; fi
    SLURM_JOB_ID=4711 bash "${@: -1}" || code=$?
done
exit ${FAKE_CODE:-$code}""",
    )
    write_script(
        bin_dir / "srun",
        'echo "srun: $1"; shift; exec "$@"',
    )
    return f"{bin_dir}:{os.environ['PATH']}"


class TestSlurm:
    def test_options_and_array(self, tmp_path, slurm):
        done = call(
            *(UTILS / "slurm.pl", "--mem", "8G", "--time", "1:00:00", "--gpu", "2"),
            *("--num-threads", "4", "--max-jobs-run", "2", "JOB=1:3", "log/a.JOB.log"),
            *("bash", "-c", 'echo "JOB $1 $OMP_NUM_THREADS"', "x", "it's $JOB; a  b"),
            cwd=tmp_path,
            PATH=slurm,
            OMP_NUM_THREADS=3,
        )
        assert done.returncode == 0, done.stderr
        args = (tmp_path / "sbatch_args").read_text().splitlines()
        for wanted in (
            *("--wait", "--mem=8G", "--time=1:00:00", "--gres=gpu:2", "--nodes=1"),
            *("--cpus-per-task=10", "--array=1-3%2", "--ntasks-per-node=1"),
        ):
            assert wanted in args
        for job in (1, 2, 3):
            lines = (tmp_path / f"log/a.{job}.log").read_text().splitlines()
            assert lines[3] == f"{job} it's ${job}; a  b 3"
            assert lines[-1].startswith("# Ended (code 0)")

    @pytest.mark.parametrize(
        "options, wanted, threads",
        [
            (["--mem", "64G"], ["--cpus-per-task=1", "--mem=64G"], 1),
            (["--num_threads", "6"], ["--cpus-per-task=6"], 6),
            (["--gpu", "8"], ["--cpus-per-task=40", "--gres=gpu:8"], 2),
            (
                ["--gpu", "8", "--cpus_per_gpu", "7", "--mem_per_gpu", "32G"],
                ["--cpus-per-task=56", "--mem=256G", "--gres=gpu:8"],
                2,
            ),
            (["--gpu", "1", "--num_threads", "9"], ["--cpus-per-task=9"], 9),
            (
                ["--mem", "64G", "--gpu", "2", "--mem-per-gpu", "08000"],
                ["--cpus-per-task=10", "--mem=16000"],
                2,
            ),
            # As espnet2.bin.launch asks on several nodes.
            (
                ["--gpu", "4", "--num_threads", "4", "--num_nodes", "2"],
                ["--cpus-per-task=20", "--nodes=2"],
                2,
            ),
        ],
    )
    def test_cores_and_memory_follow_the_gpus(
        self, tmp_path, slurm, options, wanted, threads
    ):
        """Cores are one thing, threads of a process (OMP_NUM_THREADS) another."""
        done = call(
            *(UTILS / "slurm.pl", *options, "a.log", "bash", "-c"),
            "echo $OMP_NUM_THREADS $SRUN_CPUS_PER_TASK",
            cwd=tmp_path,
            PATH=slurm,
            OMP_NUM_THREADS=2,
        )
        assert done.returncode == 0, done.stderr
        args = (tmp_path / "sbatch_args").read_text().splitlines()
        assert set(wanted) < set(args)
        assert sum(arg.startswith("--mem=") for arg in args) == ("--mem" in str(wanted))
        cores = wanted[0].removeprefix("--cpus-per-task=")
        log = (tmp_path / "a.log").read_text().splitlines()
        assert log[3] == f"{threads} {cores}"

    @pytest.mark.parametrize(
        "words, environment, job_name",
        [
            (["log/train.log"], {}, "train"),
            (["log/train.log"], {"MTASR_STAGE": "tiny_stage8"}, "tiny_stage8_train"),
            (
                ["JOB=1:2", "stats.JOB.log"],
                {"MTASR_STAGE": "tiny_stage7"},
                "tiny_stage7_stats",
            ),
            (["--name", "mine", "a.log"], {"MTASR_STAGE": "tiny_stage8"}, "mine"),
        ],
    )
    def test_jobs_have_the_name_of_recipe_and_stage(
        self, tmp_path, slurm, words, environment, job_name
    ):
        done = call(
            *(UTILS / "slurm.pl", *words, "true"),
            cwd=tmp_path,
            PATH=slurm,
            **environment,
        )
        assert done.returncode == 0, done.stderr
        args = (tmp_path / "sbatch_args").read_text().splitlines()
        assert f"--job-name={job_name}" in args

    # As ESPnet's conf/slurm.conf looks.
    CONFIG = """# Default configuration
command sbatch --export=PATH
option name=* --job-name $0
option mem=* --mem-per-cpu $0
option mem=0          # Do not add anything
option num_threads=* --cpus-per-task $0
option num_threads=1 --cpus-per-task 1
option num_nodes=* --nodes $0
option reservation=* --reservation $0 -v
default gpu=0
option gpu=0 -p cpu
option gpu=* -p gpu --gres=gpu:$0 -c $0  # cores
# limits
default gpu_limit=200
option gpu_limit=*
"""

    @pytest.mark.parametrize(
        "options, last_words",
        [
            (["--mem", "8G"], "--job-name a --mem-per-cpu 8G --cpus-per-task 1"),
            (["--num_threads", "4"], "--job-name a --cpus-per-task 4 --nodes 1 -p cpu"),
            # Its memory is a core's, and its last words ask for a core for each GPU.
            (
                ["--mem", "20G", "--num_threads", "16"],
                "--mem-per-cpu 1280M --cpus-per-task 16",
            ),
            (
                ["--gpu", "8", "--mem", "64G", "--mem_per_gpu", "32G"],
                "--mem-per-cpu 6554M --cpus-per-task 40 --nodes 1 -p gpu --gres=gpu:8"
                " -c 8 --cpus-per-task=40",
            ),
            (
                ["--gpu", "2", "--cpus_per_gpu", "1"],
                "--job-name a --cpus-per-task 2 --nodes 1 -p gpu --gres=gpu:2 -c 2",
            ),
            (["--reservation", "r1"], "-p cpu --reservation r1 -v"),
        ],
    )
    def test_a_configuration_in_espnets_form(
        self, tmp_path, slurm, options, last_words
    ):
        (tmp_path / "slurm.conf").write_text(self.CONFIG)
        words = ["--config", "slurm.conf", *options, "a.log", "true"]
        done = call(UTILS / "slurm.pl", *words, cwd=tmp_path, PATH=slurm)
        assert done.returncode == 0, done.stderr
        *args, script = (tmp_path / "sbatch_args").read_text().splitlines()
        assert script.endswith("a.sh") and last_words in " ".join(args)
        assert not any(arg.startswith("--mem=") for arg in args)
        assert sum("gres" in arg for arg in args) == ("--gpu" in options)

    @pytest.mark.parametrize(
        "words, mem, last_words",
        [
            ("-c 16", "32G", "--mem-per-cpu=2G --nodes=1 -c 16"),
            ("-c7", "3T", "--mem-per-cpu=308G --nodes=1 -c7 --cpus-per-task=10"),
            ("--cpus-per-task=20", "1001", "--mem-per-cpu=51 --nodes=1 --cpus-per"),
        ],
    )
    def test_memory_is_divided_by_the_granted_cores(
        self, tmp_path, slurm, words, mem, last_words
    ):
        (tmp_path / "slurm.conf").write_text(
            f"option mem=* --mem-per-cpu=$0\noption num_nodes=* --nodes=$0\n"
            f"option gpu=* {words}\n"
        )
        options = ["--config", "slurm.conf", "--gpu", "2", "--mem", mem]
        words = [*options, "a.log", "true"]
        done = call(UTILS / "slurm.pl", *words, cwd=tmp_path, PATH=slurm)
        assert done.returncode == 0, done.stderr
        args = (tmp_path / "sbatch_args").read_text().splitlines()
        assert last_words in " ".join(args)

    def test_srun_gets_the_cores_of_the_allocation(self, tmp_path, slurm):
        words = [
            "--num_threads",
            "6",
            "a.log",
            "bash",
            "-c",
            "echo $SRUN_CPUS_PER_TASK",
        ]
        done = call(
            UTILS / "slurm.pl", *words, cwd=tmp_path, PATH=slurm, SLURM_CPUS_PER_TASK=8
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "a.log").read_text().splitlines()[3] == "8"

    @pytest.mark.parametrize(
        "content, options, said",
        [
            ("option num_threads=* -c two", [], "for 'two' cores: give -c a number"),
            (None, [], "--config slurm.conf: cannot be read"),
            ("option gpu\n", [], "slurm.conf: line 1: 'gpu' is no NAME=VALUE"),
            ("\nqueue all.q\n", [], "slurm.conf: line 2: 'queue' is none of command,"),
            (CONFIG, ["--resrvation", "r1"], "unknown option --resrvation"),
        ],
    )
    def test_a_bad_configuration(self, tmp_path, slurm, content, options, said):
        if content is not None:
            (tmp_path / "slurm.conf").write_text(content)
        words = ["--config", "slurm.conf", *options, "a.log", "true"]
        done = call(UTILS / "slurm.pl", *words, cwd=tmp_path, PATH=slurm)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr

    @pytest.mark.parametrize(
        "options, words",
        [
            (
                ["--mem_per_gpu", "much"],
                "--mem_per_gpu takes a size such as 8G, not 'much'",
            ),
            (["--mem", "8 G"], "--mem takes a size such as 8G, not '8 G'"),
            (["--cpus_per_gpu", "all"], "--cpus_per_gpu takes a number, not 'all'"),
            (["--name"], "--name needs a value"),
        ],
    )
    def test_errors_are_one_line(self, tmp_path, slurm, options, words):
        done = call(UTILS / "slurm.pl", *options, cwd=tmp_path, PATH=slurm)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1

    def test_failed_job(self, tmp_path, slurm):
        done = call(
            *(UTILS / "slurm.pl", "JOB=1:2", "a.JOB.log"),
            *("bash", "-c", "echo job JOB; [ JOB -ne 2 ] || exit 7"),
            cwd=tmp_path,
            PATH=slurm,
        )
        assert done.returncode == 7
        assert "1 of 2 jobs failed (code 7); log: a.2.log" in done.stderr
        assert done.stderr.splitlines()[-1].strip() == "job 2"

    def test_job_that_slurm_ended(self, tmp_path, slurm):
        (tmp_path / "a.log").write_text("# Ended (code 0) the run before\n")
        write_script(tmp_path / "bin" / "sbatch", "echo 4711; exit 1")
        done = call(UTILS / "slurm.pl", "a.log", "true", cwd=tmp_path, PATH=slurm)
        assert done.returncode == 1
        assert "1 of 1 jobs failed" in done.stderr

    def test_no_sbatch(self, tmp_path):
        done = call(
            UTILS / "slurm.pl", "a.log", "true", cwd=tmp_path, PATH="/usr/bin:/bin"
        )
        if "no sbatch" not in done.stderr:
            pytest.skip("slurm is installed here")
        assert done.returncode == 2
        assert "cmd_backend=local" in done.stderr

    @pytest.fixture
    def begun(self, tmp_path, slurm):
        """Start slurm.pl in a process group of its own, and wait for its sbatch."""
        write_script(tmp_path / "bin" / "scancel", "echo $1 >cancelled")

        def start(sbatch):
            write_script(tmp_path / "bin" / "sbatch", f"echo $$ >pid; {sbatch}")
            process = subprocess.Popen(
                [UTILS / "slurm.pl", "log/a.log", "true"],
                cwd=tmp_path,
                env={**os.environ, "PATH": slurm},
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                # A test that runs in the background may ignore them.
                preexec_fn=lambda: [
                    signal.signal(s, signal.SIG_DFL)
                    for s in (signal.SIGINT, signal.SIGHUP)
                ],
            )
            deadline = time.time() + 10
            while not (tmp_path / "up").exists():
                assert time.time() < deadline
                time.sleep(0.05)
            return process

        return start

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize(
        "sbatch",
        [
            "echo 4711; touch up; exec sleep 60",
            "touch up; sleep 1; echo 4711; exec sleep 60",
        ],
    )
    def test_interrupt_cancels_the_job(self, tmp_path, begun, number, sbatch):
        """Also one whose number sbatch is about to tell."""
        process = begun(sbatch)
        # Ctrl-C is for all processes of the terminal, kill for one.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == 130
        assert (tmp_path / "cancelled").read_text() == "4711\n"
        assert "slurm.pl: stopped, slurm job 4711 cancelled; log: log/a.log" in stderr

    @pytest.mark.parametrize(
        "sbatch",
        [
            "echo 4711; touch up; exec sleep 60",
            "touch up; sleep 1; echo 4711; exec sleep 60",
        ],
    )
    def test_a_hang_up_leaves_the_job(self, tmp_path, begun, sbatch):
        """A closed terminal; all processes of its group get the signal."""
        process = begun(sbatch)
        os.killpg(process.pid, signal.SIGHUP)
        _, stderr = process.communicate(timeout=20)
        assert process.returncode == 129
        assert not (tmp_path / "cancelled").exists()
        assert stderr.endswith(
            "slurm.pl: hang-up; slurm job 4711 goes on, log: log/a.log. Once it has "
            "ended, run the same command to resume; scancel 4711 cancels it\n"
        )
        assert (tmp_path / "log/q/a.id").read_text() == "4711\n"
        # Nothing waits on this machine.
        waiter = Path("/proc") / (tmp_path / "pid").read_text().strip() / "cmdline"
        assert not waiter.exists() or b"sleep" not in waiter.read_bytes()

    def test_a_terminal_that_is_gone(self, tmp_path, begun):
        process = begun("echo 4711; touch up; exec sleep 60")
        process.stderr.close()
        os.killpg(process.pid, signal.SIGHUP)
        assert process.wait(timeout=20) in (129, -signal.SIGPIPE)
        assert not (tmp_path / "cancelled").exists()


class TestDataJob:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("cmd.sh", "utils"):
            (tmp_path / name).symlink_to(TEMPLATE / name)
        return tmp_path

    def run(self, folder, *command, **env):
        words = ["utils/data_job.sh", "3", "data/log/mix.log", *command]
        return call(*words, cwd=folder, OMP_NUM_THREADS=1, **env)

    def test_on_this_machine_the_command_is_run_as_it_is(self, folder):
        done = self.run(folder, "bash", "-c", "echo $PPID; echo no >&2; exit 5")
        assert (done.returncode, done.stderr) == (5, "no\n")
        # It ends with its caller: none is between them.
        assert done.stdout == f"{os.getpid()}\n"
        assert not (folder / "data").exists()

    def test_on_a_cluster(self, folder, slurm):
        command = ["bash", "-c", 'echo "$1 $OMP_NUM_THREADS"', "x", "two  words"]
        done = self.run(folder, *command, PATH=slurm, cmd_backend="slurm")
        assert (done.returncode, done.stderr) == (0, "")
        said = done.stdout.splitlines()
        assert "progress: tail -f data/log/mix.log" in said[0]
        assert said[1:] == ["two  words 1"]
        args = (folder / "sbatch_args").read_text().splitlines()
        assert {"--cpus-per-task=3", "--mem=7G"} < set(args)

    def test_an_error_on_a_cluster(self, folder, slurm):
        command = ["bash", "-c", "echo mix: error: x.wav >&2; exit 2"]
        done = self.run(folder, *command, PATH=slurm, cmd_backend="slurm")
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].strip() == "mix: error: x.wav"

    def test_wrong_words(self, folder):
        done = call("utils/data_job.sh", "a.log", "true", "x", cwd=folder)
        assert done.returncode == 2 and "usage: utils/data_job.sh" in done.stderr

    @pytest.mark.parametrize(
        "script",
        ["TEMPLATE/mtasr1/mtasr.sh"]
        + sorted(str(p.relative_to(EGS)) for p in EGS.glob("*/mtasr1/local/data.sh")),
    )
    def test_all_that_reads_or_writes_recordings_is_one(self, script):
        """In stages 1 to 4, and where stage 13 measures conditions."""
        work = r"python\S* (-m espnet_mtasr\.bin\.)?(simulate|make_mixture_metadata|"
        work += r"prepare_data|measure_conditions|draw_epochs(?! --check)|"
        work += r"local/lay_out_\w+\.py)"
        lines = (EGS / script).read_text().replace("\\\n", " ").splitlines()
        lines = [line for line in lines if re.search(work, line)]
        assert lines
        for line in lines:
            assert line.split()[0] == "utils/data_job.sh", line


@pytest.mark.parametrize("command", ["run.sh", "slurm.pl"])
def test_espnet_launches_with_it(tmp_path, slurm, command):
    """espnet2.bin.launch: one node with run.sh, two nodes by srun with slurm.pl."""
    nodes = ["--num_nodes", "2"] if command == "slurm.pl" else []
    done = call(
        *(sys.executable, "-m", "espnet2.bin.launch", "--ngpu", "0", *nodes),
        *("--cmd", f"{UTILS / command} --mem 1G", "--log", "exp/train.log"),
        *("--init_file_prefix", tmp_path / ".dist_init_", "--", "echo", "trained"),
        cwd=tmp_path,
        PATH=slurm,
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "exp/train.log").read_text()
    assert "trained --ngpu 0" in text
    if command == "slurm.pl":
        assert "srun: --export=ALL" in text
        assert "--dist_launcher slurm" in text
        assert "--nodes=2" in (tmp_path / "sbatch_args").read_text()


class TestSplitScp:
    def split(self, tmp_path, lines, parts):
        (tmp_path / "wav.scp").write_text("".join(f"utt{i} x\n" for i in range(lines)))
        outs = [f"wav.{i}.scp" for i in range(parts)]
        return outs, call(UTILS / "split_scp.sh", "wav.scp", *outs, cwd=tmp_path)

    def test_even_and_in_order(self, tmp_path):
        outs, done = self.split(tmp_path, 8, 3)
        assert done.returncode == 0, done.stderr
        texts = [(tmp_path / out).read_text() for out in outs]
        assert [t.count("\n") for t in texts] == [3, 3, 2]
        assert "".join(texts) == (tmp_path / "wav.scp").read_text()

    def test_too_few_lines(self, tmp_path):
        _, done = self.split(tmp_path, 2, 3)
        assert done.returncode == 2
        assert "wav.scp has 2 lines, too few for 3 parts" in done.stderr

    def test_no_such_file(self, tmp_path):
        done = call(UTILS / "split_scp.sh", "nothing.scp", "a", cwd=tmp_path)
        assert done.returncode == 2
        assert "nothing.scp: no such file" in done.stderr


class TestRecipeFolder:
    def test_setup_makes_links_that_work(self, tmp_path):
        recipe = tmp_path / "egs2" / "foo" / "mtasr1"
        done = call(TEMPLATE / "setup.sh", "egs2/foo/mtasr1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        for name in ("path.sh", "db.sh", "utils", "mtasr.sh"):
            assert (recipe / name).is_symlink()
            assert not os.path.isabs(os.readlink(recipe / name))
        assert not (recipe / "cmd.sh").is_symlink()

        (recipe / "cmd.sh").write_text("mine\n")
        done = call(TEMPLATE / "setup.sh", "egs2/foo/mtasr1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (recipe / "cmd.sh").read_text() == "mine\n"

        source = '. ./path.sh; . ./path.sh; echo "$MTASR_ROOT"'
        shown = call("bash", "-euc", source, cwd=recipe)
        assert shown.stdout == f"{ROOT}\n"

    def test_setup_replaces_no_file(self, tmp_path):
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / "path.sh").write_text("mine\n")
        done = call(TEMPLATE / "setup.sh", "r", cwd=tmp_path)
        assert done.returncode == 2
        assert "path.sh exists and is not a link" in done.stderr
        assert (tmp_path / "r" / "path.sh").read_text() == "mine\n"

    @pytest.fixture
    def root(self, tmp_path):
        """A copy of path.sh in a repository with a stand-in for .venv."""
        copy = tmp_path / "root" / "egs2" / "TEMPLATE" / "mtasr1" / "path.sh"
        copy.parent.mkdir(parents=True)
        copy.write_bytes((TEMPLATE / "path.sh").read_bytes())
        (tmp_path / "root" / "espnet_mtasr").mkdir()
        activate = tmp_path / "root" / ".venv" / "bin" / "activate"
        activate.parent.mkdir(parents=True)
        activate.write_text("export VIRTUAL_ENV=ours\n")
        return copy

    @pytest.mark.parametrize(
        "env, active",
        [
            ({}, "ours"),
            ({"VIRTUAL_ENV": "/mine"}, "/mine"),
            ({"CONDA_PREFIX": "/c", "CONDA_DEFAULT_ENV": "work"}, "none"),
            ({"CONDA_PREFIX": "/c", "CONDA_DEFAULT_ENV": "base"}, "ours"),
        ],
    )
    def test_path_activates_only_if_none_is_active(self, root, env, active):
        names = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH")
        clean = {k: v for k, v in os.environ.items() if k not in names}
        done = subprocess.run(
            ["bash", "-euc", f'. {root}; echo "${{VIRTUAL_ENV:-none}} $PYTHONPATH"'],
            env={**clean, **env},
            capture_output=True,
            text=True,
        )
        assert done.stdout == f"{active} {root.parents[3]}\n", done.stderr

    def test_cmd_backends(self, tmp_path):
        source = f'. {TEMPLATE}/cmd.sh; echo "$train_cmd|$cuda_cmd|$decode_cmd"'
        done = call("bash", "-euc", source, cwd=tmp_path)
        assert done.stdout == "utils/run.sh|utils/run.sh|utils/run.sh\n"
        done = call("bash", "-euc", source, cwd=tmp_path, cmd_backend="slurm")
        assert done.stdout.count("utils/slurm.pl --mem") == 3
        (tmp_path / "conf").mkdir()
        (tmp_path / "conf" / "slurm.conf").touch()
        done = call("bash", "-euc", source, cwd=tmp_path, cmd_backend="slurm")
        assert done.stdout.count("utils/slurm.pl --config conf/slurm.conf --mem") == 3
        for backend, script in (("sge", "queue.pl"), ("pbs", "pbs.pl")):
            done = call("bash", "-euc", source, cwd=tmp_path, cmd_backend=backend)
            assert done.returncode == 2
            assert f"cmd_backend={backend}: there is no {script} on PATH" in done.stderr
            write_script(tmp_path / script, "true")
            path = f"{tmp_path}:{os.environ['PATH']}"
            done = call(
                "bash", "-euc", source, cwd=tmp_path, cmd_backend=backend, PATH=path
            )
            assert done.stdout.count(f"{script} --mem") == 3
        done = call("bash", "-euc", source, cwd=tmp_path, cmd_backend="lsf")
        assert done.returncode == 2
        assert "cmd_backend=lsf" in done.stderr

    @pytest.mark.parametrize(
        "options, env, active",
        [
            ("-euc", {}, "espnets"),
            ("-ec", {}, "espnets"),
            ("-euc", {"VIRTUAL_ENV": "/mine"}, "/mine"),
        ],
    )
    def test_path_in_an_espnet_checkout(self, root, options, env, active):
        """ESPnet's environment, which has the package; -u stays as it was."""
        checkout = root.parents[3]
        (checkout / "espnet_mtasr").rmdir()
        (checkout / ".venv" / "bin" / "activate").unlink()
        (checkout / "tools").mkdir()
        (checkout / "tools" / "activate_python.sh").write_text(
            "export VIRTUAL_ENV=espnets${NOT_SET_BY_ANYONE}\n"
        )
        names = ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH")
        clean = {k: v for k, v in os.environ.items() if k not in names}
        shown = 'echo "${VIRTUAL_ENV} ${PYTHONPATH-unset} $-"'
        done = subprocess.run(
            ["bash", options, f". {root}; {shown}"],
            env={**clean, **env},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found, python_path, flags = done.stdout.split()
        assert (found, python_path) == (active, "unset")
        assert ("u" in flags) == ("u" in options)
