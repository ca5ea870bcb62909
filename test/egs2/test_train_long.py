"""The long training: its options for run.sh, where it goes on, and what it packs."""

import sys

import pytest
import yaml
from helpers.recipe_copy import MINI, call, copy_mini_recipe, take_calls
from helpers.tiny_inference import save_tiny_model

from espnet_mtasr.errors import UserError

SCRIPT = "local/experiments/train_long.sh"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What a training of another shape has left."""
    return save_tiny_model(tmp_path_factory.mktemp("trained") / "exp").parent


@pytest.fixture
def recipe(tmp_path, trained):
    """A recipe in which run.sh leaves that model, unless it finds the file `stop`.

    Its configurations say 3 and 8 epochs and 400 steps.
    """
    lines = f"""
[ ! -e "$(dirname "$0")/stop" ] || exit 3
echo "${{MTASR_COMMAND}}" >"$(dirname "$0")/command"
while [ $# -gt 0 ]; do
    case $1 in --expdir) exp=$2 ;; --phase2_tag) tag=$2 ;; esac
    shift
done
exp=$(dirname "$0")/${{exp}}/mtasr_${{tag}}
mkdir -p "${{exp}}"
cp {trained}/config.yaml "${{exp}}"
cp {trained}/model.pth "${{exp}}/valid.loss_ctc.ave.pth"
"""
    recipe = copy_mini_recipe(tmp_path / "repository", lines)
    for phase, epochs in ((1, 3), (2, 8)):
        config = dict(max_epoch=epochs, scheduler_conf=dict(max_steps=400, warmup=9))
        path = recipe / "conf" / f"train_phase{phase}.yaml"
        path.unlink()
        path.write_text(yaml.safe_dump(config))
    return recipe


def test_trains_and_packs(recipe, tmp_path):
    options = ["--max-epoch", 20, "--nj=3", "--phase2_args", "--batch_size 8"]
    options += ["--dropout", 0.1]
    done = call([recipe / SCRIPT, *options], tmp_path)
    assert done.returncode == 0, done.stderr
    common = [str(tmp_path), "--nj=3", "--expdir", "exp"]
    phase2 = (
        "--max_epoch 20 --scheduler_conf max_steps=1000 --encoder_conf "
        "wavlm_conf.hidden_dropout=0.1 --separator_conf dropout=0.1 --batch_size 8"
    )
    assert take_calls(recipe) == [
        [
            *common,
            *("--stage", "1", "--phase1_config", "conf/train_phase1.yaml"),
            *("--phase2_config", "conf/train_phase2.yaml", "--phase1_tag", "phase1"),
            *("--phase2_tag", "long", "--phase1_args", "", "--phase2_args", phase2),
        ]
    ]
    # RESULTS.md must quote what the user called.
    command = (recipe / "command").read_text()
    assert command.startswith(f"{SCRIPT} --max-epoch 20 --nj=3 --phase2_args")
    zip_file = recipe / "exp" / "mtasr_long" / "mtasr_mini_long.zip"
    assert f"{zip_file.stat().st_size / 1e6:.2f} MB, float16" in done.stdout


def test_stages_and_phase_1(recipe, tmp_path):
    def stage_and_tag(*options):
        done = call([recipe / SCRIPT, *options], tmp_path)
        assert done.returncode == 3, done.stderr
        [words] = take_calls(recipe)
        return [words[words.index(o) + 1] for o in ("--stage", "--phase1_tag")]

    (recipe / "stop").touch()
    assert stage_and_tag() == ["1", "phase1"]
    assert stage_and_tag("--stage", 12) == ["12", "phase1"]
    assert stage_and_tag("--phase1_max_epoch", 5, "--tag=x") == ["1", "x_phase1"]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--max_epoch", "0"], "error: --max_epoch 0: give a number from 1"),
        (["--max_epoch="], "error: --max_epoch is empty; give a number from 1"),
        (["--decay_steps", "a"], "error: --decay_steps a: give a number from 1"),
        (["--dropout", "1"], "--dropout 1: give a number from 0 to below 1"),
        (["--tag", "a b"], "error: --tag 'a b': give letters and digits"),
        (
            ["--stop_stage", "8"],
            "--stop_stage: the model is packed at the end; leave it",
        ),
        (["--phase1-tag", "x"], "error: --phase1-tag: is set here; give --tag"),
        (["--phase2_config", "no.yaml"], "--phase2_config no.yaml: no such file"),
        (["--dtype"], "error: --dtype needs a value"),
        (
            ["--dtype", "half"],
            "error: --dtype half: choose float32, float16, int8 or",
        ),
        (["--max_mb", "six"], "error: --max_mb six: give a number"),
        (["--phase1_decay_steps", "9"], "needs --phase1_max_epoch"),
    ],
)
def test_wrong_options(recipe, tmp_path, options, message):
    done = call([recipe / SCRIPT, *options], tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
    assert take_calls(recipe) == []


def test_help(recipe, tmp_path):
    done = call([recipe / SCRIPT, "--help"], tmp_path)
    assert done.returncode == 0 and "--max_epoch 200" in done.stdout


@pytest.fixture
def stretch(monkeypatch):
    monkeypatch.syspath_prepend(str(MINI / "local" / "experiments"))
    import stretch_schedule

    return stretch_schedule


def teardown_module():
    sys.modules.pop("stretch_schedule", None)


def test_schedules_are_stretched(stretch, tmp_path, capsys):
    config = tmp_path / "train.yaml"

    def options(conf, *more):
        config.write_text(yaml.safe_dump(dict(max_epoch=8, scheduler_conf=conf)))
        stretch.main([str(config), *more])
        return capsys.readouterr().out.strip()

    assert options({"warmup_steps": 100}, "60") == "--max_epoch 60"
    assert options({"warmup_steps": 100, "total_steps": 1003}, "60") == (
        "--max_epoch 60 --scheduler_conf total_steps=7522"
    )
    assert options({"T_max": 8}, "4") == "--max_epoch 4 --scheduler_conf T_max=4"
    assert options({"max_steps": 10}, "4", "--decay_steps", "7") == (
        "--max_epoch 4 --scheduler_conf max_steps=7"
    )
    with pytest.raises(
        UserError, match="--decay_steps 7: the scheduler of .* has none"
    ):
        options({"warmup_steps": 1}, "4", "--decay_steps", "7")
    with pytest.raises(UserError, match="--max_epoch 0: give a number from 1"):
        options({}, "0")
    config.write_text("a: 1\n")
    with pytest.raises(UserError, match="train.yaml: has no max_epoch; add it"):
        stretch.main([str(config), "3"])
    with pytest.raises(UserError, match="none.yaml: can't be read"):
        stretch.main([str(tmp_path / "none.yaml"), "3"])


def test_the_recipes_own_configurations(stretch):
    for phase in (1, 2):
        path = MINI / "conf" / f"train_phase{phase}.yaml"
        config = yaml.safe_load(path.read_text())
        options = stretch.stretch(path, 2 * config["max_epoch"])
        steps = 2 * config["scheduler_conf"]["max_steps"]
        assert options == [
            *("--max_epoch", str(2 * config["max_epoch"])),
            *("--scheduler_conf", f"max_steps={steps}"),
        ]
