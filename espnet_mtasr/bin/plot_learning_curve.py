"""Draw a training's learning curve, `learning_curve.png`, from its last checkpoint.

`learning_curve.json` beside it has the same data, for RESULTS.html.

There is a panel for each loss of the two phases and for the accuracy of the
talker-count head. It shows training and validation set over epochs, for all mixtures
and per talker count, and marks the best epoch by the configuration's criterion.
ESPnet's own images (espnet2/train/reporter.py) have one file per number and don't
compare talker counts.
"""

import argparse
import json
import math
import re
from io import BytesIO
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole

# epoch -> "train" or "valid" -> name -> value
Stats = Dict[int, Dict[str, Dict[str, float]]]

PANELS = {
    "loss_sot": "teacher: SOT loss per token",
    "loss_ctc": "serialized CTC: loss per token",
    "loss_count": "talker-count head: loss",
    "acc_count": "talker-count head: accuracy",
}
# From above 10 to below 0.1: late gains would be invisible on a linear axis.
LOGARITHMIC = ("loss_ctc",)
# Ends a panel's notes.
MEANING = "This alone can make training look worse than dev."
# Of talker counts, used in turn.
MARKERS = "os^Dv"


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--exp_dir", "--exp-dir", type=Path, required=True, help="A training's folder"
    )
    parser.add_argument(
        "--output", type=Path, help="PNG (default: EXP_DIR/learning_curve.png)"
    )
    return parser


def read_stats(exp_dir: Path) -> Stats:
    """Read the trainer's statistics from `checkpoint.pth`.

    Raises:
        UserError: there is no checkpoint, it is damaged, or has no finished epoch.
    """
    import torch

    path = exp_dir / "checkpoint.pth"
    if not path.is_file():
        raise UserError(f"{path}: no such file; train first")
    try:
        # Memory-mapped, because the weights are not needed here.
        states = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        stats = states["reporter"]["stats"]
    except Exception as e:  # torch raises many kinds of errors for a damaged file
        raise UserError(
            f"{path}: is not a checkpoint of ESPnet ({e}); train again"
        ) from e
    finished = {
        epoch: sets
        for epoch, sets in sorted(stats.items())
        if "train" in sets and "valid" in sets
    }
    if not finished:
        raise UserError(f"{path}: has no finished epoch; continue the training")
    return finished


def read_config(exp_dir: Path) -> Mapping[str, Any]:
    """Read `config.yaml`.

    Raises:
        UserError: the file doesn't exist or is not a YAML mapping.
    """
    import yaml

    path = exp_dir / "config.yaml"
    if not path.is_file():
        raise UserError(f"{path}: no such file; train first")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: is not YAML; train again") from e
    if not isinstance(config, Mapping):
        raise UserError(f"{path}: has no 'key: value' lines; train again")
    return config


def criteria_of(config: Mapping[str, Any], exp_dir: Path) -> List[Tuple[str, str, str]]:
    """Return `best_model_criterion` (set, name, min or max).

    Raises:
        UserError: there is no such list.
    """
    try:
        return [(s, name, mode) for s, name, mode in config["best_model_criterion"]]
    except (TypeError, KeyError, ValueError) as e:
        raise UserError(
            f"{exp_dir / 'config.yaml'}: has no best_model_criterion; train again"
        ) from e


def notes_of(config: Mapping[str, Any]) -> Dict[str, str]:
    """Return, per panel, why training and validation can't be compared.

    Some settings make the task harder, and only in training.
    """
    hidden = (config.get("teacher_conf") or {}).get("text_mask_prob") or 0.0
    masks = (config.get("encoder_conf") or {}).get("branch_masking") or {}
    masked = any(masks.get(f"{kind}_prob") for kind in ("time", "feature"))
    notes: Dict[str, List[str]] = {name: [] for name in PANELS}
    if hidden:
        notes["loss_sot"].append(
            f"train: {hidden:.0%} of the text is hidden from the teacher; dev: none"
        )
    # The talker-count head reads the trunk. ESPnet's SpecAugment comes before it, the
    # branches' masking after it.
    for name in PANELS:
        if config.get("specaug") or (masked and name in ("loss_sot", "loss_ctc")):
            notes[name].append("train: parts of the speech are masked; dev: none")
    return {
        name: "\n".join([*lines, MEANING]) for name, lines in notes.items() if lines
    }


def series(stats: Stats, dataset: str, name: str) -> List[float]:
    """Values of all epochs, NaN if missing."""
    return [float(sets[dataset].get(name, math.nan)) for sets in stats.values()]


def find_best(
    stats: Stats, criteria: Sequence[Tuple[str, str, str]]
) -> Optional[Tuple[int, str, float]]:
    """Return the best epoch, the criterion's name and its value there.

    The first criterion on the validation set is used; None if its values don't exist.
    As in ESPnet, the earliest of equal epochs is the best.
    """
    for dataset, name, mode in criteria:
        if dataset != "valid":
            continue
        values = zip(series(stats, dataset, name), stats)
        finite = [(value, epoch) for value, epoch in values if math.isfinite(value)]
        if finite:
            sign = -1.0 if mode == "max" else 1.0
            value, epoch = min(finite, key=lambda pair: (sign * pair[0], pair[1]))
            return epoch, name, value
    return None


def lines_of(stats: Stats, name: str) -> Dict[str, str]:
    """Return label to name in the statistics: all mixtures, and each talker count.

    A single count is the same as all mixtures, and gets no line of its own. Neither
    does a name without any finite value.
    """
    names = {n for sets in stats.values() for n in sets["valid"]}
    counts = {}
    for other in names:
        if found := re.fullmatch(rf"{name}_(\d+)spk", other):
            counts[int(found[1])] = other
    if len(counts) < 2:
        counts = {}
    labels = {"all": name}
    labels.update(
        {f"{k} talker{'' if k == 1 else 's'}": counts[k] for k in sorted(counts)}
    )
    return {
        label: key
        for label, key in labels.items()
        if any(math.isfinite(value) for value in series(stats, "valid", key))
    }


def describe(
    stats: Stats,
    best: Optional[Tuple[int, str, float]],
    title: str,
    notes: Mapping[str, str],
) -> Dict[str, Any]:
    """Return the data to draw, in the form of learning_curve.json.

    Returns:
        `title`, `epochs`, `best` (epoch) and `panels`, each with `title`, `log` (its
        axis), `note` and `lines`: a label to `train` and `valid`, values or None.

    Raises:
        UserError: there is nothing to draw.
    """
    panels = []
    for name, heading in PANELS.items():
        lines = {
            label: {
                dataset: [v if math.isfinite(v) else None for v in values]
                for dataset in ("train", "valid")
                for values in [series(stats, dataset, key)]
            }
            for label, key in lines_of(stats, name).items()
        }
        if lines:
            log = name in LOGARITHMIC
            note = notes.get(name, "")
            panels.append(dict(title=heading, log=log, note=note, lines=lines))
    if not panels:
        raise UserError(
            f"{title}: it has no statistics for {', '.join(PANELS)}; give the folder "
            f"of a training of this package"
        )
    if best is not None:
        title += f": best epoch {best[0]} ({best[1]} {best[2]:.3f})"
    epoch = None if best is None else best[0]
    return dict(title=title, epochs=list(stats), best=epoch, panels=panels)


def plot(curve: Mapping[str, Any]) -> bytes:
    """Draw the result of `describe` as a PNG."""
    # Without pyplot there are no windows and no global state.
    from matplotlib.figure import Figure

    panels = curve["panels"]
    rows, columns = (len(panels) + 1) // 2, min(len(panels), 2)
    figure = Figure(figsize=(5.5 * columns, 3.6 * rows + 0.8), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    handles: Dict[str, Any] = {}
    for ax, panel in zip(axes, panels):
        _draw_panel(ax, panel, curve["epochs"], curve["best"])
        for handle, label in zip(*ax.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    figure.legend(
        handles.values(), handles, loc="outside lower center", ncols=4, fontsize=8
    )
    figure.suptitle(curve["title"])
    content = BytesIO()
    figure.savefig(content, dpi=120, format="png")
    return content.getvalue()


def _draw_panel(
    ax: Any, panel: Mapping[str, Any], epochs: Sequence[int], best: Optional[int]
) -> None:
    from matplotlib.ticker import LogFormatter, MaxNLocator

    class Plain(LogFormatter):
        """0.6, where matplotlib writes 6e-01."""

        def __call__(self, x: float, pos: Optional[int] = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    for label, sets in panel["lines"].items():
        # A talker count looks the same in all panels and pictures.
        count = 0 if label == "all" else int(label.split()[0])
        style: Dict[str, Any] = dict(color="black", marker=".", linewidth=2)
        if count:
            style = dict(color=f"C{(count - 1) % 10}", linewidth=1)
            style.update(marker=MARKERS[(count - 1) % len(MARKERS)], markersize=4)
        for dataset, name, line in (("train", "train", ":"), ("valid", "dev", "-")):
            values = [math.nan if v is None else v for v in sets[dataset]]
            ax.plot(epochs, values, line, label=f"{label}, {name}", **style)
    if best is not None:
        ax.axvline(best, color="gray", linestyle="--", label="best epoch")
    title = panel["title"]
    drawn = [v for sets in panel["lines"].values() for vs in sets.values() for v in vs]
    if panel["log"] and all(v is None or v > 0.0 for v in drawn):
        ax.set_yscale("log")
        for axis in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            axis(Plain(minor_thresholds=(2, 0.7)))
        title += " (log axis)"
    ax.set_title(title)
    ax.set_xlabel("epoch")
    if panel["note"]:
        ax.set_xlabel(f"epoch\n{panel['note']}", fontsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3, which="both")


def main(cmd=None) -> None:
    """Draw, and print the path."""
    args = get_parser().parse_args(cmd)
    stats = read_stats(args.exp_dir)
    config = read_config(args.exp_dir)
    best = find_best(stats, criteria_of(config, args.exp_dir))
    path = args.output or args.exp_dir / "learning_curve.png"
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: no such folder; create it")
    curve = describe(stats, best, args.exp_dir.resolve().name, notes_of(config))
    write_whole(path, plot(curve))
    write_whole(path.with_suffix(".json"), json.dumps(curve) + "\n")
    report = f"Learning curve of epochs {min(stats)} to {max(stats)}: {path}"
    if best is not None:
        report += f"; best epoch: {best[0]}, valid {best[1]} {best[2]:.3f}"
    print(report)


if __name__ == "__main__":
    run_command_line(main)
