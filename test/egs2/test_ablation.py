"""The ablation of the start: which trainings it asks for, and its table."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from helpers.recipe_copy import MINI, call, copy_mini_recipe, take_calls

from espnet_mtasr.errors import UserError

SCRIPT = "local/experiments/ablate_start.sh"
SETS = [f"test_mini{k}mix_{noise}" for k in (2, 3) for noise in ("clean", "noisy")]
# Writes what stages 8 and 13 leave, as far as the table needs it.
TRAINS = """
exp=exp tag=phase2
while [ $# -gt 0 ]; do
    case $1 in --expdir) exp=$2 ;; --phase2_tag) tag=$2 ;; --phase1_tag) one=$2 ;; esac
    shift
done
cd "$(dirname "$0")"
for x in "${tag}" ${one:-}; do
    mkdir -p "${exp}/mtasr_${x}"
    cp config.yaml "${exp}/mtasr_${x}"
done
cp results.json "${exp}/mtasr_${tag}"
"""


def make_results(cpwer):
    row = dict(n_utt=200, n_words=3186, count_accuracy=98.5)
    sets = {
        name: dict(
            row,
            cpwer=cpwer + k,
            cpwer_ci95=[cpwer + k - 1.5, cpwer + k + 1.25],
            cpwer_oracle_count=cpwer + k - 0.5,
        )
        for k, name in enumerate(SETS)
    }
    return {"mixtures": "some mixtures", "model": "exp/x.pth", "sets": sets}


def make_run(folder, results, **config):
    folder.mkdir(parents=True)
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
    config = {"max_epoch": 8, "batch_size": 24, "encoder_conf": {}, **config}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return str(folder)


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(MINI / "local" / "experiments"))
    import ablation_table

    return ablation_table


def teardown_module():
    sys.modules.pop("ablation_table", None)


def test_the_table(table, tmp_path, capsys):
    redrawn = {"pretrained_branches": False}
    runs = [
        ("the recipe", make_run(tmp_path / "a", make_results(20.0))),
        (
            "redrawn",
            make_run(tmp_path / "b", make_results(40.123), encoder_conf=redrawn),
        ),
        ("no teacher", make_run(tmp_path / "c", make_results(60.0))),
    ]
    phase1 = [
        make_run(tmp_path / "a1", None, max_epoch=3),
        make_run(tmp_path / "b1", None, max_epoch=3, encoder_conf=redrawn),
    ]
    options = ["--output", str(tmp_path / "out" / "ablation.md")]
    for (name, phase2), more in zip(runs, [phase1[:1], phase1[1:], []]):
        options += ["--run", name, phase2, *more]
    table.main(options)
    lines = (tmp_path / "out" / "ablation.md").read_text().splitlines()
    assert capsys.readouterr().out.splitlines() == lines
    assert "Measured on some mixtures" in lines[2]
    assert lines[4:13] == [
        "|  |  | the recipe | redrawn | no teacher |",
        "| --- | --- | ---: | ---: | ---: |",
        "| training | branches start from | the encoder | random weights "
        "| the encoder |",
        "| training | epochs of phase 1 | 3 | 3 | none |",
        "| training | epochs of phase 2 | 8 | 8 | 8 |",
        "| test_mini2mix_clean | cpWER %, count predicted | 20.00 (18.50 to 21.25) | "
        "40.12 (38.62 to 41.37) | 60.00 (58.50 to 61.25) |",
        "| test_mini2mix_clean | cpWER %, count given | 19.50 | 39.62 | 59.50 |",
        "| test_mini2mix_clean | count right % | 98.50 | 98.50 | 98.50 |",
        "| test_mini2mix_noisy | cpWER %, count predicted | 21.00 (19.50 to 22.25) | "
        "41.12 (39.62 to 42.37) | 61.00 (59.50 to 62.25) |",
    ]
    assert len(lines) == 4 + 2 + 3 + 4 * 3


def change_mixtures(results):
    return {**results, "mixtures": "others"}


def change_words(results):
    results["sets"][SETS[3]]["n_words"] += 1
    return results


@pytest.mark.parametrize(
    "results, config, message",
    [
        (dict, {"max_epoch": 9}, "b/config.yaml: max_epoch is 9, but 8 for the recipe"),
        (
            dict,
            {"scheduler_conf": {"a": 1}},
            "scheduler_conf is {'a': 1}, but None for",
        ),
        (
            dict,
            {"encoder_conf": {"num_trunk_layers": 3}},
            "b/config.yaml: has a different encoder or different kinds of data than",
        ),
        (
            dict,
            {"train_data_path_and_name_and_type": [["a", "speech", "json"]]},
            "has a different encoder or different kinds of data",
        ),
        (
            change_mixtures,
            {},
            "measured on others, but the recipe on some mixtures; rem",
        ),
        (change_words, {}, "has different test sets than the recipe's; remove"),
    ],
)
def test_runs_that_differ_in_more_than_their_start(
    table, tmp_path, results, config, message
):
    one = make_run(tmp_path / "a", make_results(20.0))
    other = make_run(tmp_path / "b", results(make_results(20.0)), **config)
    options = ["--output", str(tmp_path / "ablation.md"), "--run", "the recipe", one]
    with pytest.raises(UserError, match=re.escape(message)):
        table.main([*options, "--run", "other", other])
    assert not (tmp_path / "ablation.md").exists()


def test_files_that_are_missing_or_damaged(table, tmp_path):
    one = make_run(tmp_path / "a", make_results(20.0))
    options = ["--output", str(tmp_path / "ablation.md"), "--run", "one", one]
    for more, message in (
        (["two", "three", "four", "five"], "give NAME PHASE2_DIR"),
        (["two", "none"], "none/results.json: can't be read; train and score first"),
        (["two", one, "none"], "none/config.yaml: can't be read; train and score"),
    ):
        with pytest.raises(UserError, match=message):
            table.main([*options, "--run", *more])
    Path(one, "results.json").write_text("{")
    with pytest.raises(UserError, match="results.json: is damaged; remove it"):
        table.main(options)


@pytest.fixture
def recipe(tmp_path):
    recipe = copy_mini_recipe(tmp_path / "repository", TRAINS)
    (recipe / "results.json").write_text(json.dumps(make_results(20.0)))
    (recipe / "config.yaml").write_text("max_epoch: 8\nencoder_conf: {}\n")
    return recipe


def test_three_trainings(recipe, tmp_path):
    options = ["--librispeech", "a corpus", "--expdir=out", "--nj", 3]
    options += ["--phase2-args", "--batch_size 8"]
    done = call([recipe / SCRIPT, *options], tmp_path)
    assert done.returncode == 0, done.stderr
    common = [str(tmp_path), "--librispeech", "a corpus", "--nj", "3"]
    common += ["--expdir", "out"]
    redrawn = "--encoder_conf pretrained_branches=false"
    assert take_calls(recipe) == [
        [
            *common,
            *("--phase2_tag", "phase2", "--phase1_tag", "phase1"),
            *("--phase1_args", "", "--phase2_args", "--batch_size 8"),
        ],
        [
            *common,
            *("--phase2_tag", "phase2_redrawn", "--phase1_tag", "phase1_redrawn"),
            *("--stage", "7", "--phase1_args", f" {redrawn}"),
            *("--phase2_args", f"--batch_size 8 {redrawn}"),
        ],
        [
            *common,
            *("--phase2_tag", "phase2_no_teacher", "--skip_phase1", "true"),
            *("--stage", "7"),
            *("--phase2_args", "--batch_size 8 --model_conf ctc_weight=1.0"),
        ],
    ]
    table = (recipe / "out" / "ablation.md").read_text()
    assert table in done.stdout
    assert "| the recipe | branches re-initialized | without the teacher |" in table


def test_a_training_that_fails_ends_it(recipe, tmp_path):
    (recipe / "results.json").unlink()
    done = call([recipe / SCRIPT], tmp_path)
    assert done.returncode == 1
    assert len(take_calls(recipe)) == 1
    assert not (recipe / "exp" / "ablation.md").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--stage", "7"], "error: --stage: is set here; omit it"),
        (["--phase2-tag=x"], "error: --phase2-tag: is set here; omit it"),
        (["--skip_phase1", "true"], "error: --skip_phase1: is set here; omit it"),
        (["--inference_args", "--beam_size 2"], "--inference_args: is set here; omit"),
        (["--phase1_args"], "error: --phase1_args needs a value"),
        (["--expdir", ""], "error: --expdir is empty; name a folder"),
    ],
)
def test_wrong_options(recipe, tmp_path, options, message):
    done = call([recipe / SCRIPT, *options], tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert take_calls(recipe) == []


def test_help(recipe, tmp_path):
    done = call([recipe / SCRIPT, "--help"], tmp_path)
    assert done.returncode == 0 and "branches re-initialized" in done.stdout
