"""Sizes of the LibriMix recipe's models, without their weights."""

import pytest
import torch
from helpers.shrunken_configs import CONF, CONFIGS
from helpers.shrunken_facts import shrunken_config, shrunken_facts

from espnet_mtasr.errors import UserError
from tools import model_sizes, published_models
from tools.bench import full_size_step

README = CONF.parent / "README.md"


@pytest.mark.parametrize("hub_id", published_models.FACTS)
def test_the_published_number_of_parameters(hub_id):
    """The shapes were written down by hand: they must add up to the published sum."""
    with torch.device("meta"):
        if "tokenizer_length" not in published_models.FACTS[hub_id]:
            model, _ = published_models.make_encoder(hub_id)
        else:
            model = published_models.make_causal_lm(hub_id)
    size = sum(p.numel() for p in model.parameters())
    published = published_models.FACTS[hub_id]["parameters"]
    assert size == pytest.approx(published, rel=5e-4)


@pytest.fixture(scope="module")
def papers():
    paths = [CONF / f"train_phase{phase}.yaml" for phase in (1, 2)]
    return [model_sizes.measure(path, 60.0) for path in paths]


def test_parts_of_the_papers_model(papers):
    """Worked out by hand from the shapes."""
    attention = 4 * (1024 * 1024 + 1024) + (64 * 8 + 8) + 16  # and its gate
    feed_forward = 2 * 1024 * 4096 + 4096 + 1024
    layer = attention + feed_forward + 2 * 2 * 1024
    for sizes in papers:
        assert sizes.parts["branches"] == 2 * (12 * layer + 2 * 1024)
        whole = sizes.parts["trunk"] + sizes.parts["branches"] / 2
        assert whole == pytest.approx(315.45e6, rel=1e-4)
        assert sizes.parts["LLM"] == pytest.approx(1235.8e6, rel=1e-4)
    one, two = papers
    lstm = 4 * 896 * (1024 + 896 + 2) + 4 * 896 * (896 + 896 + 2)
    separator = lstm + 2 * 896
    assert two.parts["separators"] == 2 * separator + 5 * (896 * 896 + 896)
    assert two.parts["CTC"] == 5 * (896 * 1000 + 1000)
    assert one.parts["separators"] == one.parts["CTC"] == one.parts["count head"] == 0
    # Three convolutions, a norm, a projection; LoRA of rank 16; the row of <sc>.
    adaptor = 3 * (3 * 1024 * 1024 + 1024) + 2 * 1024 + 1024 * 2048 + 2048
    lora = 16 * 16 * (2 * (2048 + 2048) + 2 * (2048 + 512))
    assert one.parts["rest of teacher"] == adaptor + lora + 2048


def test_what_is_trained_and_what_is_left(papers):
    one, two = papers
    assert one.trained == one.parts["branches"] + one.parts["rest of teacher"]
    learners = ("branches", "separators", "CTC", "count head")
    assert two.trained == sum(two.parts[name] for name in learners)
    assert two.inference == two.parts["trunk"] + two.trained
    assert two.total == two.inference + 1235816448 + two.parts["rest of teacher"]


def test_memory_of_weights_gradients_and_optimizer(papers):
    _, two = papers
    gib = 2.0**30
    assert two.gradients == pytest.approx(4 * two.trained / gib)
    assert two.optimizer == pytest.approx(8 * two.trained / gib)
    llm = two.parts["LLM"]
    weights = 4 * (two.total - llm) + 2 * llm + 2 * two.trained
    assert two.weights == pytest.approx(weights / gib, rel=1e-3)


def test_activations_by_the_formula(papers):
    """4 mixtures of 15 s: 749 frames each, an eighth of them for the LLM."""
    branch = 12 * 4 * 749 * 1024 * (34 + 5 * 16 * 749 / 1024)
    tokens = 4 * 749 / 8 + 60 * 8
    llm = 16 * tokens * (15 * 2048 + 7.1 * 8192) + 10 * 480 * 128257
    for sizes in papers:
        expected = (branch + llm) / 2.0**30
        assert sizes.activations == pytest.approx(expected, rel=1e-3)
        assert sizes.checkpointed < sizes.activations / 2


def test_what_fits_a_gpu(papers):
    """Nine tenths of its memory, and not ten seconds more."""
    for sizes in papers:
        fixed = sizes.weights + sizes.gradients + sizes.optimizer
        for gpu in (24, 40, 80):
            seconds = model_sizes.seconds_that_fit(sizes, 60.0, gpu)
            needed = [
                fixed + s / 60 * sizes.checkpointed for s in (seconds, seconds + 10)
            ]
            assert needed[0] <= 0.9 * gpu < needed[1] and seconds % 10 == 0
    small = papers[0]._replace(optimizer=30.0)
    assert model_sizes.seconds_that_fit(small, 60.0, 24) == 0


def test_more_audio_takes_more_memory():
    path = CONF / "tuning" / "train_phase2_conformer_smollm2_360m.yaml"
    small, large = (model_sizes.measure(path, seconds) for seconds in (30.0, 60.0))
    assert large.activations == pytest.approx(2 * small.activations)
    assert large.weights == small.weights


def test_the_readmes_table_is_the_scripts(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text())
    model_sizes.main([*map(str, CONFIGS), "--update", str(copy)])
    assert copy.read_text() == README.read_text(), (
        "run: python -m tools.model_sizes --update egs2/librimix/mtasr1/README.md "
        "egs2/librimix/mtasr1/conf/tuning/*.yaml"
    )


def test_wrong_arguments(tmp_path):
    with pytest.raises(UserError, match="no.yaml: no such file"):
        model_sizes.main(["no.yaml"])
    with pytest.raises(UserError, match="--batch_seconds 0.0: give more"):
        model_sizes.main(["--batch_seconds", "0", "no.yaml"])
    text = (CONF / "train_phase2.yaml").read_text()
    (tmp_path / "odd.yaml").write_text(text.replace("microsoft/wavlm", "micro/wavlm"))
    with pytest.raises(UserError, match="micro/wavlm-large: its shape is not in"):
        model_sizes.main([str(tmp_path / "odd.yaml")])


def test_a_shrunken_full_size_step(monkeypatch, tmp_path, capsys):
    """The benchmark's own code, on models that are not full-size."""
    monkeypatch.setattr(published_models, "FACTS", shrunken_facts(50))
    configs = [shrunken_config(phase, tmp_path) for phase in (1, 2)]
    output = tmp_path / "results.json"
    full_size_step.main(
        ["--configs", *map(str, configs), "--steps", "3", "--warmup_steps", "1"]
        + ["--batch_seconds", "4", "--utterance_seconds", "2"]
        + ["--output", str(output)]
    )
    printed = capsys.readouterr().out
    import json

    results = json.loads(output.read_text())
    assert [json.loads(line) for line in printed.splitlines()[-2:]] == results
    for result, phase in zip(results, (1, 2)):
        assert result["config"] == f"train_phase{phase}"
        assert result["batch"] == "2 x 2 s" and result["steps"] == 3
        speed = 4 / result["seconds_per_step"]
        assert result["audio_seconds_per_second"] == pytest.approx(speed, rel=0.05)
        assert 0 < result["last_loss"] < 100 and result["peak_memory_gib"] > 0
        assert 0 < result["trained"] < result["parameters"]


def test_the_benchmarks_wrong_arguments(monkeypatch):
    with pytest.raises(UserError, match="--steps 0: give more than 0"):
        full_size_step.main(["--steps", "0"])
    with pytest.raises(UserError, match="--configs no.yaml: no such file"):
        full_size_step.main(["--configs", "no.yaml"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda: torch finds no GPU"):
        full_size_step.main(["--device", "cuda"])


@pytest.mark.slow
def test_a_step_at_full_size():
    """WavLM-Large and Llama-3.2-1B: needs about 8 GB of memory and some minutes."""
    full_size_step.main(["--batch_seconds", "2", "--utterance_seconds", "2"])
