"""The LibriMix recipe's configurations: each is right, and learns when shrunken."""

import math
import re

import pytest
import torch
import yaml
from helpers.shrunken_configs import CONF, CONFIGS, shrink
from helpers.tiny_data import make_tiny_data, training_options, write_config
from helpers.tiny_models import CHARACTERS, make_batch

from espnet_mtasr.bin.check_config import check_training, decoding_options
from espnet_mtasr.bin.mtasr_train import main as train
from espnet_mtasr.tasks.mtasr import MTASRTask
from tools.published_models import freeze

PHASE_1 = [path for path in CONFIGS if "phase1" in path.name]
PHASE_2 = [path for path in CONFIGS if "phase2" in path.name]
RECIPE = CONF / "tuning" / "train_phase2_wavlm_large_llama1b.yaml"


def stem(path):
    return path.stem.removeprefix("train_")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def build(path, folder):
    """Model and options of a shrunken configuration, frozen as it says."""
    config = write_config(folder / path.name, shrink(path, folder))
    args = MTASRTask.parse_config(config)
    MTASRTask.check_args(args)
    args.token_list = CHARACTERS
    torch.manual_seed(0)
    model = MTASRTask.build_model(args)
    freeze(model, args.freeze_param)
    return model, args


def test_all_of_them_are_right():
    assert len(PHASE_1) == 9 and len(PHASE_2) == 16
    for path in CONFIGS:
        args = check_training(str(path))
        # An epoch is 228 h, a quarter of the training set: little is lost by a stop.
        assert args.batch_seconds * args.num_iters_per_epoch == 228 * 3600, path
    for name in (
        "decode.yaml",
        "decode_beam.yaml",
        "decode_ngram.yaml",
        "decode_llm.yaml",
    ):
        decoding_options(str(CONF / name))


@pytest.mark.parametrize("phase", [1, 2])
def test_the_default_is_the_papers(phase):
    link = CONF / f"train_phase{phase}.yaml"
    assert link.is_symlink()
    assert link.resolve().name == f"train_phase{phase}_wavlm_large_llama1b.yaml"


@pytest.mark.parametrize("path", CONFIGS, ids=stem)
def test_one_step(path, folder):
    model, args = build(path, folder)
    (optimizer,) = MTASRTask.build_optimizers(args, model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model.train()
    batch = make_batch([2, 3, 2], [60, 50, 40])
    loss, stats, weight = model(**batch)
    assert math.isfinite(float(loss.detach())) and weight == 3
    wanted = {"loss_sot"} if "phase1" in path.name else {"loss_ctc", "loss_count"}
    assert wanted < set(stats)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), args.grad_clip)
    optimizer.step()
    moved = set()
    for name, parameter in model.named_parameters():
        if parameter.equal(before[name]):
            continue
        assert parameter.requires_grad, f"{name} is frozen and has moved"
        moved.add(name)
    scratch = args.encoder == "routed_espnet"
    assert any(name.startswith("encoder.trunk.") for name in moved) == scratch
    parts = ["encoder.branches.2", "encoder.branches.3"]
    if "phase1" in path.name:
        parts += ["teacher.adaptor", "teacher.projection"]
        assert any("lora_B" in name for name in moved)
        assert any("trainable_tokens" in name for name in moved)
    else:
        parts += ["separator.2", "ctc.2", "ctc.3", "count_head"]
        assert not any(name.startswith("teacher.") for name in moved)
    for part in parts:
        assert any(name.startswith(part + ".") for name in moved), part


@pytest.mark.parametrize("path", PHASE_2, ids=stem)
def test_phase_2_starts_from_phase_1(path, folder, tmp_path):
    from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

    model, args = build(path, folder)
    if "no_teacher" in path.name:
        assert model.teacher is None
        return
    name = path.name.replace("phase2", "phase1")
    if path.name.startswith("train_phase2_wavlm_large_llama1b_"):
        name = "train_phase1_wavlm_large_llama1b.yaml"
    first, _ = build(CONF / "tuning" / name, folder)
    with torch.no_grad():
        for parameter in first.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    checkpoint = tmp_path / "phase1.pth"
    torch.save(first.state_dict(), checkpoint)
    for part in ("encoder", "teacher"):
        load_pretrained_model(f"{checkpoint}:{part}:{part}", model, False, "cpu")
    learned = dict(first.named_parameters())
    for name, parameter in model.named_parameters():
        if name.startswith(("encoder.", "teacher.")):
            torch.testing.assert_close(parameter, learned[name], msg=name)


def test_learning_rates_at_their_peak(folder):
    rates = {}
    for phase in (1, 2):
        path = CONF / "tuning" / f"train_phase{phase}_wavlm_large_llama1b.yaml"
        model, args = build(path, folder)
        (optimizer,) = MTASRTask.build_optimizers(args, model)
        names = {id(p): name for name, p in model.named_parameters()}
        rates[phase] = {
            names[id(p)]: group["lr"]
            for group in optimizer.param_groups
            for p in group["params"]
        }
    for phase, learned in rates.items():
        for name, lr in learned.items():
            slow = name.startswith("encoder.branches.") or "lora_" in name
            assert lr == pytest.approx(3e-5 if slow else 3e-4), name
    assert any("lora_" in name for name in rates[1])
    assert any("trainable_tokens" in name for name in rates[1])
    assert not any(name.startswith("teacher.") for name in rates[2])


def flat(config, prefix=""):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@pytest.mark.parametrize(
    "ablation, changes",
    [
        ("llama1b_alpha0.3", {"model_conf.ctc_weight": 0.3}),
        ("llama1b_alpha0.5", {"model_conf.ctc_weight": 0.5}),
        ("llama1b_alpha0.9", {"model_conf.ctc_weight": 0.9}),
        ("llama1b_shared_separator", {"share_separator": True}),
        ("llama1b_count_features", {"model_conf.count_input": "features"}),
        ("llama1b_flat_start", {"preprocessor_conf.flat_start_epochs": 8}),
        (
            "no_teacher",
            {"model_conf.ctc_weight": 1.0, "freeze_param": ["encoder.trunk"]},
        ),
        ("llama3b", {"teacher_conf.llm": "meta-llama/Llama-3.2-3B"}),
    ],
)
def test_an_ablation_changes_one_thing(ablation, changes):
    recipe = dict(flat(yaml.safe_load(RECIPE.read_text())))
    path = RECIPE.with_name(f"train_phase2_wavlm_large_{ablation}.yaml")
    other = dict(flat(yaml.safe_load(path.read_text())))
    if ablation == "no_teacher":
        recipe = {k: v for k, v in recipe.items() if not k.startswith("teacher")}
    assert other == {**recipe, **changes}


def test_the_paper_s_settings():
    phase_1, phase_2 = (
        yaml.safe_load((CONF / f"train_phase{phase}.yaml").read_text())
        for phase in (1, 2)
    )
    for config in (phase_1, phase_2):
        assert config["encoder_conf"]["num_trunk_layers"] == 12
        assert config["teacher_conf"]["downsample"] == 8
        lora = config["teacher_conf"]["lora"]
        assert (lora["r"], lora["lora_alpha"], lora["lora_dropout"]) == (16, 32, 0.1)
        assert config["grad_clip"] == 1.0 and config["use_amp"]
        assert config["teacher_conf"]["llm_dtype"] == "bfloat16"
    assert phase_1["model_conf"]["ctc_weight"] == 0.0
    assert phase_2["model_conf"]["ctc_weight"] == 0.7
    assert phase_2["model_conf"]["count_weight"] == 1.0
    assert phase_2["separator_conf"] == dict(hidden_size=896, num_layers=2)
    criteria = [c["best_model_criterion"] for c in (phase_1, phase_2)]
    assert criteria == [[["valid", "loss_sot", "min"]], [["valid", "loss_ctc", "min"]]]


def test_espnets_trainer_takes_both_phases(folder, tmp_path):
    """The default's own options: folded batches, scheduler, mixed precision."""
    config = [
        write_config(
            tmp_path / f"{n}.yaml", shrink(CONF / f"train_phase{n}.yaml", folder)
        )
        for n in (1, 2)
    ]
    llm = yaml.safe_load(config[0].read_text())["teacher_conf"]["llm"]
    data = make_tiny_data(tmp_path / "data", llm, copies=2)
    options = [*training_options(data), "--token_type", "char", "--max_epoch", "1"]
    options += ["--num_workers", "0", "--batch_size", "4", "--use_preprocessor", "true"]
    train(["--config", str(config[0]), "--output_dir", str(tmp_path / "one"), *options])
    best = tmp_path / "one" / "valid.loss_sot.ave.pth"
    assert best.exists()
    init = [f"{best}:{part}:{part}" for part in ("encoder", "teacher")]
    train(
        ["--config", str(config[1]), "--output_dir", str(tmp_path / "two"), *options]
        + ["--init_param", *init]
    )
    assert (tmp_path / "two" / "valid.loss_ctc.ave.pth").exists()
    log = (tmp_path / "two" / "config.yaml").read_text()
    assert re.search(r"^use_amp: true$", log, re.M)
    saved = torch.load(tmp_path / "two" / "valid.loss_ctc.ave.pth")
    learned = torch.load(best)
    frozen = [k for k in saved if k.startswith(("encoder.trunk.", "teacher."))]
    assert frozen
    for name in frozen:
        torch.testing.assert_close(saved[name], learned[name])
