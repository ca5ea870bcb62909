"""Mistakes in configurations are found before stage 1."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from espnet_mtasr.bin.check_config import check_training, decoding_options, main
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
    for decode in (
        "decode.yaml",
        "decode_beam.yaml",
        "decode_ngram.yaml",
        "decode_llm.yaml",
    ):
        main(["--inference_config", str(CONF / decode)])
    main(["--phase1_config", str(CONF / "train_phase1.yaml")])


def test_it_says_nothing_of_libraries():
    """It is the first thing that run.sh does."""
    command = [sys.executable, "-m", "espnet_mtasr.bin.check_config"]
    command += ["--phase2_config", str(PHASE_2)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CONF.parent)
    assert (done.returncode, done.stderr) == (0, "")


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
        check_training(changed(tmp_path, **changes))


def test_unknown_inference_key(tmp_path):
    path = tmp_path / "decode.yaml"
    path.write_text("beam: 3\n")
    with pytest.raises(UserError, match="decode.yaml: unknown key beam; remove it"):
        main(["--inference_config", str(path)])


SOT = "valid.loss_sot"


@pytest.mark.parametrize(
    "name, good",
    [
        (f"{SOT}.ave.pth", True),
        (f"{SOT}.best.pth", True),
        (f"{SOT}.ave_2best.pth", True),
        (f"{SOT}.ave_5best.pth", False),
        ("valid.acc.ave.pth", False),
        ("latest.pth", True),
        ("3epoch.pth", True),
        ("4epoch.pth", False),
        ("exp/latest.pth", False),
        ("nonsense.pth", False),
        ("mine.pth", True),
    ],
)
def test_checkpoints_that_a_training_writes(tmp_path, name, good):
    (tmp_path / "mine.pth").touch()
    words = ["--phase1_config", str(CONF / "train_phase1.yaml")]
    words += ["--phase1_args=--max_epoch 3 --keep_nbest_models 2"]
    words += ["--phase1_model", str(tmp_path), name]
    if good:
        main(words)
        return
    message = f"--phase1_model {name}: the training writes no such file; give {SOT}.ave"
    with pytest.raises(UserError, match=f"^{re.escape(message)}.* N up to 3$"):
        main(words)


@pytest.mark.parametrize(
    "model, message",
    [
        ("/no/such.zip", "--aligned_start: model /no/such.zip: no such file; give"),
        ("./no", "--aligned_start: model ./no: is not a folder, a file, a model on"),
        ("owner/name@main", None),
        (str(CONF), None),
    ],
)
def test_the_model_of_an_aligned_start(model, message):
    if message is None:
        main(["--aligned_start", model])
        return
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        main(["--aligned_start", model])


@pytest.mark.parametrize(
    "phase, options, message",
    [
        (2, "--model_conf ctc_wieght=1.0", "MTASRModel has no option ctc_wieght"),
        (2, "--max_epok 3", "unrecognized arguments: --max_epok 3"),
        (1, "--optim_conf lrr=1", "optim_conf: .* has no option lrr"),
        (1, "--batch_seconds", "--batch_seconds: expected one argument"),
        (2, "--use_deepspeed true", "use_deepspeed: is not supported; leave it out; "),
        (2, "--deepspeed_config x.json", "deepspeed_config: is not supported"),
        (1, "--sharded_ddp true", "sharded_ddp: is not supported; leave it out; gra"),
        (1, "--use_adapter true", "use_adapter: .* LoRA of its own .teacher_conf"),
        (2, "--exclude_weight_decay true", "exclude_weight_decay: is not supported"),
        (2, "--pretrain_path a.pth", "pretrain_path: .*; give --init_param"),
        (2, "--multi_task_dataset true", "multi_task_dataset: is not supported; give"),
        (2, "--iterator_type chunk", "iterator_type: chunk is not supported; set it"),
        (2, "--valid_iterator_type task", "valid_iterator_type: task is not support"),
        (2, "--ngpu 2", "--ngpu 2: several GPUs need a process each; add --multipro"),
    ],
)
def test_options_of_the_trainings(phase, options, message):
    """They are found before stage 1, not when phase 1 has trained for days."""
    config = CONF / f"train_phase{phase}.yaml"
    words = [f"--phase{phase}_config", str(config), f"--phase{phase}_args={options}"]
    with pytest.raises(UserError, match=f"^{config} with {options}: .*{message}"):
        main(words)


def test_what_all_trainings_get():
    words = ["--phase2_config", str(PHASE_2), "--task_options", "--talker_counts"]
    main([*words, "2", "3"])
    with pytest.raises(UserError, match="--talker_counts: invalid int value: 'x'"):
        main([*words, "x"])


def test_what_mtasr_sh_reads(tmp_path, capsys):
    def told(*words):
        main(["--inference_config", *map(str, words)])
        return capsys.readouterr().out.split()[1::2]

    phase_2 = ["--phase2_config", PHASE_2]
    assert told(CONF / "decode_beam.yaml", *phase_2) == ["ctc", "true", "0"]
    without = "--phase2_args=--model_conf ctc_weight=1.0"
    assert told(CONF / "decode.yaml", *phase_2, without) == ["ctc", "false", "0"]
    changes = ["--phase2_config", changed(tmp_path, teacher=None), without]
    assert told(CONF / "decode.yaml", *changes) == ["ctc", "false", "0"]
    curriculum = [
        dict(from_epoch=1, shares={2: 1.0}),
        dict(from_epoch=4, shares={3: 1.0}),
    ]
    begins = ["--phase2_config", changed(tmp_path, curriculum=curriculum)]
    more = ["--phase2_args=--batch_seconds 9 --batch_type folded"]
    assert told(CONF / "decode.yaml", *begins, *more)[2] == "0"
    real = (
        CONF.parents[2] / "mini_librispeech_mix/mtasr1/conf/tuning/train_ctc_cpu.yaml"
    )
    assert told(CONF / "decode.yaml", "--phase2_config", real)[2] == "6"
    assert told(CONF / "decode_llm.yaml") == ["llm", "false", "0"]
    assert told(CONF / "decode.yaml", "--inference_args=--decoder llm")[0] == "llm"


def test_decoders(tmp_path):
    path = tmp_path / "decode.yaml"
    path.write_text("decoder: lmm\n")
    with pytest.raises(UserError, match="--decoder lmm: choose one of ctc, llm"):
        decoding_options(str(path))


def test_what_stage_4_cannot_draw(tmp_path):
    conf = dict(dynamic_mixing_conf=dict(cut_at_pauses=True))
    path = changed(tmp_path, preprocessor_conf=conf)
    main(["--phase2_config", path])
    with pytest.raises(UserError, match="cut_at_pauses needs .* --drawn_epochs 0"):
        main(["--phase2_config", path, "--draws", "true"])
