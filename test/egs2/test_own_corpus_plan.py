"""own_corpus before its first stage: what it costs, --quick, --pretrained_model."""

import importlib
import json
import shutil
import statistics
import sys
from argparse import Namespace

import pytest
import torch
import yaml
from helpers.own_corpus import RECIPE, make_own_corpus
from helpers.recipe_copy import ROOT, call, copy_ready_recipe
from helpers.tiny_data import write_config
from helpers.tiny_inference import save_tiny_model

from espnet_mtasr.bin import mtasr_pack
from espnet_mtasr.errors import UserError

FIGURES = ROOT / "tools" / "bench" / "results" / "own_corpus_step.json"


@pytest.fixture(scope="module")
def local():
    """Modules of the recipe's local/, by name."""
    names = ("lay_out_corpus", "start_from_model", "tell_cost", "plan")
    sys.path.insert(0, str(RECIPE / "local"))
    try:
        yield Namespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(RECIPE / "local"))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A packed model of 2 and 3 talkers, with characters."""
    root = tmp_path_factory.mktemp("packed")
    options = dict(freeze_param=["encoder.trunk"], lr_scale={"encoder.branches": 0.5})
    model = save_tiny_model(root / "exp", **options)
    path = root / "tiny model.zip"
    mtasr_pack.main(["--mtasr_model_file", str(model), "--outpath", str(path)])
    return path


@pytest.fixture
def plan(local, tmp_path, monkeypatch):
    """Call plan.py in a recipe's folder; returns its lines for mtasr.sh."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RECIPE / "conf", tmp_path / "conf")

    def run(*options):
        words = ["--out", "data/local/plan", "--options", "options", *options]
        local.plan.main([str(word) for word in words])
        return (tmp_path / "options").read_text().splitlines()

    return run


def test_figures_are_those_that_were_measured(local):
    measured = json.loads(FIGURES.read_text())
    settings = measured["settings"]
    assert settings["config"].endswith("own_corpus/mtasr1/conf/train_phase2.yaml")
    assert measured["machine"].endswith(", 1 thread")
    per_second = statistics.median(measured["seconds"]["ours"])
    per_second /= settings["batch_seconds"]
    assert local.tell_cost.CORE_SECONDS == pytest.approx(per_second, rel=0.01)
    assert local.tell_cost.SOURCE == str(FIGURES.relative_to(ROOT))

    from espnet_mtasr.tasks.mtasr import MTASRTask

    args = MTASRTask.parse_config(RECIPE / "conf" / "train_phase2.yaml")
    args.token_list = ["<blank>", "<unk>", *map(str, range(settings["units"]))]
    parameters = sum(p.numel() for p in MTASRTask.build_model(args).parameters())
    assert local.tell_cost.PARAMETERS == pytest.approx(parameters, rel=0.01)


def test_audio_of_an_epoch(local):
    """The last talker to begin ends last, where all talk for as long."""
    audio = local.tell_cost.audio_of_epoch
    assert audio([4.0], [1], 10, [1.0, 1.0]) == 40.0
    assert audio([4.0], [2, 3], 10, [1.0, 1.0]) == 10 * 5.0 + 10 * 6.0
    # Too long for stage 4.
    assert audio([29.5], [1, 2], 10, [1.0, 1.0]) == 295.0


def test_what_it_costs(plan, tmp_path, capsys):
    corpus = make_own_corpus(tmp_path / "c", 9, 2)
    options = ["--corpus", corpus, "--onset_gap", "1,1", "--n_train", 36000]
    first, *words = plan(*options)
    assert (first, words) == ("2,3", ["--phase2_config", "conf/train_phase2.yaml"])
    said = capsys.readouterr().out
    assert f"{corpus}: 9 talkers; 3 for training" in said
    assert "Needed: 3 talkers in each of train, dev and test" in said
    assert "from scratch, about 100 hours of 200 talkers (a rule of thumb" in said
    assert "This is less: expect many wrong words" in said
    # 36,000 of 2.5 and 36,000 of 3.5 s.
    assert "50 epochs of 72000 mixtures, about 60 hours of audio each" in said
    assert "about 216 hours on one core (measured" in said and FIGURES.name in said
    assert "about 4.3 hours on one GPU (estimated, never run)" in said
    assert "Quick" not in said and "without" not in said
    plan(*options, "--llm", "smollm2", "--encoder", "whisper_base")
    said = capsys.readouterr().out
    assert "leaves out the language model's part and the pretrained encoder" in said
    assert "from a trained model, about 10 hours of 30 talkers" in said


def test_enough_speech(local):
    said = local.tell_cost.needs_in_words(100.0, 200, 2, pretrained=False)
    assert "2 talkers in each" in said and "less" not in said


def test_too_few_talkers_and_no_seconds_are_told_at_once(plan, tmp_path):
    corpus = make_own_corpus(tmp_path / "c", 8, 1)
    with pytest.raises(
        UserError, match="there are 8 talkers, 3 for dev and 3 for test"
    ):
        plan("--corpus", corpus)
    for option in (["--onset_gap", "a,b"], ["--n_train", "0"]):
        with pytest.raises(UserError, match="give two times in seconds, and"):
            plan("--corpus", corpus, *option)


def test_quick_is_the_same_model_for_a_few_steps(plan, tmp_path, capsys):
    words = plan("--quick", "true", "--llm", "x")[1:]
    assert words == [
        *("--phase2_config", "data/local/plan/train_quick_phase2_teacher.yaml"),
        *("--phase1_config", "data/local/plan/train_quick_phase1.yaml"),
    ]
    quick = yaml.safe_load((tmp_path / "conf" / "quick.yaml").read_text())
    assert quick["max_epoch"] == 2
    for _, path in zip(words[::2], words[1::2]):
        name = path.rsplit("/")[-1].replace("quick_", "")
        own = yaml.safe_load((tmp_path / "conf" / name).read_text())
        assert yaml.safe_load((tmp_path / path).read_text()) == {**own, **quick}
    said = capsys.readouterr().out
    assert "It can't show how good a trained model will be" in said


@pytest.mark.parametrize(
    "options, counts, left_out",
    [
        ([], [2, 3], []),
        (["--talker_counts", "3"], [3], ["encoder.branches.2", "ctc.2", "count_head"]),
        (["--pretrained_units", "false"], [2, 3], ["ctc"]),
    ],
)
def test_a_pretrained_models_parts_and_weights(
    plan, archive, tmp_path, options, counts, left_out
):
    from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

    from espnet_mtasr.tasks.init_param import check_init_param
    from espnet_mtasr.tasks.mtasr import MTASRTask

    first, *words = plan("--pretrained_model", archive, *options)
    assert first == ",".join(map(str, counts))
    told = dict(zip(words[::2], words[1::2]))
    assert told.pop("--fs") == "16000"
    (init,) = check_init_param([told.pop("--pretrained_model")], tmp_path / "init")
    config = told.pop("--phase2_config")
    assert config == "data/local/plan/train_from_tiny_model.yaml"
    tokens = ["<blank>", "<unk>", "a", "b"]
    if "false" in options:
        assert told == {}
    else:
        folder = told.pop("--token_dir")
        assert told == {"--token_type": "char"}
        tokens = (tmp_path / folder / "tokens.txt").read_text().splitlines()
    args = MTASRTask.parse_config(config, ["--talker_counts", *map(str, counts)])
    # The training's own settings, and what goes with the model.
    fine = yaml.safe_load((tmp_path / "conf" / "fine_tuning.yaml").read_text())
    assert (args.max_epoch, args.optim_conf) == (fine["max_epoch"], fine["optim_conf"])
    assert args.batch_seconds == 120 and args.teacher is None
    assert args.freeze_param == ["encoder.trunk"]
    assert args.lr_scale == {"encoder.branches": 0.5}
    args.token_list = tokens
    MTASRTask.check_args(args)
    torch.manual_seed(1)
    model = MTASRTask.build_model(args)
    assert model.ctc_weight == 1.0 and model.teacher is None
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    load_pretrained_model(init, model, ignore_init_mismatch=False)
    trained = torch.load(archive.parent / "exp" / "model.pth", weights_only=True)
    for name, weight in model.state_dict().items():
        is_new = any(name.startswith(part) for part in left_out)
        source = before[name] if is_new else trained[name]
        assert torch.equal(weight, source), name


def test_a_named_configuration_keeps_its_settings(plan, archive, tmp_path):
    path = write_config(tmp_path / "train_mine.yaml", {"optim_conf": {"lr": 0.5}})
    options = ["--pretrained_model", archive, "--phase2_config", path]
    words = plan(*options, "--quick", "true")
    planned = words[words.index("--phase2_config") + 1]
    assert planned == "data/local/plan/train_quick_from_tiny_model.yaml"
    settings = yaml.safe_load((tmp_path / planned).read_text())
    assert settings["optim_conf"] == {"lr": 0.5} and settings["max_epoch"] == 2


def test_cost_of_a_pretrained_model(plan, archive, tmp_path, capsys):
    corpus = make_own_corpus(tmp_path / "c", 9, 1)
    plan("--corpus", corpus, "--pretrained_model", archive)
    said = capsys.readouterr().out
    assert "(estimated from tiny_model's 0.0 million parameters" in said
    assert "from a trained model, about 10 hours of 30 talkers" in said


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ["--talker_counts", "1,2"],
            "--talker_counts 1,2: .*knows 2 and 3 talkers; lea",
        ),
        (["--pretrained_model", "nothing"], "model nothing: is not a folder, a file"),
    ],
)
def test_models_that_do_not_fit(plan, archive, options, message):
    with pytest.raises(UserError, match=message):
        plan("--pretrained_model", archive, *options)


def test_texts_that_the_models_units_cannot_write(plan, archive, tmp_path):
    corpus = make_own_corpus(tmp_path / "c", 9, 1)
    for path in corpus.rglob("*.txt"):
        path.write_text("süße Grüße")
    options = ["--corpus", corpus, "--pretrained_model", archive]
    with pytest.raises(UserError, match=r"no units for 40.0 % of the texts \(ü, ß\)"):
        plan(*options)
    plan(*options, "--pretrained_units", "false")


def test_a_model_that_is_not_to_be_trusted(plan, tmp_path):
    model = save_tiny_model(tmp_path / "exp")
    config = tmp_path / "exp" / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["separator"] = "somewhere:Separator"
    config.write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match="is not part of ESPnet or espnet_mtasr"):
        plan("--pretrained_model", model)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    copy_ready_recipe(root, "own_corpus")
    return root


@pytest.mark.parametrize(
    "options, message",
    [
        ("--pretrained_model mini --llm x", "--pretrained_model mini: has an encoder"),
        ("--pretrained_model mini --encoder x", "omit --encoder and --llm"),
        ("--pretrained_model a.pth:b:c", "a.pth: no such file"),
        ("--quick yes", "--quick takes true or false, not 'yes'"),
        ("--token_dir none", "--token_dir none: has no tokens.txt; give a folder"),
        ("--talker_counts 2,x", "--talker_counts 2 x: give counts from 1"),
        ("--phase2_config none", "--phase2_config none: no such file"),
    ],
)
def test_run_sh_refuses(root, options, message):
    run = root / "egs2/own_corpus/mtasr1/run.sh"
    done = call([run, "--corpus", ".", *options.split()], root)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1


def test_the_plan_knows_espnets_names(root):
    recipe = root / "egs2" / "own_corpus" / "mtasr1"
    options = ["--quick", "true", "--skip_data_prep", "true", "--check_options", "true"]
    config = ["--asr_config", "conf/train_phase2_teacher.yaml"]
    done = call([recipe / "run.sh", *options, *config], root)
    assert done.returncode == 0, done.stderr
    plan = recipe / "data" / "local" / "plan"
    assert [path.stem for path in plan.iterdir()] == ["train_quick_phase2_teacher"]
    shutil.rmtree(recipe / "data")


def test_quick_from_a_pretrained_model_up_to_its_units(root, archive, tmp_path):
    make_own_corpus(tmp_path / "c", 9, 12)
    recipe = root / "egs2" / "own_corpus" / "mtasr1"
    shutil.copy(archive, tmp_path / "mine.zip")
    quick = ["--quick", "true", "--pretrained_model", "mine.zip", "--nj", 1]
    done = call(
        [recipe / "run.sh", "--corpus", "c", *quick, "--stop_stage", 5],
        tmp_path,
        timeout=None,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    # The first ten recordings of each of 9 talkers.
    assert said.count("3 talkers, 30 recordings") == 3
    assert "dump/raw/train: 80 mixtures" in said
    assert said.index("It takes about") < said.index("Stage 1:")
    assert "data/token_list/from_mine: the existing units fit" in said
    assert "Flash Attention" not in done.stderr
    # Without --quick all of it is made.
    done = call(
        [recipe / "run.sh", "--corpus", "c", "--nj", 1, "--stop_stage", 3]
        + ["--n_train", 50, "--n_dev", 2, "--n_test", 2],
        tmp_path,
        timeout=None,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("3 talkers, 36 recordings") == 3
    assert "dump/raw/org/train: 100 mixtures" in done.stdout


@pytest.mark.slow
def test_quick_from_a_pretrained_model(root, archive, tmp_path):
    corpus = make_own_corpus(tmp_path / "c")
    recipe = root / "egs2" / "own_corpus" / "mtasr1"
    options = ["--nj", 1, "--inference_nj", 1, "--num_threads", 1, "--expdir", "exp/q"]
    options += ["--pretrained_model", archive, "--quick", "true"]
    run = [recipe / "run.sh", "--corpus", corpus, *options]
    done = call(run, root, timeout=None)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    exp = recipe / "exp" / "q" / "mtasr_quick_from_tiny_model"
    assert (exp / "RESULTS.md").is_file()
    trained = torch.load(exp / "valid.loss_ctc.ave.pth", weights_only=True)
    start = torch.load(archive.parent / "exp" / "model.pth", weights_only=True)
    assert set(trained) == set(start)
    changed = {name for name in start if not torch.equal(trained[name], start[name])}
    # The trunk is frozen, so it is still the packed model's.
    assert changed and not any(name.startswith("encoder.trunk") for name in changed)
    # A second call, without stage 1, goes on with the same.
    done = call([*run, "--stage", 10], root, timeout=None)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "It takes about" not in done.stdout
