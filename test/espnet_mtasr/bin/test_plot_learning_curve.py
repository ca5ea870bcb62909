"""The learning curve: what is read, what is drawn, and what is refused."""

import json
import math
import subprocess
import sys

import pytest
import torch
import yaml

from espnet_mtasr.bin.plot_learning_curve import (
    criteria_of,
    describe,
    find_best,
    lines_of,
    main,
    notes_of,
    plot,
    read_config,
    read_stats,
    series,
)
from espnet_mtasr.errors import UserError

NAN = math.nan
# As espnet2's Reporter.state_dict writes it: three epochs of phase 2.
DEV = {
    "loss": (4.30, 3.91, 3.95),
    "loss_ctc": (4.53, 3.90, 3.95),
    "loss_ctc_2spk": (4.37, 3.77, 3.80),
    "loss_ctc_3spk": (4.69, 4.05, 4.10),
    "loss_sot": (1.503, 1.503, 1.502),
    "loss_sot_2spk": (1.49, 1.49, 1.48),
    "loss_sot_3spk": (1.52, 1.52, 1.52),
    "loss_count": (0.68, 0.68, 0.63),
    "loss_count_2spk": (0.69, 0.63, 0.89),
    "loss_count_3spk": (0.67, 0.74, 0.37),
    "acc_count": (0.675, 0.5, 0.66),
    "acc_count_2spk": (0.54, 1.0, 0.33),
    "acc_count_3spk": (0.81, 0.0, 0.98),
}


def record(dev=DEV):
    times = {"time": {"__timedelta_seconds__": 3.5}, "total_count": 10}
    return {
        epoch: {
            dataset: {name: v[epoch - 1] + shift for name, v in dev.items()} | times
            for dataset, shift in (("train", -0.2), ("valid", 0.0))
        }
        for epoch in (1, 2, 3)
    }


@pytest.fixture
def exp(tmp_path):
    def make(stats, criteria=(("valid", "loss_ctc", "min"),), **more):
        states = {"model": {}, "reporter": {"stats": stats, "epoch": len(stats)}}
        torch.save(states, tmp_path / "checkpoint.pth")
        config = {"best_model_criterion": [list(c) for c in criteria], **more}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        return tmp_path

    return make


def test_the_picture_of_a_training(exp, capsys):
    folder = exp(record())
    main(["--exp_dir", str(folder)])
    picture = folder / "learning_curve.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == (
        f"Learning curve of epochs 1 to 3: {picture}; best epoch: 2, valid loss_ctc "
        "3.900\n"
    )
    # Drawn again after more epochs, in the same place, and nothing half-written left.
    main(["--exp-dir", str(folder)])
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoint.pth",
        "config.yaml",
        "learning_curve.json",
        "learning_curve.png",
    ]
    curve = json.loads((folder / "learning_curve.json").read_text())
    assert (curve["epochs"], curve["best"]) == ([1, 2, 3], 2)
    lines = curve["panels"][1]["lines"]
    assert lines["2 talkers"]["valid"] == [4.37, 3.77, 3.80]


@pytest.fixture
def draw(monkeypatch):
    """Draw a picture; return its figure."""
    from matplotlib.figure import Figure

    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda f, *a, **k: (figures.append(f), save(f, *a, **k))
    )

    def drawn(stats, best=None, title="phase", notes={}):
        assert plot(describe(stats, best, title, notes)).startswith(b"\x89PNG")
        return figures[-1]

    return drawn


def test_what_is_drawn(draw):
    figure = draw(record(), (2, "loss_ctc", 3.9), "mtasr_phase2")
    assert figure.get_suptitle() == "mtasr_phase2: best epoch 2 (loss_ctc 3.900)"
    axes = {ax.get_title(): ax for ax in figure.axes}
    assert len(axes) == 4
    ctc = axes["serialized CTC: loss per token (log axis)"]
    assert [ax.get_yscale() for ax in axes.values()].count("log") == 1
    assert ctc.get_yscale() == "log"
    lines = {line.get_label(): line for line in ctc.get_lines()}
    assert list(lines) == [
        *("all, train", "all, dev", "2 talkers, train", "2 talkers, dev"),
        *("3 talkers, train", "3 talkers, dev", "best epoch"),
    ]
    assert list(lines["3 talkers, dev"].get_xdata()) == [1, 2, 3]
    assert list(lines["3 talkers, dev"].get_ydata()) == [4.69, 4.05, 4.10]
    assert lines["all, train"].get_ydata()[0] == pytest.approx(4.33)
    assert set(lines["best epoch"].get_xdata()) == {2}


def test_lines_can_be_told_apart(draw):
    """Without colors, and in the same way in all panels."""
    figure = draw(record(), (2, "loss_ctc", 3.9))
    looks = {}
    for ax in figure.axes:
        for line in ax.get_lines():
            look = line.get_color(), line.get_marker(), line.get_linestyle()
            looks.setdefault(line.get_label(), set()).add(look)
    assert all(len(found) == 1 for found in looks.values())
    uncolored = {look[1:] for found in looks.values() for look in found}
    assert len(uncolored) == len(looks) == 7
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == set(looks)


def test_a_loss_of_nothing_has_an_even_axis(draw):
    figure = draw(record({"loss_ctc": (3.0, 0.2, 0.1)}))
    (ax,) = [ax for ax in figure.axes if ax.get_visible()]
    assert (ax.get_yscale(), ax.get_title()) == (
        "linear",
        "serialized CTC: loss per token",
    )


def test_what_training_alone_hides(draw, exp):
    """Otherwise a train loss above the validation's looks like a fault."""
    config = {
        "teacher_conf": {"text_mask_prob": 0.15},
        "encoder_conf": {"branch_masking": {"time_prob": 0.05, "time_length": 10}},
    }
    notes = notes_of(config)
    hidden = "train: 15% of the text is hidden from the teacher; dev: none"
    masked = "train: parts of the speech are masked; dev: none"
    masked += "\nThis alone can make training look worse than dev."
    assert notes == {"loss_sot": f"{hidden}\n{masked}", "loss_ctc": masked}
    figure = draw(record(), notes=notes)
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert labels == [f"epoch\n{hidden}\n{masked}", f"epoch\n{masked}", *2 * ["epoch"]]
    assert notes_of({"teacher_conf": {}, "encoder_conf": None}) == {}
    assert notes_of({"encoder_conf": {"branch_masking": {"time_prob": 0.0}}}) == {}
    assert notes_of({"specaug": None}) == {}
    # It masks what all parts read, so no panel can be compared.
    panels = ("loss_sot", "loss_ctc", "loss_count", "acc_count")
    assert notes_of({"specaug": "specaug"}) == dict.fromkeys(panels, masked)
    folder = exp(record(), **config)
    main(["--exp_dir", str(folder)])
    curve = json.loads((folder / "learning_curve.json").read_text())
    assert curve["panels"][0]["note"] == notes["loss_sot"]


def test_phase_1_has_one_panel(draw):
    dev = {name: v for name, v in DEV.items() if "sot" in name or name == "loss"}
    # Statistics are all there on every rank, NaN for what doesn't exist.
    dev["loss_ctc"] = dev["loss_count"] = (NAN, NAN, NAN)
    stats = record(dev)
    assert list(lines_of(stats, "loss_sot")) == ["all", "2 talkers", "3 talkers"]
    assert lines_of(stats, "loss_ctc") == lines_of(stats, "acc_count") == {}
    assert len(draw(stats).axes) == 1


def test_a_single_talker_count_has_no_line_of_its_own():
    stats = record({"loss_ctc": (3, 2, 1), "loss_ctc_2spk": (3, 2, 1)})
    assert lines_of(stats, "loss_ctc") == {"all": "loss_ctc"}
    stats = record({f"loss_ctc{k}": (3, 2, 1) for k in ("", "_1spk", "_2spk")})
    assert list(lines_of(stats, "loss_ctc")) == ["all", "1 talker", "2 talkers"]


def test_values_of_some_epochs_only():
    stats = record({"loss_ctc": (3.0, NAN, 1.0)})
    del stats[3]["valid"]["loss_ctc"]
    first, *rest = series(stats, "valid", "loss_ctc")
    assert first == 3.0 and all(map(math.isnan, rest))
    assert find_best(stats, [("valid", "loss_ctc", "min")]) == (1, "loss_ctc", 3.0)


@pytest.mark.parametrize(
    "criteria, best",
    [
        ([("valid", "loss_ctc", "min")], (2, "loss_ctc", 3.90)),
        # The earlier one of two equal ones, as in ESPnet.
        ([("valid", "loss_sot_2spk", "max")], (1, "loss_sot_2spk", 1.49)),
        ([("valid", "acc_count", "max")], (1, "acc_count", 0.675)),
        ([("train", "loss", "min"), ("valid", "loss", "min")], (2, "loss", 3.91)),
        ([("valid", "acc", "max")], None),
    ],
)
def test_best_epoch(criteria, best):
    assert find_best(record(), criteria) == best


def test_what_a_user_can_mend(exp, tmp_path):
    with pytest.raises(UserError, match="checkpoint.pth: no such file; train first"):
        read_stats(tmp_path)
    (tmp_path / "checkpoint.pth").write_bytes(b"PK half a file")
    with pytest.raises(
        UserError, match="checkpoint.pth: is not a checkpoint of ESPnet"
    ):
        read_stats(tmp_path)
    torch.save({"model": {}}, tmp_path / "checkpoint.pth")
    with pytest.raises(
        UserError, match="checkpoint.pth: is not a checkpoint of ESPnet"
    ):
        read_stats(tmp_path)
    with pytest.raises(UserError, match="config.yaml: no such file; train first"):
        read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("[")
    with pytest.raises(UserError, match="config.yaml: is not YAML"):
        read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("seed\n")
    with pytest.raises(UserError, match="config.yaml: has no 'key: value' lines"):
        read_config(tmp_path)
    with pytest.raises(UserError, match="config.yaml: has no best_model_criterion"):
        criteria_of({"seed": 0}, tmp_path)
    with pytest.raises(UserError, match="has no finished epoch; continue"):
        main(["--exp_dir", str(exp({}))])
    with pytest.raises(UserError, match="it has no statistics for loss_sot, loss_ctc"):
        main(["--exp_dir", str(exp(record({"loss_lid": (3, 2, 1)})))])
    with pytest.raises(UserError, match="no/x.png: no such folder; create it"):
        main(["--exp_dir", str(exp(record())), "--output", str(tmp_path / "no/x.png")])
    assert not list(tmp_path.glob("*.p*ng*"))


def test_it_starts_without_espnet():
    code = (
        "import sys, espnet_mtasr.bin.plot_learning_curve\n"
        "print({'numpy', 'torch', 'matplotlib', 'espnet2'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
