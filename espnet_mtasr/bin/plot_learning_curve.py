"""Draw a training's learning curve, `learning_curve.png`, from its last checkpoint.

A panel for each of the losses of METHOD's phases and for the accuracy of the
talker-count head: training and validation set over epochs, of all mixtures and per
talker count, with the epoch that the criterion of the configuration calls the best.
ESPnet's own images (espnet2/train/reporter.py) have one file per number and no counts
side by side.
"""

import argparse
import math
import os
import re
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from espnet_mtasr.errors import UserError, run_command_line

# epoch -> "train" or "valid" -> name -> value
Stats = Dict[int, Dict[str, Dict[str, float]]]

PANELS = {
    "loss_sot": "teacher: SOT loss per token",
    "loss_ctc": "serialized CTC: loss per token",
    "loss_count": "talker-count head: loss",
    "acc_count": "talker-count head: accuracy",
}


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
    """Read the trainer's own record out of `checkpoint.pth`.

    Raises:
        UserError: no checkpoint, a broken one, or no finished epoch in it.
    """
    import torch

    path = exp_dir / "checkpoint.pth"
    if not path.is_file():
        raise UserError(f"{path}: no such file; train first")
    try:
        # Mapped, not read: the weights are of no interest here.
        states = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        stats = states["reporter"]["stats"]
    except Exception as e:  # torch raises errors of many kinds on a broken file
        raise UserError(f"{path}: is no checkpoint of ESPnet ({e}); train anew") from e
    finished = {
        epoch: sets
        for epoch, sets in sorted(stats.items())
        if "train" in sets and "valid" in sets
    }
    if not finished:
        raise UserError(f"{path}: has no finished epoch; train on")
    return finished


def read_criteria(exp_dir: Path) -> List[Tuple[str, str, str]]:
    """Read `best_model_criterion` (set, name, min or max) out of `config.yaml`.

    Raises:
        UserError: no such file, or it has no such list.
    """
    import yaml

    path = exp_dir / "config.yaml"
    if not path.is_file():
        raise UserError(f"{path}: no such file; train first")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        return [(s, name, mode) for s, name, mode in config["best_model_criterion"]]
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, ValueError) as e:
        raise UserError(f"{path}: has no best_model_criterion; train anew") from e


def series(stats: Stats, dataset: str, name: str) -> List[float]:
    """Values of all epochs, NaN where there is none."""
    return [float(sets[dataset].get(name, math.nan)) for sets in stats.values()]


def find_best(
    stats: Stats, criteria: Sequence[Tuple[str, str, str]]
) -> Optional[Tuple[int, str, float]]:
    """Return the best epoch, the criterion's name and its value there.

    The first criterion on the validation set counts; None if its values don't exist.
    As in ESPnet the earliest of equal epochs is the best.
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
    """Return label to name in the record: all mixtures, and each talker count.

    A single count is all mixtures, and gets no line of its own; what has no finite
    value at all gets none either.
    """
    names = {n for sets in stats.values() for n in sets["valid"]}
    counts = {}
    for other in names:
        if found := re.fullmatch(rf"{name}_(\d+)spk", other):
            counts[int(found[1])] = other
    if len(counts) < 2:
        counts = {}
    labels = {"all": name}
    labels.update({f"{k} talkers": counts[k] for k in sorted(counts)})
    return {
        label: key
        for label, key in labels.items()
        if any(math.isfinite(value) for value in series(stats, "valid", key))
    }


def plot(stats: Stats, best: Optional[Tuple[int, str, float]], title: str, path: Path):
    """Write the picture.

    Raises:
        UserError: there is nothing to draw.
    """
    # Without pyplot there is no window and no global state; PNG is drawn by Agg.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = {name: lines_of(stats, name) for name in PANELS}
    panels = {name: lines for name, lines in panels.items() if lines}
    if not panels:
        raise UserError(
            f"{title}: its record has none of {', '.join(PANELS)}; give the folder of "
            f"a training of this package"
        )
    epochs = list(stats)
    rows, columns = (len(panels) + 1) // 2, min(len(panels), 2)
    figure = Figure(figsize=(5.5 * columns, 3.6 * rows + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax, (name, lines) in zip(axes, panels.items()):
        for k, (label, key) in enumerate(lines.items()):
            color = "black" if label == "all" else f"C{k - 1}"
            for dataset, style in (("train", "--"), ("valid", "-")):
                ax.plot(
                    *(epochs, series(stats, dataset, key), style),
                    marker=".",
                    color=color,
                    linewidth=2 if label == "all" else 1,
                    label=f"{label}, {'dev' if dataset == 'valid' else dataset}",
                )
        if best is not None:
            ax.axvline(best[0], color="gray", linestyle=":", label="best epoch")
        ax.set_title(PANELS[name])
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    if best is not None:
        title += f": best epoch {best[0]} ({best[1]} {best[2]:.3f})"
    figure.suptitle(title)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, dpi=120, format="png")
    os.replace(part, path)


def main(cmd=None) -> None:
    """Draw, and say where it is."""
    args = get_parser().parse_args(cmd)
    stats = read_stats(args.exp_dir)
    best = find_best(stats, read_criteria(args.exp_dir))
    path = args.output or args.exp_dir / "learning_curve.png"
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: no such folder; make it")
    plot(stats, best, args.exp_dir.resolve().name, path)
    report = f"Learning curve of epochs {min(stats)} to {max(stats)}: {path}"
    if best is not None:
        report += f"; best epoch: {best[0]}, valid {best[1]} {best[2]:.3f}"
    print(report)


if __name__ == "__main__":
    run_command_line(main)
