"""Mistakes in configurations are found before stage 1."""

from pathlib import Path

import pytest
import yaml

from espnet_mtasr.bin.check_config import decoder_of, has_teacher, main
from espnet_mtasr.errors import UserError

CONF = (
    Path(__file__).resolve().parents[3] / "egs2" / "mini_librimix" / "mtasr1" / "conf"
)
PHASE_2 = CONF / "train_phase2.yaml"


def changed(tmp_path, **changes):
    conf = yaml.safe_load(PHASE_2.read_text())
    for key, value in changes.items():
        if isinstance(value, dict):
            value = {**conf.get(key, {}), **value}
        conf[key] = value
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(conf))
    return str(path)


def test_the_recipes_own_are_right():
    for decode in ("decode.yaml", "decode_beam.yaml", "decode_llm.yaml"):
        main(["--inference_config", str(CONF / decode)])
    main(["--train_configs", str(CONF / "train_phase1.yaml"), str(PHASE_2)])


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(max_epok=3), "max_epok"),
        (dict(separator="gru"), "gru"),
        (dict(separator_conf=dict(layers=3)), "separator_conf: .*has no option layers"),
        (dict(encoder_conf=dict(trunk=3)), "encoder_conf: .*has no option trunk"),
        (
            dict(model_conf=dict(alpha=0.3)),
            "model_conf: MTASRModel has no option alpha",
        ),
        (dict(teacher_conf=dict(prompt="x")), "teacher_conf: .*has no option prompt"),
        (dict(ctc_conf=dict(dropout_rate=0.1)), "ctc_conf: is not used by this task"),
        (dict(init="xavier_uniform"), "init: is not used by this task"),
    ],
)
def test_unknown_keys_and_classes(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        main(["--train_configs", changed(tmp_path, **changes)])


def test_unknown_inference_key(tmp_path):
    path = tmp_path / "decode.yaml"
    path.write_text("beam: 3\n")
    with pytest.raises(UserError, match="decode.yaml: unknown key beam; remove it"):
        main(["--inference_config", str(path)])


def test_has_teacher(tmp_path):
    assert has_teacher(str(PHASE_2))
    assert not has_teacher(str(PHASE_2), "--model_conf", "ctc_weight=1.0")
    assert not has_teacher(changed(tmp_path, teacher=None))


def test_decoder(tmp_path, capsys):
    for name, decoder in (
        ("decode", "ctc"),
        ("decode_beam", "ctc"),
        ("decode_llm", "llm"),
    ):
        main(["--decoder", str(CONF / f"{name}.yaml"), "--batch_size", "8"])
        assert capsys.readouterr().out == f"{decoder}\n"
    assert decoder_of(str(CONF / "decode.yaml"), "--decoder", "llm") == "llm"
    path = tmp_path / "decode.yaml"
    path.write_text("decoder: lmm\n")
    with pytest.raises(UserError, match="--decoder lmm: choose one of ctc, llm"):
        decoder_of(str(path))
