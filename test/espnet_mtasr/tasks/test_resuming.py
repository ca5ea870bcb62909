"""A training goes on where it was stopped, unless what changes results has changed."""

import json
import logging
import re
import shutil

import pytest
from helpers.tiny_lab import Lab

from espnet_mtasr.bin import check_resume
from espnet_mtasr.bin.mtasr_train import main
from espnet_mtasr.errors import UserError


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.train(1, "trained", "--resume", "true", "--max_epoch", "1")
    return lab


@pytest.fixture
def exp(lab):
    """A training of one epoch that a test may change, and its data."""
    kept = shutil.copytree(lab.data, lab.root / "kept")
    yield shutil.copytree(lab.root / "trained", lab.root / "exp")
    shutil.rmtree(lab.root / "exp")
    shutil.rmtree(lab.data)
    kept.rename(lab.data)


def options(lab, *more):
    return lab.options(1, "exp", "--resume", "true", "--max_epoch", "1", *more)


def check(lab, *more):
    check_resume.main(options(lab, *more))


HARMLESS = [
    (["--num_workers", "3"], "num_workers: 0 -> 3"),
    (["--max_epoch", "9"], "max_epoch: 1 -> 9"),
    (["--batch_size", "1"], "batch_size: .* -> 1"),
    (["--batch_seconds", "60"], "batch_seconds: null -> 60.0"),
    (["--accum_grad", "7"], "accum_grad: .* -> 7"),
    (["--num_iters_per_epoch", "7"], "num_iters_per_epoch: .* -> 7"),
    (
        ["--encoder_conf", "gradient_checkpointing=true"],
        "encoder_conf.gradient_checkpointing: null -> true",
    ),
    (
        ["--preprocessor_conf", "cache_megabytes=7"],
        "preprocessor_conf.cache_megabytes: null -> 7",
    ),
]
HARMFUL = [
    (["--optim_conf", "lr=0.5"], "optim_conf.lr: .* -> 0.5"),
    (["--seed", "3"], "seed: 0 -> 3"),
    (["--model_conf", "ctc_weight=0.5"], "model_conf.ctc_weight: .* -> 0.5"),
    (["--freeze_param", "teacher"], "freeze_param: .* -> .*teacher"),
]


def test_the_same_again_goes_on_and_says_nothing(lab, exp, caplog):
    check(lab)
    assert not caplog.records


@pytest.mark.parametrize("given, said", HARMLESS)
def test_what_does_not_change_results_is_reported(lab, exp, caplog, given, said):
    check(lab, *given)
    [record] = caplog.records
    assert re.search(f"resumes with other settings: {said}", record.getMessage())


# It rounds differently.
FUSED = (["--optim_conf", "fused=true"], "optim_conf.fused: null -> true")


@pytest.mark.parametrize("given, said", [*HARMFUL, FUSED])
def test_what_changes_results_is_refused(lab, exp, caplog, given, said):
    with pytest.raises(UserError, match=said) as refused:
        check(lab, *given, "--num_workers", "3")
    message = str(refused.value)
    assert "exp contains a training with other settings: " in message
    assert "resume with --resume_anyway true" in message
    assert "num_workers" not in message and "\n" not in message
    check(lab, *given, "--resume_anyway", "true")
    assert re.search(f"resumes with other settings: {said}", caplog.text)


def test_a_comment_and_another_order_are_no_change(lab, exp, caplog):
    config = lab.configs[1]
    text = config.read_text()
    try:
        config.write_text("# a comment\n" + text + "seed: 0   # the default\n")
        check(lab)
    finally:
        config.write_text(text)
    assert not caplog.records


@pytest.mark.parametrize("name", ["text", "tokens.txt", "wav.scp"])
def test_files_are_told_by_their_content(lab, exp, name):
    path = lab.data / name
    path.touch()
    check(lab)
    path.write_text(path.read_text().replace("a", "e", 1))
    with pytest.raises(UserError, match=f": .*{name} has other content"):
        check(lab)
    with pytest.raises(UserError, match=f": .*{name} has other content"):
        main(options(lab))


def test_lists_that_moved_are_the_same(lab, exp, caplog):
    """As when the folder of the statistics has another name."""
    moved = shutil.copytree(lab.data, lab.root / "moved")
    words = [word.replace(str(lab.data), str(moved)) for word in options(lab)]
    check_resume.main(words)
    (moved / "text").write_text("x y\n")
    with pytest.raises(UserError, match=r'data/text" -> ".*moved/text"'):
        check_resume.main(words)
    shutil.rmtree(moved)


def test_a_model_that_moved_is_the_same(lab, exp):
    """Stage 6's hashes tell."""
    models = lab.root / "models"
    inputs = json.loads((exp / ".inputs").read_text())
    assert inputs["encoder_conf.model"] == str(lab.encoder)
    for name, digest in (("one", "1"), ("two", "1"), ("three", "3")):
        shutil.copytree(lab.encoder, models / name / "encoder")
        pins = {"encoder": {"source": name, "sha256": {"model.safetensors": digest}}}
        (models / name / "models.json").write_text(json.dumps(pins))

    def given(name):
        return ["--encoder_conf", f"model={models / name / 'encoder'}"]

    main(options(lab, *given("one"), "--resume_anyway", "true"))
    check(lab, *given("two"))
    with pytest.raises(UserError, match="encoder_conf.model: .*one.* -> .*three"):
        check(lab, *given("three"))
    shutil.rmtree(models)


def test_what_a_training_starts_from(lab, exp):
    first, second = (lab.root / f"{name}.pth" for name in ("first", "second"))
    shutil.copy(exp / "latest.pth", first)
    shutil.copy(first, second)
    (exp / "checkpoint.pth").unlink()
    main(options(lab, "--init_param", f"{first}:encoder:encoder"))
    check(lab, "--init_param", f"{second}:encoder:encoder")
    with pytest.raises(UserError, match="init_param: .*first.*encoder.* -> .*trunk"):
        check(lab, "--init_param", f"{first}:encoder.trunk:encoder.trunk")
    with second.open("ab") as f:
        f.write(b"more")
    with pytest.raises(UserError, match="init_param: .*first.* -> .*second"):
        check(lab, "--init_param", f"{second}:encoder:encoder")


def test_once_gone_on_with_that_is_the_training(lab, exp):
    changed = ["--optim_conf", "lr=0.0002"]
    with pytest.raises(UserError, match="optim_conf.lr"):
        main(options(lab, *changed))
    main(options(lab, *changed, "--resume_anyway", "true", "--max_epoch", "2"))
    assert (exp / "2epoch.pth").exists()
    check(lab, *changed)


def test_a_training_of_an_earlier_version(lab, exp, caplog):
    """It has one hash of everything: config.yaml tells its options."""
    (exp / ".inputs").write_text("18b7419cb39984397f9c877c0c13486c  -\n")
    check(lab, "--num_workers", "3")
    assert "begun by an earlier version" in caplog.text
    assert "resumes with other settings: num_workers: 0 -> 3" in caplog.text
    for given, said in HARMFUL:
        with pytest.raises(UserError, match=said):
            check(lab, *given)
    tokens = lab.data / "tokens.txt"
    tokens.write_text(tokens.read_text() + "more\n")
    with pytest.raises(UserError, match="token_list: "):
        check(lab)


def test_a_file_that_the_training_makes_is_no_change(lab, exp):
    """The aligned start of a curriculum has no times at first."""
    inputs = json.loads((exp / ".inputs").read_text())
    times = exp / "times.jsonl"
    inputs["preprocessor_conf.source_times"] = str(times)
    (exp / ".inputs").write_text(json.dumps(inputs))
    times.write_text("{}\n")
    check(lab, "--preprocessor_conf", f"source_times={times}")


def test_logs_are_those_of_espnet(lab, exp):
    """The report comes before ESPnet sets up its log, which must stay its own."""
    handlers = list(logging.getLogger().handlers)
    check(lab, "--num_workers", "3")
    assert logging.getLogger().handlers == handlers
