"""Kept results of the experiments on the teacher, and their tables.

    python -m tools.teacher_results keep   # after local/experiments/run_experiments.sh
    python -m tools.teacher_results show   # writes doc/results.md's tables

`keep` leaves arms whose folders are gone as they are. Minutes are those of the latest
timing of steps. `doc/results/teacher.json` has an entry per training.
`teacher_errors.json` has the errors of each mixture, to compute intervals from.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.scoring.bootstrap import paired_bootstrap_interval
from tools.kept_results import ROOT, read
from tools.marked_text import put

EXP = ROOT / "egs2" / "mini_librimix" / "mtasr1" / "exp" / "teacher"
RESULTS = ROOT / "doc" / "results"
PAGE = ROOT / "doc" / "results.md"
BASELINE = "no teacher"
PER_MIXTURE = ("errors", "oracle_errors", "words")
SETS = tuple(f"test_mini{k}mix_{kind}" for k in (2, 3) for kind in ("clean", "noisy"))
# Arms of the paper's table, and their names in it.
MINIATURE = {
    "LLM decoder": "the language model as decoder",
    "equal time": "CTC without a teacher",
    "teacher": "the method",
}
SEED = 0
# Arms that have no teacher in phase 2.
CTC_ALONE = ("no teacher", "equal time", "phase 1 then CTC")
ARMS = "teacher.json"
ERRORS = "teacher_errors.json"
STEP_SECONDS = "teacher_step_seconds.json"
# Arms to compare the teacher with, besides the baseline.
CONTROLS = ("random LM", "other transcript", "phase 1 then CTC", "equal time")
Entry = Dict[str, Any]


def keep(exp: Path, output: Path) -> None:
    """Add all arms that are done to those in `output`, or replace them there.

    Raises:
        UserError: there are none, or their mixtures differ from the others'.
    """
    entries: Dict[str, Entry] = {}
    words: Dict[str, List[int]] = {}
    errors: Dict[str, Any] = {}
    if (output / ARMS).is_file():
        kept = read(output / ERRORS)
        words, errors = kept["words"], kept["errors"]
        entries = {key_of(entry): entry for entry in read(output / ARMS)}
    paths = sorted(exp.glob("*/arm.json"))
    if not paths:
        raise UserError(
            f"{exp}: no arm is done; run local/experiments/run_experiments.sh"
        )
    for path in paths:
        entry = json.loads(path.read_text(encoding="utf-8"))
        key = key_of(entry)
        errors[key] = {}
        for name, row in entry["sets"].items():
            counts = {kind: row.pop(kind) for kind in PER_MIXTURE}
            if words.setdefault(name, counts["words"]) != counts["words"]:
                raise UserError(
                    f"{path}: {name} has different mixtures than the others'"
                )
            errors[key][name] = [counts["errors"], counts["oracle_errors"]]
        entries[key] = entry
    rows = sorted(
        entries.values(), key=lambda e: (e["flat_start"], e["arm"], e["seed"])
    )
    write_whole(output / ARMS, json.dumps(rows, indent=1) + "\n")
    text = json.dumps({"words": words, "errors": errors}, separators=(",", ":"))
    write_whole(output / ERRORS, text + "\n")
    steps = read(exp / "step_seconds.json")
    write_whole(output / STEP_SECONDS, json.dumps(steps, indent=1) + "\n")


def key_of(entry: Mapping[str, Any]) -> str:
    """Return the name of a training in teacher_errors.json."""
    return f"{entry['arm']}, flat start {entry['flat_start']}, seed {entry['seed']}"


class Experiments:
    """The kept experiments.

    Args:
        folder: With teacher.json and teacher_errors.json.
    """

    def __init__(self, folder: Path):
        self.entries: List[Entry] = read(folder / ARMS)  # type: ignore
        kept = read(folder / ERRORS)
        self.words, self.errors = kept["words"], kept["errors"]
        self.step_seconds = read(folder / STEP_SECONDS)

    def minutes(self, entry: Entry) -> float:
        """Return minutes of a training's steps, from steps timed side by side.

        The training's own duration depends on the other load of the machine.
        """
        phase2 = "phase 2 with teacher"
        if entry["arm"] in CTC_ALONE:
            phase2 = "phase 2 without"
        warmup = entry.get("warmup_steps", 0) * self.step_seconds["phase 2 without"]
        phase1 = entry["phase1_steps"] * self.step_seconds["phase 1"]
        rest = entry["phase2_steps"] * self.step_seconds[phase2]
        return (warmup + phase1 + rest) / 60

    def of(self, arm: str, flat_start: int) -> List[Entry]:
        """Return the trainings of an arm, by seed."""
        return [
            e for e in self.entries if (e["arm"], e["flat_start"]) == (arm, flat_start)
        ]

    def arms(self, flat_start: int) -> List[str]:
        """Return the arms with this length of flat start, the baseline first."""
        names = {e["arm"] for e in self.entries if e["flat_start"] == flat_start}
        return sorted(names, key=lambda name: (name != BASELINE, name))

    def errors_of(
        self, entries: Sequence[Entry], sets: Sequence[str], given: bool
    ) -> np.ndarray:
        """Return errors `(trainings, mixtures)`, with the given or predicted count."""
        return np.array(
            [
                sum((self.errors[key_of(e)][name][given] for name in sets), [])
                for e in entries
            ]
        )

    def rate(self, entries: Sequence[Entry], sets: Sequence[str], given: bool) -> float:
        """Return the mean cpWER in percent over trainings; sets are pooled."""
        total = sum(sum(self.words[name]) for name in sets)
        return 100.0 * self.errors_of(entries, sets, given).mean(0).sum() / total

    def difference(
        self, arm: str, baseline: str, flat_start: int, sets: Sequence[str]
    ) -> Optional[Tuple[float, float, float]]:
        """Return the difference of an arm from the baseline, over their common seeds.

        It is in percentage points. The clean and the noisy version of a mixture are
        drawn together.
        """
        seeds = {e["seed"] for e in self.of(arm, flat_start)}
        seeds &= {e["seed"] for e in self.of(baseline, flat_start)}
        if not seeds:
            return None
        mine, others = (
            [e for e in self.of(name, flat_start) if e["seed"] in seeds]
            for name in (arm, baseline)
        )
        groups = [[name for name in sets if f"mini{k}mix" in name] for k in (2, 3)]

        def per_mixture(count: Callable[[str], np.ndarray]) -> np.ndarray:
            return np.concatenate(
                [sum(map(count, group)) for group in groups if group], axis=-1
            )

        return paired_bootstrap_interval(
            per_mixture(lambda name: self.errors_of(mine, [name], True)),
            per_mixture(lambda name: self.errors_of(others, [name], True)),
            per_mixture(lambda name: np.array(self.words[name])),
        )


def arms_table(kept: Experiments, flat_start: int) -> str:
    """Return cpWER of all arms with the given talker count, means over seeds."""
    lines = [
        "| arm | seeds | steps (phase 1 + 2) | minutes | dev loss | 2 talkers clean "
        "| 2 noisy | 3 clean | 3 noisy | all |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for arm in kept.arms(flat_start):
        entries = kept.of(arm, flat_start)
        first = entries[0]
        losses = [e["dev_loss_ctc"] for e in entries]
        loss = "-" if None in losses else f"{np.mean(losses):.2f}"
        rates = [f"{kept.rate(entries, [name], True):.1f}" for name in SETS]
        steps = [first["phase1_steps"], first["phase2_steps"]]
        if first.get("warmup_steps"):
            steps.insert(0, first["warmup_steps"])
        lines.append(
            f"| {arm} | {len(entries)} | {' + '.join(map(str, steps))} "
            f"| {kept.minutes(first):.1f} | {loss} | {' | '.join(rates)} | "
            f"{kept.rate(entries, SETS, True):.1f} |"
        )
    return "\n".join(lines)


def differences_table(kept: Experiments, flat_start: int) -> str:
    """Return differences from the baseline and the teacher, with 95 % intervals."""
    lines = [
        "| compared | 2 talkers | 3 talkers | all | all, by seed |",
        "|---|---:|---:|---:|---:|",
    ]
    pairs = [(arm, BASELINE) for arm in kept.arms(flat_start) if arm != BASELINE]
    pairs += [("teacher", arm) for arm in CONTROLS]
    for arm, baseline in pairs:
        found = [
            kept.difference(arm, baseline, flat_start, sets)
            for sets in (SETS[:2], SETS[2:], SETS)
        ]
        if None in found:
            continue
        cells = [f"{d:+.1f} ({low:+.1f} to {high:+.1f})" for d, low, high in found]
        mine, others = (
            {e["seed"]: kept.rate([e], SETS, True) for e in kept.of(name, flat_start)}
            for name in (arm, baseline)
        )
        seeds = sorted(mine.keys() & others.keys())
        cells.append(", ".join(f"{mine[s] - others[s]:+.1f}" for s in seeds))
        lines.append(f"| {arm} less {baseline} | {' | '.join(cells)} |")
    return "\n".join(lines)


def miniature_table(kept: Experiments) -> str:
    """Return the paper's comparison: systems with about equal training time, seed 0."""
    lines = [
        "| system | flat start | minutes | 2 talkers clean / noisy | 3 clean / noisy "
        "| the same, count given | count right %, clean / noisy | RTF, 2 / 3 talkers |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for flat_start in (0, 2):
        for arm, what in MINIATURE.items():
            for entry in kept.of(arm, flat_start):
                if entry["seed"] != SEED:
                    continue
                predicted, given = (
                    [f"{kept.rate([entry], [name], how):.1f}" for name in SETS]
                    for how in (False, True)
                )
                right = [entry["sets"][name]["count_accuracy"] for name in SETS]
                rtf = [entry["sets"][name]["rtf"] for name in SETS]
                cells = [
                    what,
                    f"{flat_start} epochs" if flat_start else "none",
                    f"{kept.minutes(entry):.1f}",
                    " / ".join(predicted[:2]),
                    " / ".join(predicted[2:]),
                    ", ".join(" / ".join(given[k : k + 2]) for k in (0, 2)),
                    " / ".join(f"{(right[k] + right[k + 2]) / 2:.1f}" for k in (0, 1)),
                    " / ".join(f"{(rtf[k] + rtf[k + 1]) / 2:.4f}" for k in (0, 2)),
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def show(folder: Path, page: Path) -> None:
    """Write the tables between their marks in a page."""
    kept = Experiments(folder)
    put(page, "miniature", miniature_table(kept))
    for flat_start, name in ((0, "no flat start"), (2, "flat start")):
        put(page, f"teacher arms, {name}", arms_table(kept, flat_start))
        put(page, f"teacher differences, {name}", differences_table(kept, flat_start))


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep", help="collect the arms that are done")
    keeping.add_argument("--expdir", type=Path, default=EXP)
    keeping.add_argument("--output", type=Path, default=RESULTS)
    showing = commands.add_parser("show", help="write the tables")
    showing.add_argument("--results", type=Path, default=RESULTS)
    showing.add_argument("--page", type=Path, default=PAGE)
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Keep or show."""
    args = get_parser().parse_args(cmd)
    if args.command == "keep":
        keep(args.expdir, args.output)
    else:
        show(args.results, args.page)


if __name__ == "__main__":
    run_command_line(main)
