"""The progress line that follows log files; the log lines are of real runs."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.terminal import last_screen, run_in_terminal

from espnet_mtasr.bin.show_progress import Count, LogFile, Pace, Training, main
from espnet_mtasr.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
HEAD = """\
# Running on vm
# Started at Mon Nov 23 03:10:41 UTC 2026
Failed to import Flash Attention, using ESPnet default: No module named 'flash_attn'
Loading weights:   0%|          | 0/101 [00:00<?, ?it/s]
[vm] 2026-11-23 03:10:48,390 (abs_task:1501) INFO: Saving the configuration in {config}
[vm] 2026-11-23 03:10:48,443 (abs_task:1921) INFO: [train] mini-batch sizes summary: \
N-batch=168, mean=23.8, min=8, max=24
[vm] 2026-11-23 03:10:48,451 (abs_task:1921) INFO: [valid] mini-batch sizes summary: \
N-batch=12, mean=20.0, min=20, max=20
"""
STARTED = "[vm] 2026-11-23 03:10:48,527 (trainer:334) INFO: 1/8epoch started\n"
RESUMED = "[vm] 2026-11-23 03:13:37,564 (trainer:334) INFO: 4/8epoch started\n"
BATCHES_20 = """\
[vm] 2026-11-23 03:10:54,569 (trainer:810) INFO: 1epoch:train:1-20batch: \
iter_time=0.010, forward_time=0.176, loss=10.571, unalignable=0.000e+00, \
loss_ctc=13.524, loss_ctc_2spk=12.401, backward_time=0.106, grad_norm=8.2
"""
BATCHES_40 = """\
[vm] 2026-11-23 03:11:00,071 (trainer:810) INFO: 1epoch:train:21-40batch: \
iter_time=0.005, forward_time=0.165, loss=7.115, unalignable=0.000e+00, loss_ctc=8.577
"""
RESULTS = """\
[vm] 2026-11-23 03:11:40,815 (trainer:392) INFO: 1epoch results: [train] \
iter_time=0.005, loss=5.423, [valid] loss=4.301, loss_ctc=4.530, total_count=12
[vm] 2026-11-23 03:11:40,869 (trainer:460) INFO: The best model has been updated: \
valid.loss_ctc
[vm] 2026-11-23 03:11:40,871 (trainer:322) INFO: 2/8epoch started. Estimated time to \
finish: 6 minutes and 6.4 seconds
"""
SPEECH = "2026-11-23 03:19:20,734 (mtasr_inference:190) INFO: speech length: 80519\n"
HYPO = "2026-11-23 03:19:20,718 (mtasr_inference:198) INFO: best hypo: six <sc> now\n"
PERPLEXITY = """\
INFO:root:loaded exp/mtasr_phase1/valid.loss_sot.ave.pth
INFO:root:mini2mix_clean_201-2010-0003_203-2031-0008: 16 mixtures
INFO:root:mini3mix_noisy_206-2061-0008_208-2080-0003_205-2050-0004: 9 mixtures
"""


def append(path, text):
    with open(path, "a") as stream:
        stream.write(text)


def test_a_training_that_was_finished_before(tmp_path):
    """Its log has no epoch, but the trainer's remark that there is nothing to do."""
    log = tmp_path / "train.log"
    training = Training(log)
    append(log, HEAD.format(config="c.yaml") + "The training has already reached\n")
    training.poll(1.0)
    assert training.succeeded() == (1.0, "was finished before")


class TestLogFile:
    def test_new_lines_and_half_ones(self, tmp_path):
        file = LogFile(tmp_path / "log")
        assert file.read() == (False, [])
        append(tmp_path / "log", "one\ntw")
        assert file.read() == (True, ["one"])
        append(tmp_path / "log", "o\nthree\n")
        assert file.read() == (False, ["two", "three"])
        assert file.read() == (False, [])

    def test_what_an_earlier_run_left_is_passed_over(self, tmp_path):
        log = tmp_path / "log"
        log.write_text("old\nold\n")
        file = LogFile(log)
        assert file.read() == (False, [])
        log.write_text("new\n")
        assert file.read() == (True, ["new"])

    def test_a_file_that_begins_anew(self, tmp_path):
        log = tmp_path / "log"
        file = LogFile(log)
        log.write_text("first\nsecond\n")
        file.read()
        log.write_text("x\n")
        assert file.read() == (True, ["x"])
        # As espnet2.bin.launch does with older logs.
        log.rename(tmp_path / "log.1")
        log.write_text("another file\n")
        assert file.read() == (True, ["another file"])


class TestPace:
    def test_the_time_before_work_was_seen_does_not_count(self):
        pace = Pace()
        assert pace.left(100, 5.0) is None
        pace.update(10, 20.0)
        assert pace.left(100, 25.0) is None
        pace.update(30, 30.0)
        # 20 units in 10 s, 70 to go.
        assert pace.left(100, 30.0) == pytest.approx(35.0)

    def test_counts_down_for_a_while_only(self):
        pace = Pace()
        for done, now in ((0, 0.0), (10, 4.0), (20, 8.0)):
            pace.update(done, now)
        assert pace.left(100, 11.0) == pytest.approx(29.0)
        # The last sign of work took 4 s to come: longer is no progress.
        assert pace.left(100, 12.0) == pace.left(100, 99.0) == pytest.approx(28.0)
        assert pace.left(20, 12.0) == 0.0


class TestTraining:
    @pytest.fixture
    def training(self, tmp_path):
        self.log = tmp_path / "train.log"
        self.config = tmp_path / "config.yaml"
        self.config.write_text("max_epoch: 8\nnum_iters_per_epoch: null\n")
        return Training(self.log)

    def follow(self, training, text, now):
        append(self.log, text.replace("{config}", str(self.config)))
        training.poll(now)
        return training.state(now)

    def test_a_run_from_its_start(self, training):
        assert self.follow(training, "", 0.0) == (0.0, "starting", None)
        assert self.follow(training, HEAD, 7.0) == (0.0, "starting", None)
        assert self.follow(training, STARTED, 100.0) == (0.0, "epoch 1/8", None)
        share, detail, left = self.follow(training, BATCHES_20, 106.0)
        # An epoch is 168 batches and 12 of validation for a third: 172.
        assert share == pytest.approx(20 / (8 * 172))
        assert detail == "epoch 1/8, loss 10.571"
        # 0.3 s a batch.
        assert left == pytest.approx((8 * 172 - 20) * 0.3)
        share, detail, left = self.follow(training, BATCHES_40, 116.0)
        assert detail == "epoch 1/8, loss 7.115"
        assert left == pytest.approx((8 * 172 - 40) * 0.4)
        share, detail, left = self.follow(training, RESULTS, 180.0)
        assert (share, detail) == (1 / 8, "epoch 2/8, loss 7.115")
        assert left == pytest.approx(7 * 80.0)

    def test_a_resumed_run_goes_by_its_own_pace(self, training):
        share, detail, left = self.follow(training, HEAD + RESUMED, 50.0)
        assert (share, detail, left) == (3 / 8, "epoch 4/8", None)
        line = BATCHES_20.replace("1epoch", "4epoch")
        share, detail, left = self.follow(training, line, 60.0)
        assert share == pytest.approx((3 * 172 + 20) / (8 * 172))
        assert left == pytest.approx((5 * 172 - 20) * 0.5)

    def test_an_epoch_of_fewer_batches(self, training):
        self.config.write_text("max_epoch: 8\nnum_iters_per_epoch: 96\n")
        self.follow(training, HEAD + STARTED, 0.0)
        share, _, left = self.follow(training, BATCHES_20, 10.0)
        assert share == pytest.approx(20 / 100 / 8)
        assert left == pytest.approx((800 - 20) * 0.5)

    def test_a_length_that_the_log_does_not_tell(self, training):
        self.follow(training, STARTED, 0.0)
        assert self.follow(training, BATCHES_20, 10.0)[0] == 0.0
        share, _, left = self.follow(training, RESULTS, 30.0)
        assert (share, left) == (1 / 8, pytest.approx(210.0))

    def test_a_warning_of_a_silent_stream(self, training):
        line = "[vm] 2026 (trainer:1) WARNING: stream 2 of 2 talkers writes nothing: x"
        self.follow(training, HEAD + STARTED + line + "\n", 0.0)
        assert training.warnings == ["warning: stream 2 of 2 talkers writes nothing: x"]

    def test_another_training_in_the_same_log(self, training):
        self.follow(training, HEAD + STARTED + RESULTS, 10.0)
        self.log.write_text("# Running on vm\n")
        assert self.follow(training, "", 20.0) == (0.0, "starting", None)


class TestCount:
    def test_decoding_in_two_jobs(self, tmp_path):
        logs = [tmp_path / "1.log", tmp_path / "2.log"]
        # Of an earlier run with the second job's log.
        logs[1].write_text(5 * HYPO)
        count = Count(20, logs, "best hypo: ")
        count.poll(0.0)
        assert count.state(0.0) == (0.0, "starting", None)
        append(logs[0], SPEECH + HYPO)
        count.poll(10.0)
        assert count.state(10.0) == (0.05, "1/20", None)
        append(logs[0], 2 * (SPEECH + HYPO) + SPEECH)
        logs[1].write_text(2 * (SPEECH + HYPO))
        count.poll(12.0)
        # 4 in 2 s, 15 to go.
        assert count.state(12.0) == (0.25, "5/20", pytest.approx(7.5))
        assert count.succeeded() == (1.0, "20/20")

    def test_every_line_of_the_lists_of_collect_stats(self, tmp_path):
        count = Count(4, [tmp_path / "train", tmp_path / "valid"], "")
        (tmp_path / "train").write_text("mini2mix_a 71042\nmini2mix_b 80519\nmini2m")
        count.poll(1.0)
        assert count.state(1.0) == (0.5, "2/4", None)

    def test_batches_of_the_perplexity(self, tmp_path):
        count = Count(50, [tmp_path / "log"], r": ([0-9]+) mixtures$")
        (tmp_path / "log").write_text(PERPLEXITY)
        count.poll(1.0)
        assert count.state(1.0) == (0.5, "25/50", None)

    def test_jobs_that_tell_their_own_total(self, tmp_path):
        logs = [tmp_path / "1.log", tmp_path / "2.log"]
        count = Count(None, logs, "batches: ([0-9]+) of ([0-9]+)$")
        count.poll(0.0)
        assert count.state(0.0) == (0.0, "starting", None)
        # A job with nothing to do says nothing.
        assert count.succeeded() == (1.0, "")
        append(logs[0], "x: batches: 1 of 6\nx: batches: 2 of 6\n")
        append(logs[1], "x: batches: 1 of 4\n")
        count.poll(1.0)
        assert count.state(1.0) == (0.3, "3/10", None)
        assert count.succeeded() == (1.0, "10/10")


class TestCommandLine:
    def test_it_is_there_at_once(self):
        """Heavy modules would compete with the training that it follows."""
        code = (
            "import sys, espnet_mtasr.bin.show_progress\n"
            "print({'numpy', 'torch', 'yaml', 'espnet2'} & set(sys.modules))"
        )
        run = [sys.executable, "-c", code]
        assert subprocess.check_output(run, text=True) == "set()\n"

    def test_nothing_without_a_terminal(self, tmp_path, capsys):
        main(["--label", "x", "count", "--total", "3", str(tmp_path / "log")])
        assert capsys.readouterr() == ("", "")

    def test_warnings_come_without_a_terminal(self, tmp_path):
        """At once, and after a hang-up that nohup keeps away."""
        command = ["nohup", sys.executable, "-m", "espnet_mtasr.bin.show_progress"]
        follower = subprocess.Popen(
            [*command, "training", "log"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        said = "stream 2 of 2 talkers writes nothing"
        try:
            for _ in range(2):
                while not select.select([follower.stderr], [], [], 0.2)[0]:
                    with (tmp_path / "log").open("a") as log:
                        log.write(f"[vm] 2026 (trainer:1) WARNING: {said}\n")
                assert follower.stderr.readline() == f"warning: {said}\n"
                follower.send_signal(signal.SIGHUP)
            follower.send_signal(signal.SIGTERM)
            assert "%" not in follower.communicate(timeout=10)[1]
            assert follower.returncode == 0
        finally:
            follower.kill()

    def test_mistakes(self):
        with pytest.raises(UserError, match="--total 0: give a number from 1"):
            main(["count", "--total", "0", "log"])
        with pytest.raises(UserError, match=r"--pattern \(: .*; fix it"):
            main(["count", "--total", "1", "--pattern", "(", "log"])
        for words in (["--total", "1", "--pattern", "(1) (2)"], ["--pattern", "(1)"]):
            with pytest.raises(UserError, match="either --total or a --pattern"):
                main(["count", *words, "log"])

    def run(self, tmp_path, kill):
        """Two of four are finished; then `kill` is run. Returns what stays."""
        follower = f"{sys.executable} -m espnet_mtasr.bin.show_progress"
        script = f"""stty -echo
            {follower} --label decoding count --total 4 log &
            read; echo 1 >log; echo 2 >>log
            read; {kill}
            wait
            echo the end"""
        code, text = run_in_terminal(
            ["bash", "-c", script],
            columns=60,
            typed=[("starting", b"\n"), ("2/4", b"\n")],
            cwd=tmp_path,
        )
        assert code == 0
        assert f"decoding [{'-' * 30}]   0 %, starting" in text
        drawn = text.replace("\n", "").replace("\033[K", "").split("\r")
        assert max(map(len, drawn)) < 60
        return last_screen(text)

    def test_success_leaves_the_line(self, tmp_path):
        first, *rest = self.run(tmp_path, "kill %1").splitlines()
        assert "100 %, 4/4, took " in first
        assert rest == ["the end"]

    @pytest.mark.parametrize("name", ["USR1", "HUP", "INT"])
    def test_failure_takes_it_away(self, name, tmp_path):
        assert self.run(tmp_path, f"kill -{name} %1") == "the end\n"

    def test_it_goes_with_the_one_that_started_it(self, tmp_path):
        """The terminal stays, so that there is no SIGHUP from its end."""
        follower = f"{sys.executable} -m espnet_mtasr.bin.show_progress training log"
        script = f"""stty -echo
            bash -c '{follower} & echo $! >pid; read </dev/tty; kill -9 $$'
            pid=$(cat pid)
            # A zombie is gone as well: not every container buries them.
            while [ -e /proc/$pid ] && ! grep -q '^State:.Z' /proc/$pid/status; do
                sleep 0.05
            done
            echo gone"""
        code, text = run_in_terminal(
            ["bash", "-c", script], typed=[("starting", b"\n")], cwd=tmp_path
        )
        assert code == 0
        assert last_screen(text).endswith("gone\n")
