#!/usr/bin/env python3
"""Train, decode and measure the arms of arms.yaml; finished work is kept.

run_experiments.sh calls it when the data are ready. Trainings are the recipe's own, on
cached outputs of the trunk.
"""

import argparse
import hashlib
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from arms import Arm, FirstPhase, Table, read_arms
from controls import make_random_lm

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole

HERE = Path(__file__).resolve().parent
CONTROLS = "local.experiments.teacher.controls"
MODELS = {1: "valid.loss_sot.ave.pth", 2: "valid.loss_ctc.ave.pth"}
DONE = "arm.json"
PHASE_1_SEED = 100


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", type=Path, default=HERE / "arms.yaml")
    parser.add_argument("--expdir", type=Path, default=Path("exp/teacher"))
    parser.add_argument("--lists", type=Path, required=True, help="Of stage 10")
    parser.add_argument("--only", nargs="+", help="Names of arms (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", help="(default: all)")
    parser.add_argument("--nj", type=int, default=1, help="Trainings side by side")
    parser.add_argument("--sets", nargs="+", required=True, help="In dump/raw")
    parser.add_argument("--tokens", type=Path, required=True, help="Folder of stage 5")
    parser.add_argument("--models", type=Path, default=Path("exp/models"))
    return parser


class Runner:
    """Commands of the arms, and the order in which they can run.

    Args:
        table: What to run.
        args: Of the command line.
    """

    def __init__(self, table: Table, args: argparse.Namespace):
        self.table = table
        self.args = args

    def first_phase_dir(self, name: str, seed: int) -> Path:
        """Return the folder of a phase 1."""
        return self.args.expdir / f"phase_1_{name}_seed_{seed}".replace(" ", "_")

    def warmup_dir(self, phase: FirstPhase, seed: int) -> Optional[Path]:
        """Return the folder of the arm that a phase 1 starts from."""
        if phase.after is None:
            return None
        return self.args.expdir / Arm(phase.after, (), 0).folder(seed)

    def trainer_options(
        self, phase: int, folder: Path, epochs: int, options: Sequence[str]
    ) -> List[str]:
        """Return all options for mtasr_train."""
        lists, tokens = self.args.lists, self.args.tokens
        words = ["--config", f"conf/train_phase{phase}.yaml"]
        for part in ("train", "valid"):
            for entry in ("trunk.scp,speech,text", "text,text,text"):
                words += [f"--{part}_data_path_and_name_and_type"]
                words += [f"{lists / part}/{entry}"]
            for shape in ("speech_shape", "text_shape"):
                words += [f"--{part}_shape_file", f"{lists / part / shape}"]
        steps = self.table.epoch_steps
        return [
            *words,
            *("--talker_counts", "2", "3", "--token_type", "bpe", "--resume", "true"),
            *("--token_list", f"{tokens}/tokens.txt", "--ngpu", "0"),
            *("--bpemodel", f"{tokens}/bpe.model", "--output_dir", str(folder)),
            *("--encoder_conf", f"model={self.args.models}/encoder"),
            *("--max_epoch", str(epochs), "--num_iters_per_epoch", str(steps)),
            *("--scheduler_conf", f"max_steps={epochs * steps}", *options),
        ]

    def train(
        self, phase: int, folder: Path, epochs: int, options: Sequence[str]
    ) -> None:
        """Train a phase, or resume it."""
        words = self.trainer_options(phase, folder, epochs, options)
        check_same_inputs(folder / "inputs.txt", words)
        command = [sys.executable, "-m", "espnet_mtasr.bin.mtasr_train", *words]
        self.call(command, folder / "train.log")

    def llm(self, phase: FirstPhase) -> List[str]:
        """Return the options that name its language model."""
        folder = self.args.models / "llm"
        if phase.llm == "random":
            folder = self.args.expdir / "random_lm"
        return ["--teacher_conf", f"llm={folder}"]

    def run_first_phase(self, name: str, seed: int) -> None:
        """Train a phase 1, and check that its teacher uses the audio."""
        phase = self.table.first_phases[name]
        folder = self.first_phase_dir(name, seed)
        if (folder / "perplexity.json").is_file():
            return
        # Another order of the mixtures than phase 2's.
        options = [*self.llm(phase), "--seed", str(seed + PHASE_1_SEED)]
        warmup = self.warmup_dir(phase, seed)
        if warmup is not None:
            if not (warmup / DONE).is_file():
                raise UserError(f"{folder}: comes after {warmup}, which isn't done")
            options += ["--init_param", f"{warmup / MODELS[2]}:encoder:encoder"]
        self.train(1, folder, phase.epochs, options)
        self.call(
            [
                *(sys.executable, "-m", "espnet_mtasr.bin.mtasr_perplexity"),
                *("--mtasr_train_config", f"{folder}/config.yaml"),
                *("--mtasr_model_file", f"{folder}/{MODELS[1]}"),
                *("--data_dir", "dump/raw/dev", "--num_workers", "0"),
                *("--output", f"{folder}/perplexity.json"),
            ],
            folder / "perplexity.log",
        )

    def run_arm(self, arm: Arm, seed: int) -> None:
        """Train phase 2, decode and measure."""
        folder = self.args.expdir / arm.folder(seed)
        if (folder / DONE).is_file():
            return
        first = None
        if arm.first_phase is not None:
            first = self.first_phase_dir(arm.first_phase, seed)
        if arm.epochs > 0:
            self.train(2, folder, arm.epochs, self.phase2_options(arm, seed, first))
        measure = [sys.executable, str(HERE / "measure_arm.py"), "--output"]
        measure += [str(folder / DONE), "--arm", arm.arm, "--seed", str(seed)]
        measure += ["--flat_start", str(arm.flat_start), "--sets", *self.args.sets]
        measure += ["--epoch_steps", str(self.table.epoch_steps)]
        if first is not None:
            measure += ["--phase1_dir", str(first)]
            phase = self.table.first_phases[arm.first_phase]
            warmup = self.warmup_dir(phase, seed)
            if warmup is not None:
                measure += ["--warmup_dir", str(warmup)]
        if arm.epochs > 0:
            measure += ["--phase2_dir", str(folder)]
        self.call(measure, folder / "measure.log")

    def phase2_options(self, arm: Arm, seed: int, first: Optional[Path]) -> List[str]:
        """Return the options of phase 2 that define the arm."""
        options = ["--seed", str(seed)]
        options += ["--preprocessor_conf", f"flat_start_epochs={arm.flat_start}"]
        options += ["--model_conf", f"ctc_weight={arm.ctc_weight}"]
        options += ["--model_conf", "teacher_every=1"]
        if first is None:
            return options
        options += ["--init_param", f"{first / MODELS[1]}:encoder:encoder"]
        if arm.ctc_weight < 1.0:
            options += [f"{first / MODELS[1]}:teacher:teacher"]
            options += self.llm(self.table.first_phases[arm.first_phase])
        if arm.teacher is not None:
            options += ["--teacher", f"{CONTROLS}:{arm.teacher}"]
        return options

    def call(self, command: Sequence[str], log: Path) -> None:
        """Run a command, with its output in a log.

        Raises:
            UserError: it fails.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as f:
            code = subprocess.run(command, stdout=f, stderr=f).returncode
        if code != 0:
            raise UserError(f"{log}: exited with code {code}; see its last lines")

    def run(self, rows: Sequence[Tuple[Arm, int]]) -> List[str]:
        """Run arms with their seeds, `nj` at a time, and return what failed."""
        if any(p.llm == "random" for p in self.table.first_phases.values()):
            target = self.args.expdir / "random_lm"
            if not (target / "model.safetensors").is_file():
                make_random_lm(self.args.models / "llm", target)
        first: Dict[Path, "Future[None]"] = {}
        jobs: "Dict[str, Future[None]]" = {}

        def run_first(name: str, seed: int, warmup: "Optional[Future[None]]") -> None:
            if warmup is not None:
                warmup.result()
            self.run_first_phase(name, seed)

        def run_row(arm: Arm, seed: int) -> None:
            if arm.first_phase is not None:
                first[self.first_phase_dir(arm.first_phase, seed)].result()
            self.run_arm(arm, seed)
            print(f"{arm.folder(seed)}: done", flush=True)

        with ThreadPoolExecutor(self.args.nj) as pool:
            for arm, seed in rows:
                if arm.first_phase is not None:
                    key = self.first_phase_dir(arm.first_phase, seed)
                    # Before all that waits for it, so that it has begun by then.
                    if key not in first:
                        phase = self.table.first_phases[arm.first_phase]
                        warmup = self.warmup_dir(phase, seed)
                        first[key] = pool.submit(
                            run_first,
                            arm.first_phase,
                            seed,
                            jobs.get(warmup.name) if warmup else None,
                        )
                jobs[arm.folder(seed)] = pool.submit(run_row, arm, seed)
        errors = [(name, job.exception()) for name, job in jobs.items()]
        return [f"{name}: {error}" for name, error in errors if error is not None]


def check_same_inputs(path: Path, words: Sequence[str]) -> None:
    """Raise `UserError` if a training in this folder has other options or files.

    If it were resumed, the old learning-rate schedule would continue, for example.
    """
    files = [word.partition(",")[0].partition(":")[0] for word in words]
    files += [f"{word[4:]}/model.safetensors" for word in words if word[:4] == "llm="]
    lines = [
        f"{file} {hashlib.sha256(Path(file).read_bytes()).hexdigest()}"
        for file in files
        if Path(file).is_file()
    ]
    inputs = "\n".join([" ".join(words), *lines]) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != inputs:
        raise UserError(
            f"{path}: the training there has other options or files; remove "
            f"{path.parent}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, inputs)


def choose(
    table: Table, only: Optional[Sequence[str]], seeds: Optional[Sequence[int]]
) -> List[Tuple[Arm, int]]:
    """Return the wanted rows, seed by seed, flat starts last.

    Raises:
        UserError: a wanted arm isn't in the table.
    """
    names = {arm.arm for arm in table.arms}
    for name in only or ():
        if name not in names:
            raise UserError(f"--only {name}: arms.yaml has {', '.join(sorted(names))}")
    rows = [
        (arm, seed)
        for arm in table.arms
        for seed in arm.seeds
        if (only is None or arm.arm in only) and (seeds is None or seed in seeds)
    ]
    return sorted(rows, key=lambda row: (row[0].flat_start, row[1]))


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Run what is missing."""
    args = get_parser().parse_args(cmd)
    table = read_arms(args.arms)
    failed = Runner(table, args).run(choose(table, args.only, args.seeds))
    if failed:
        raise UserError("; ".join(failed))


if __name__ == "__main__":
    run_command_line(main)
