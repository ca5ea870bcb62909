"""MTASRTask: which parts a configuration builds, optimizer groups, wrong settings."""

import pytest
import torch
import yaml
from helpers.tiny_data import phase_config, write_config
from helpers.tiny_models import CHARACTERS, make_tiny_llm, make_tiny_wavlm

from espnet_mtasr.errors import UserError
from espnet_mtasr.tasks.mtasr import MTASRTask


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("pretrained")
    return make_tiny_wavlm(root / "encoder"), make_tiny_llm(root / "llm")


@pytest.fixture
def args_of(folders, tmp_path):
    """A function from phase, changes to the configuration and options to `args`."""

    def make(phase, *options, **changes):
        config = phase_config(*folders, phase)
        for name, change in changes.items():
            if isinstance(change, dict) and name != "lr_scale":
                change = {**config[name], **change}
            config[name] = change
        path = write_config(tmp_path / "config.yaml", config)
        tokens = tmp_path / "tokens.txt"
        tokens.write_text("\n".join(CHARACTERS) + "\n")
        return MTASRTask.get_parser().parse_args(
            ["--config", str(path), "--token_list", str(tokens), *options]
        )

    return make


def modules(model):
    return {name for name, part in model.named_children() if part is not None}


def test_ctc_weight_0_builds_no_separator_and_no_ctc(args_of):
    model = MTASRTask.build_model(args_of(1))
    assert modules(model) == {"encoder", "teacher"}


def test_ctc_weight_1_builds_no_teacher_and_reads_none(args_of):
    """Neither the model nor the preprocessor asks for the LM's folder."""
    args = args_of(
        2, model_conf=dict(ctc_weight=1.0), teacher_conf=dict(llm="no/such/folder")
    )
    assert not MTASRTask.has_teacher(args)
    model = MTASRTask.build_model(args)
    assert modules(model) == {"encoder", "separator", "ctc", "count_head"}
    preprocess = MTASRTask.build_preprocess_fn(args, train=True)
    assert len(preprocess("utt", {"text": "ab <sc> c"})["text"]) == 3


def test_phase_2_builds_everything_with_a_head_per_talker(args_of):
    model = MTASRTask.build_model(args_of(2))
    assert modules(model) == {"encoder", "separator", "ctc", "teacher", "count_head"}
    assert {n: len(model.ctc[n].heads) for n in model.ctc} == {"2": 2, "3": 3}
    assert {n: len(model.separator[n].projections) for n in model.separator} == {
        "2": 2,
        "3": 3,
    }
    assert model.vocab_size == len(CHARACTERS)


def test_weakness_5_ctc_has_its_own_small_vocabulary(args_of):
    """Not the LM's: a head has as many outputs as the token list."""
    model = MTASRTask.build_model(args_of(2))
    sizes = {h.ctc_lo.out_features for part in model.ctc.values() for h in part.heads}
    assert sizes == {len(CHARACTERS)}
    assert len(CHARACTERS) < len(model.teacher.tokenizer)


def test_talker_counts_are_sorted_and_single(args_of):
    args = args_of(2, talker_counts=[3, 1, 3])
    model = MTASRTask.build_model(args)
    assert model.talker_counts == (1, 3) and args.talker_counts == [1, 3]
    preprocess = MTASRTask.build_preprocess_fn(args, train=True)
    data = preprocess("utt", {"text": "ab"})
    assert {"text_spk1", "text_spk2", "text_spk3"} < set(data)


def freeze(model, prefixes):
    """As ESPnet's main_worker does it."""
    for prefix in prefixes:
        for name, parameter in model.named_parameters():
            if name.startswith(prefix + ".") or name == prefix:
                parameter.requires_grad = False


def test_a_part_that_is_not_built_may_be_frozen(args_of):
    """One configuration of phase 2 serves with and without a teacher."""
    args = args_of(2, model_conf=dict(ctc_weight=1.0))
    assert "teacher" in args.freeze_param
    args.lr_scale = {"teacher.llm": 0.1}
    model = MTASRTask.build_model(args)
    freeze(model, args.freeze_param)
    assert MTASRTask.build_optimizers(args, model)


LR_SCALES = [
    {"encoder.branches": 0.5, "encoder.branches.3": 0.1, "ctc": 2},
    {"encoder": {"branches": 0.5, "branches.3": 0.1}, "ctc": 2},
]


@pytest.mark.parametrize("lr_scale", LR_SCALES)
def test_lr_scale_groups(args_of, lr_scale):
    """The longest prefix wins; frozen parameters are in no group."""
    args = args_of(2, lr_scale=lr_scale)
    model = MTASRTask.build_model(args)
    freeze(model, args.freeze_param)
    (optimizer,) = MTASRTask.build_optimizers(args, model)
    assert isinstance(optimizer, torch.optim.AdamW)
    lr = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        if name.startswith(("encoder.trunk", "teacher")):
            assert id(parameter) not in lr
            continue
        wanted = 0.01
        if name.startswith("encoder.branches.2"):
            wanted = 0.005
        elif name.startswith("encoder.branches.3"):
            wanted = 0.001
        elif name.startswith("ctc."):
            wanted = 0.02
        assert lr[id(parameter)] == pytest.approx(wanted), name


def test_lr_scale_on_the_command_line(args_of):
    args = args_of(1, "--lr_scale", "encoder.branches=0.25")
    model = MTASRTask.build_model(args)
    (optimizer,) = MTASRTask.build_optimizers(args, model)
    branch = next(model.encoder.branches.parameters())
    rates = [
        g["lr"] for g in optimizer.param_groups if any(p is branch for p in g["params"])
    ]
    assert rates == [0.0025]


def test_learning_rate_of_the_optimizer_itself(args_of):
    """Without `lr`: what the optimizer's own default is, times the factor."""
    args = args_of(1, optim="adadelta")
    args.optim_conf = {}
    (optimizer,) = MTASRTask.build_optimizers(args, MTASRTask.build_model(args))
    assert sorted({group["lr"] for group in optimizer.param_groups}) == [0.5, 1.0]


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(freeze_param=["encoder.trunc"]), "freeze_param: .*encoder.trunc"),
        # ESPnet would freeze nothing at all here.
        (dict(freeze_param=["encoder.trun"]), "freeze_param: .*encoder.trun"),
        (dict(lr_scale={"encoder.brunches": 0.1}), "lr_scale: .*encoder.brunches"),
        (dict(lr_scale={"encoder": "half"}), "lr_scale: encoder: half is not a number"),
        (dict(freeze_param=["encoder", "teacher"]), "nothing is left to train"),
    ],
)
def test_wrong_optimizer_settings(args_of, changes, message):
    args = args_of(1, **changes)
    model = MTASRTask.build_model(args)
    freeze(model, args.freeze_param)
    with pytest.raises(UserError, match=message):
        MTASRTask.build_optimizers(args, model)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(encoder_conf=dict(num_layers=1)), "encoder_conf: .* num_layers"),
        (
            dict(encoder_conf=dict(model="no/such/folder")),
            "encoder_conf model: no/such/folder",
        ),
        (dict(encoder_conf=dict(num_trunk_layers=3)), "num_trunk_layers: 3"),
        (dict(separator_conf=dict(hidden=8)), "separator_conf: .* hidden;"),
        (dict(teacher_conf=dict(down=8)), "teacher_conf: .* down;"),
        (dict(teacher_conf=dict(downsample=5)), "teacher_conf downsample: 5"),
        (dict(teacher_conf=dict(lora=dict(rank=8))), "teacher_conf lora: rank"),
        (dict(model_conf=dict(alpha=0.5)), "model_conf: .* alpha;"),
        (dict(model_conf=dict(ctc_weight=2.0)), "model_conf: ctc_weight"),
        (dict(count_head_conf=dict(size=8)), "count_head_conf: .* size;"),
        (dict(talker_counts=[]), "talker_counts"),
        (dict(talker_counts=[0, 2]), "talker_counts"),
        (dict(encoder="wavlm"), "--encoder must be one of"),
    ],
)
def test_wrong_model_settings(args_of, changes, message):
    with pytest.raises(UserError, match=message):
        MTASRTask.build_model(args_of(2, **changes))


def test_teacher_without_llm(args_of):
    args = args_of(1)
    del args.teacher_conf["llm"]
    with pytest.raises(UserError, match="teacher_conf: LLMTeacher: .*'llm'"):
        MTASRTask.build_model(args)


def test_missing_token_list(args_of):
    for token_list, message in (("no/such.txt", "no/such.txt: no"), (None, "missing")):
        args = args_of(1)
        args.token_list = token_list
        for build in (
            MTASRTask.build_model,
            lambda args: MTASRTask.build_preprocess_fn(args, True),
        ):
            with pytest.raises(UserError, match=f"--token_list .*{message}"):
                build(args)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(separator_conf=dict(hidden=8)), "separator_conf: .* hidden;"),
        (dict(count_head_conf=dict(size=8)), "count_head_conf: .* size;"),
        (dict(optim_conf=dict(learning_rate=8)), "optim_conf: AdamW .*learning_rate"),
        (dict(optim="adamx"), "optim: adamx"),
        (dict(scheduler_conf=dict(warmup=8)), "scheduler_conf: .* warmup;"),
        (dict(scheduler="warmup"), "scheduler: warmup"),
        (dict(preprocessor_conf=dict(max_talkers=2)), "preprocessor_conf: .* max_talk"),
        (
            dict(preprocessor_conf=dict(dynamic_mixing_conf=dict(speed=[1.0]))),
            "dynamic_mixing_conf: DynamicMixer has no option speed",
        ),
        (
            dict(preprocessor_conf=dict(dynamic_mixing_conf=dict(speeds=1.0))),
            "dynamic_mixing_conf speeds: 1.0: give a list",
        ),
        (dict(teacher="gpt"), "--teacher must be one of"),
        (dict(teacher=None), "teacher: is missing"),
    ],
)
def test_check_args_finds_mistakes_before_anything_is_built(args_of, changes, message):
    changes.setdefault("preprocessor_conf", {})
    preprocessor_conf = changes.pop("preprocessor_conf")
    args = args_of(2, **changes)
    args.preprocessor_conf = preprocessor_conf
    with pytest.raises(UserError, match=message):
        MTASRTask.check_args(args)


def test_check_args_passes_what_is_right(args_of):
    for phase in (1, 2):
        MTASRTask.check_args(args_of(phase))


class TestBuildModelFromFile:
    @pytest.fixture(scope="class")
    def trained(self, folders, tmp_path_factory):
        """config.yaml as ESPnet dumps it, and weights, of a phase 2."""
        root = tmp_path_factory.mktemp("trained")
        config = phase_config(*folders, 2)
        path = write_config(root / "in.yaml", config)
        (root / "tokens.txt").write_text("\n".join(CHARACTERS) + "\n")
        args = MTASRTask.get_parser().parse_args(
            ["--config", str(path), "--token_list", str(root / "tokens.txt")]
        )
        model = MTASRTask.build_model(args)
        (root / "config.yaml").write_text(yaml.safe_dump(vars(args)))
        torch.save(model.state_dict(), root / "model.pth")
        return model, root

    def test_without_a_teacher_there_is_no_language_model(self, trained):
        wanted, root = trained
        model, args = MTASRTask.build_model_from_file(None, root / "model.pth")
        assert model.teacher is None and args.teacher is None
        state = wanted.state_dict()
        loaded = model.state_dict()
        assert set(loaded) == {n for n in state if not n.startswith("teacher.")}
        for name, value in loaded.items():
            assert torch.equal(value, state[name]), name

    def test_with_a_teacher(self, trained):
        wanted, root = trained
        model, _ = MTASRTask.build_model_from_file(
            root / "config.yaml", root / "model.pth", with_teacher=True
        )
        state = wanted.state_dict()
        assert set(model.state_dict()) == set(state)
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name]), name

    def test_lacking_surplus_and_misshapen_weights_are_named(self, trained, tmp_path):
        wanted, root = trained
        state = wanted.state_dict()
        name = "ctc.2.heads.0.ctc_lo.weight"
        for change, message in (
            (
                {n: v for n, v in state.items() if n != name},
                rf"missing weights \(1, .*{name}",
            ),
            ({**state, "ctc.9.x": state[name]}, r"unexpected weights \(1, .*ctc.9.x"),
            ({**state, name: state[name][1:]}, f"doesn't fit .*{name}"),
        ):
            torch.save(change, tmp_path / "model.pth")
            with pytest.raises(UserError, match=message) as e:
                MTASRTask.build_model_from_file(
                    root / "config.yaml", tmp_path / "model.pth"
                )
            assert "\n" not in str(e.value)

    def test_missing_files(self, trained, tmp_path):
        _, root = trained
        with pytest.raises(UserError, match="config.yaml: no such file"):
            MTASRTask.build_model_from_file(None, tmp_path / "model.pth")
        with pytest.raises(UserError, match="model.pth: no such file"):
            MTASRTask.build_model_from_file(
                root / "config.yaml", tmp_path / "model.pth"
            )
        with pytest.raises(UserError, match="give a config file or a model file"):
            MTASRTask.build_model_from_file()
