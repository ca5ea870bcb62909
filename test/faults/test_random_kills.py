"""The mini recipe, killed at random moments of its stages, and called again.

What it has in the end is what a run that nobody disturbed has: averaged weights, and
the texts of all test sets.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Dict, List

import pytest
import torch
from helpers.recipe_copy import copy_repository
from helpers.tiny_corpus import make_tiny_corpus

SEED = 0
MOMENTS = 20
TRAINING = "--max_epoch 2 --batch_size 4 --num_workers 0 --use_tensorboard false"
OPTIONS = [
    *("--n_train", "8", "--n_dev", "2", "--n_test", "3", "--inference_nj", "1"),
    *("--num_threads", "1", "--phase1_args", TRAINING, "--phase2_args", TRAINING),
]
# When a stage began, as mtasr.sh prints it.
BEGAN = re.compile(r"^(\S+) \(mtasr\.sh\) Stage (\d+):", re.MULTILINE)
ENDED = re.compile(r"^(\S+) \(mtasr\.sh\) Stages 1 to 13 took", re.MULTILINE)


class Recipe:
    """A copy of the repository whose mini recipe reads a tiny corpus."""

    def __init__(self, root: Path, corpus: Path):
        self.folder = copy_repository(root) / "egs2" / "mini_librimix" / "mtasr1"
        self.words = ["./run.sh", "--librispeech", f"{corpus}/LibriSpeech"]
        self.words += ["--wham_noise", f"{corpus}/wham_noise", *OPTIONS]
        self.log = root / "log"

    def start(self) -> subprocess.Popen:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "VIRTUAL_ENV": sys.prefix}
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        env.pop("PYTHONPATH", None)
        with self.log.open("w") as log:
            return subprocess.Popen(
                self.words,
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def finish(self) -> str:
        """Run it to its end and return what it prints."""
        assert self.start().wait() == 0, self.log.read_text()[-4000:]
        return self.log.read_text()

    def kill_in(self, stage: int, seconds: float) -> bool:
        """Run it, and kill it so long after a stage has begun; False: it has ended."""
        process = self.start()
        began = f"(mtasr.sh) Stage {stage}:"
        while began not in self.log.read_text() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(seconds)
        if process.poll() is not None:
            assert process.returncode == 0, self.log.read_text()[-4000:]
            return False
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Nobody kills its jobs: they end by themselves.
        deadline = time.time() + 30
        while self.jobs():
            assert time.time() < deadline, f"jobs live on: {self.jobs()}"
            time.sleep(0.2)
        return True

    def jobs(self) -> List[str]:
        """Command lines of processes that work in its folder."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if Path(os.readlink(entry / "cwd")).is_relative_to(self.folder):
                    found.append((entry / "cmdline").read_bytes().decode())
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return [line for line in found if line]

    def made(self) -> Dict[str, object]:
        """Averaged weights of both phases, and the texts of the test sets."""
        exp = self.folder / "exp"
        made: Dict[str, object] = {
            str(path.relative_to(exp)): path.read_text()
            for path in sorted(exp.glob("mtasr_phase2/decode_*/*/text"))
        }
        for path in sorted(exp.glob("mtasr_phase?/valid.*.ave.pth")):
            state = torch.load(path, map_location="cpu", weights_only=True)
            made[str(path.relative_to(exp))] = {k: v.tolist() for k, v in state.items()}
        return made


def durations(log: str) -> Dict[int, float]:
    """Seconds of each stage."""
    times = [(datetime.fromisoformat(t), int(n)) for t, n in BEGAN.findall(log)]
    (end,) = ENDED.findall(log)
    ends = [t for t, _ in times[1:]] + [datetime.fromisoformat(end)]
    return {n: (e - t).total_seconds() for (t, n), e in zip(times, ends)}


@pytest.mark.slow
def test_twenty_moments(tmp_path, record_kills):
    corpus = tmp_path / "corpus"
    for subset in ("train-clean-100", "dev-clean", "test-clean"):
        make_tiny_corpus(corpus, subset, rate=8000, seconds=(0.3, 2.5))
    undisturbed = Recipe(tmp_path / "undisturbed", corpus)
    seconds = durations(undisturbed.finish())
    assert set(seconds) == set(range(1, 14))
    expected = undisturbed.made()
    assert len(expected) == 4 + 4 + 2 and any(v for v in expected.values())
    recipe = Recipe(tmp_path / "killed", corpus)
    rng = random.Random(SEED)
    killed: Dict[int, int] = {}
    while sum(killed.values()) < MOMENTS:
        stage = rng.randint(1, 13)
        if recipe.kill_in(stage, rng.uniform(0, max(1.0, seconds[stage]))):
            killed[stage] = killed.get(stage, 0) + 1
    recipe.finish()
    same = recipe.made() == expected
    record_kills(MOMENTS, 0 if same else MOMENTS)
    assert same, killed
