#!/usr/bin/env python3
"""Compare trainings: a table of their results.json files.

`ablate_start.sh` calls it. The trainings must have used the same data for as long, so
their config.yaml files and the test sets of their results are compared first.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import yaml

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole

# Options that must be equal for two trainings to be comparable.
SAME = (
    "talker_counts",
    "token_list",
    "encoder",
    "separator",
    "separator_conf",
    "count_head_conf",
    "preprocessor_conf",
    "freeze_param",
    "seed",
    "max_epoch",
    "num_iters_per_epoch",
    "batch_type",
    "batch_size",
    "batch_bins",
    "accum_grad",
    "grad_clip",
    "optim",
    "optim_conf",
    "lr_scale",
    "scheduler",
    "scheduler_conf",
)


class Run(NamedTuple):
    """A phase-2 training with its results.

    Attributes:
        name: For the table's header.
        results: results.json.
        configs: config.yaml of phase 2 and of phase 1 (None: there was none).
        folders: Where the two are.
    """

    name: str
    results: Dict[str, Any]
    configs: Sequence[Optional[Dict[str, Any]]]
    folders: Sequence[Optional[Path]]


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="Markdown file")
    parser.add_argument(
        "--run",
        nargs="+",
        action="append",
        required=True,
        metavar=("NAME", "PHASE2_DIR"),
        help="NAME PHASE2_DIR [PHASE1_DIR]; the others must be comparable to the first",
    )
    return parser


def read_run(words: Sequence[str]) -> Run:
    """Read the training that a `--run` names.

    Raises:
        UserError: too few or too many words, or a file is missing or damaged.
    """
    if len(words) not in (2, 3):
        raise UserError(f"--run {' '.join(words)}: give NAME PHASE2_DIR [PHASE1_DIR]")
    name, phase2, phase1 = words[0], Path(words[1]), None
    results = _read(phase2 / "results.json")
    configs = [_read(phase2 / "config.yaml"), None]
    if len(words) == 3:
        phase1 = Path(words[2])
        configs[1] = _read(phase1 / "config.yaml")
    return Run(name, results, configs, (phase2, phase1))


def _read(path: Path) -> Dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise UserError(f"{path}: can't be read; train and score first") from e
    try:
        content = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is damaged; remove it, and train and score again")
    return content


def check_comparable(first: Run, other: Run) -> None:
    """Raise `UserError` unless two runs only differ in their start."""
    for folder, mine, ours in zip(other.folders, other.configs, first.configs):
        if mine is None or ours is None:
            continue
        for option in SAME:
            if mine.get(option) != ours.get(option):
                raise UserError(
                    f"{folder}/config.yaml: {option} is {mine.get(option)}, but "
                    f"{ours.get(option)} for {first.name}; remove {folder} and run "
                    f"again"
                )
        if _apart_from_the_start(mine) != _apart_from_the_start(ours):
            raise UserError(
                f"{folder}/config.yaml: has a different encoder or different kinds of "
                f"data than {first.name}; remove {folder} and run again"
            )
    folder = other.folders[0]
    if other.results["mixtures"] != first.results["mixtures"]:
        raise UserError(
            f"{folder}/results.json: measured on {other.results['mixtures']}, but "
            f"{first.name} on {first.results['mixtures']}; remove {folder} and run "
            f"again"
        )
    sizes = [
        {
            name: (row["n_utt"], row["n_words"])
            for name, row in run.results["sets"].items()
        }
        for run in (first, other)
    ]
    if sizes[0] != sizes[1]:
        raise UserError(
            f"{folder}/results.json: has different test sets than {first.name}'s; "
            f"remove {folder} and run again"
        )


def _apart_from_the_start(config: Dict[str, Any]) -> Any:
    """Return the encoder's options except its branches' start, and kinds of data."""
    encoder = dict(config.get("encoder_conf") or {})
    encoder.pop("pretrained_branches", None)
    data = config.get("train_data_path_and_name_and_type") or []
    return encoder, [(name, kind) for _, name, kind in data]


def format_table(runs: Sequence[Run]) -> str:
    """Return the Markdown text of comparable runs."""
    rows = [["", "", *(run.name for run in runs)]]
    for what, values in (
        ("branches start from", [_branches(run) for run in runs]),
        ("epochs of phase 1", [_epochs(run.configs[1]) for run in runs]),
        ("epochs of phase 2", [_epochs(run.configs[0]) for run in runs]),
    ):
        rows.append(["training", what, *values])
    for name in runs[0].results["sets"]:
        sets = [run.results["sets"][name] for run in runs]
        rows.append([name, "cpWER %, count predicted", *map(_cpwer, sets)])
        given = [_number(row["cpwer_oracle_count"]) for row in sets]
        rows.append([name, "cpWER %, count given", *given])
        right = [_number(row["count_accuracy"]) for row in sets]
        rows.append([name, "count right %", *right])
    rows.insert(1, ["---", "---", *["---:"] * len(runs)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(
        [
            "# What the start of the training contributes",
            "",
            f"Measured on {runs[0].results['mixtures']}; in parentheses the 95 % "
            "bootstrap interval. Seeds, data and step counts are the same.",
            "",
            *lines,
            "",
        ]
    )


def _branches(run: Run) -> str:
    # After a phase 1, phase 2's branches start from its branches.
    start = run.configs[1] or run.configs[0]
    conf = start.get("encoder_conf") or {}
    return "the encoder" if conf.get("pretrained_branches", True) else "random weights"


def _epochs(config: Optional[Dict[str, Any]]) -> str:
    return "none" if config is None else str(config.get("max_epoch"))


def _number(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cpwer(row: Dict[str, Any]) -> str:
    low, high = row["cpwer_ci95"]
    return f"{_number(row['cpwer'])} ({_number(low)} to {_number(high)})"


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Compare, write and print."""
    args = get_parser().parse_args(cmd)
    runs: List[Run] = [read_run(words) for words in args.run]
    for other in runs[1:]:
        check_comparable(runs[0], other)
    table = format_table(runs)
    write_whole(args.output, table)
    print(table, end="")


if __name__ == "__main__":
    run_command_line(main)
