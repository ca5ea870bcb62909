"""Classes of a user's own modules, with no change in the package."""

import argparse
import sys

import pytest
import torch
import yaml
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.asr.encoder.linear_encoder import LinearEncoder
from helpers.tiny_data import make_tiny_data, training_options, write_config
from helpers.tiny_models import make_tiny_llm

from espnet_mtasr.asr.encoder.espnet_halves import RoutedEspnetEncoder
from espnet_mtasr.bin.check_config import check_training
from espnet_mtasr.errors import UserError
from espnet_mtasr.open_choices import LazyChoices, OpenChoices, import_class
from espnet_mtasr.tasks.mtasr import MTASRTask

SEPARATOR = """
import torch
from espnet_mtasr.asr.separator.abs_separator import AbsSeparator


class LinearSeparator(AbsSeparator):
    def __init__(self, input_size, num_talkers, width=4):
        super().__init__()
        self.width = width
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(input_size, width) for _ in range(num_talkers)
        )

    def output_size(self):
        return self.width

    def forward(self, hidden, lengths):
        return [layer(hidden) for layer in self.layers]


def not_a_class():
    pass
"""
CONFORMER = dict(output_size=16, attention_heads=2, linear_units=24, num_blocks=1)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module in a folder that Python knows."""
    (tmp_path / "own_separator_of_test.py").write_text(SEPARATOR)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_separator_of_test"


LINEAR = "espnet2.asr.encoder.linear_encoder:LinearEncoder"


@pytest.mark.parametrize(
    "choices",
    [
        OpenChoices("part", dict(linear=LinearEncoder), default="linear"),
        LazyChoices("part", dict(linear=LINEAR), AbsEncoder, default="linear"),
    ],
)
def test_known_names_stay_what_they_are(choices):
    parser = argparse.ArgumentParser()
    choices.add_arguments(parser)
    args = parser.parse_args(["--part_conf", "dropout_rate=0.5"])
    assert (args.part, args.part_conf) == ("linear", {"dropout_rate": 0.5})
    assert choices.get_class(parser.parse_args(["--part", "Linear"]).part) is (
        LinearEncoder
    )
    assert choices.get_class(None) is None
    assert parser.parse_args(["--part", "a.b:MyClass"]).part == "a.b:MyClass"
    assert "linear, or MODULE:CLASS" in parser.format_help()
    with pytest.raises(ValueError, match="--part must be one of linear, or MODULE:"):
        choices.get_class("lineal")


def test_classes_are_imported_when_they_are_asked_for(tmp_path, monkeypatch):
    """What stands in another module's table too; there is no `broken` to import."""
    (tmp_path / "table_of_test.py").write_text(
        "from espnet2.asr.encoder.linear_encoder import LinearEncoder\n"
        "from espnet2.train.class_choices import ClassChoices\n"
        "part_choices = ClassChoices('part', dict(other=LinearEncoder))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    choices = LazyChoices(
        "part",
        dict(linear=LINEAR, broken="no_such_module_of_test:A"),
        AbsEncoder,
        others="table_of_test",
    )
    assert choices.get_class("linear") is LinearEncoder
    assert "table_of_test" not in sys.modules
    with pytest.raises(UserError, match="there is no Python module no_such_module_of"):
        choices.get_class("broken")
    del choices.named["broken"]
    assert choices.get_class("other") is LinearEncoder
    assert list(choices.classes) == ["other", "linear"]


@pytest.mark.parametrize(
    "name, message",
    [
        ("no_such_module_of_test:A", "there is no Python module no_such_module_of"),
        ("own_separator_of_test.deeper:A", "there is no Python module own_separator"),
        (
            "own_separator_of_test:Linear",
            "module own_separator_of_test has no class Lin",
        ),
        ("own_separator_of_test:not_a_class", "has no class not_a_class; write it"),
        ("own_separator_of_test:", "give MODULE:CLASS"),
        (".own_separator_of_test:LinearSeparator", "give MODULE:CLASS"),
        (":LinearSeparator", "give MODULE:CLASS"),
        ("collections:OrderedDict", "must derive from espnet_mtasr.asr.separator"),
    ],
)
def test_what_cannot_be_had(module, name, message):
    from espnet_mtasr.asr.separator.abs_separator import AbsSeparator

    with pytest.raises(UserError, match=message) as error:
        import_class(name, AbsSeparator, "separator")
    assert str(error.value).startswith(f"separator: {name}: ")


@pytest.mark.parametrize(
    "mistake, error",
    [
        ("import no_such_module_at_all", ModuleNotFoundError),
        ("int('seven')", ValueError),
    ],
)
def test_a_mistake_inside_the_module_comes_as_it_is(
    tmp_path, monkeypatch, mistake, error
):
    """Whoever writes it needs the traceback."""
    name = f"broken_of_test_{error.__name__}"
    (tmp_path / f"{name}.py").write_text(f"{mistake}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error) as raised:
        import_class(f"{name}:A", None, "separator")
    assert type(raised.value) is error


def test_an_encoder_of_ones_own_as_trunk(tmp_path, monkeypatch):
    (tmp_path / "own_encoder_of_test.py").write_text(
        "from espnet2.asr.encoder.linear_encoder import LinearEncoder\n"
        "class Twice(LinearEncoder):\n"
        "    def forward(self, xs_pad, ilens):\n"
        "        return 2 * xs_pad, ilens, None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    encoder = RoutedEspnetEncoder(
        16,
        talker_counts=(2,),
        trunk="own_encoder_of_test:Twice",
        trunk_conf=dict(output_size=16, input_layer=None),
        branch_conf=dict(CONFORMER, input_layer="linear"),
    )
    features = torch.randn(1, 5, 16)
    trunk = encoder.encode_trunk(features, torch.tensor([5]))
    assert torch.equal(trunk.hidden, 2 * features)
    with pytest.raises(
        UserError, match="^encoder: own_encoder_of_test:One: .*no class"
    ):
        RoutedEspnetEncoder(16, trunk="own_encoder_of_test:One")


def test_it_trains_and_is_loaded_again(module, tmp_path):
    """Its name stays in config.yaml, its weights in the checkpoint."""
    from espnet_mtasr.bin.mtasr_train import main as train

    data = make_tiny_data(tmp_path / "data", make_tiny_llm(tmp_path / "llm"))
    config = dict(
        talker_counts=[2, 3],
        frontend_conf=dict(n_fft=400, hop_length=160, n_mels=20),
        encoder="routed_espnet",
        encoder_conf=dict(
            trunk_conf=dict(CONFORMER, input_layer="conv2d2"),
            branch_conf=dict(CONFORMER, input_layer="linear"),
        ),
        separator=f"{module}:LinearSeparator",
        separator_conf=dict(width=6),
        count_head_conf=dict(hidden_size=8, attention_size=4),
        model_conf=dict(ctc_weight=1.0, extract_feats_in_collect_stats=False),
        optim="adamw",
        max_epoch=1,
        batch_type="sorted",
        batch_size=3,
        num_workers=0,
        use_matplotlib=False,
        use_tensorboard=False,
        best_model_criterion=[["valid", "loss_ctc", "min"]],
        token_type="char",
    )
    out = tmp_path / "exp"
    file = write_config(tmp_path / "train.yaml", config)
    train(
        ["--config", str(file), "--output_dir", str(out), *training_options(data)],
    )
    assert yaml.safe_load((out / "config.yaml").read_text())["separator"] == (
        f"{module}:LinearSeparator"
    )
    trained = out / "valid.loss_ctc.best.pth"
    with pytest.raises(UserError, match="LinearSeparator: is not part .*trust_remote"):
        MTASRTask.build_model_from_file(None, trained)
    model, _ = MTASRTask.build_model_from_file(None, trained, trust_remote_code=True)
    assert type(model.separator["3"]).__name__ == "LinearSeparator"
    assert model.separator["3"].output_size() == 6
    wrong = {**config, "separator_conf": dict(size=6)}
    file = write_config(tmp_path / "wrong.yaml", wrong)
    with pytest.raises(UserError, match="LinearSeparator has no option size; it has"):
        check_training(str(file))
