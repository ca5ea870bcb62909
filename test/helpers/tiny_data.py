"""Tiny training data in the form that stages 7 and 10 leave, and configurations."""

from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np
import soundfile
import yaml
from helpers.tiny_models import CHARACTERS, LORA

from espnet_mtasr.data.tables import write_table

TEXTS = [
    "had had <sc> a b",
    "the sea <sc> over <sc> c",
    "bravo <sc> alpha",
    "a <sc> b b <sc> had",
    "over the <sc> sea",
    "c <sc> the <sc> alpha",
]


def make_tiny_data(
    folder: Path, llm: Path, copies: int = 1, texts: Sequence[str] = TEXTS
) -> Path:
    """Write wav.scp, text, utt2category, shape files and tokens.txt; return the folder.

    Mixtures of 2 and of 3 talkers, 0.6 to 0.9 s of noise, `copies` of 6 texts, unless
    other texts are given.
    """
    from espnet_mtasr.asr.teacher.llm_tokenizer import LLMTokenizer

    tokenizer = LLMTokenizer(str(llm))
    rng = np.random.default_rng(0)
    tables: Dict[str, Dict[str, Any]] = {
        name: {}
        for name in ("wav.scp", "text", "utt2category", "speech_shape", "text_shape")
    }
    folder.mkdir(parents=True)
    for k, text in enumerate([*texts] * copies):
        utt = f"utt{k:02d}"
        samples = int(16000 * (0.6 + 0.05 * (k % 7)))
        path = folder / f"{utt}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(samples), 16000, "PCM_16")
        row = (path, text, text.count("<sc>") + 1, samples, len(tokenizer.encode(text)))
        for table, value in zip(tables.values(), row):
            table[utt] = value
    for name, table in tables.items():
        write_table(folder / name, table)
    (folder / "tokens.txt").write_text("\n".join(CHARACTERS) + "\n")
    return folder


def phase_config(encoder: Path, llm: Path, phase: int) -> Dict[str, Any]:
    """A training configuration of phase 1 or 2 with tiny parts."""
    config = dict(
        talker_counts=[2, 3],
        input_size=1,
        encoder="routed_wavlm",
        encoder_conf=dict(model=str(encoder), num_trunk_layers=1),
        separator="lstm",
        separator_conf=dict(hidden_size=8, num_layers=1),
        count_head_conf=dict(hidden_size=8, attention_size=4),
        teacher="llm",
        teacher_conf=dict(llm=str(llm), downsample=2, lora=dict(LORA)),
        model_conf=dict(
            ctc_weight=0.0 if phase == 1 else 0.7,
            count_weight=0.0 if phase == 1 else 1.0,
            extract_feats_in_collect_stats=False,
        ),
        freeze_param=["encoder.trunk"] + (["teacher"] if phase == 2 else []),
        optim="adamw",
        optim_conf=dict(lr=0.01),
        lr_scale={"encoder.branches": 0.5},
        scheduler="warmuplr",
        scheduler_conf=dict(warmup_steps=2),
        grad_clip=1.0,
        max_epoch=2,
        batch_type="folded",
        batch_size=2,
        fold_length=[160000, 150],
        accum_grad=1 if phase == 1 else 2,
        num_workers=0,
        num_iters_per_epoch=4,
        seed=0,
        keep_nbest_models=2,
        best_model_criterion=[
            ["valid", "loss_sot" if phase == 1 else "loss_ctc", "min"]
        ],
        use_matplotlib=False,
        use_tensorboard=True,
        num_att_plot=0,
        log_interval=2,
        token_type="char",
        use_preprocessor=True,
    )
    return config


def write_config(path: Path, config: Dict[str, Any]) -> Path:
    """Write a configuration as YAML; return its path."""
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def training_options(data: Path) -> List[str]:
    """Options of mtasr_train that name the data; the same for training and validation.

    `utt2category` lies beside wav.scp, so batches hold one talker count.
    """
    options = ["--token_list", str(data / "tokens.txt"), "--ngpu", "0"]
    for part in ("train", "valid"):
        options += [
            f"--{part}_data_path_and_name_and_type",
            f"{data}/wav.scp,speech,sound",
            f"--{part}_data_path_and_name_and_type",
            f"{data}/text,text,text",
            f"--{part}_shape_file",
            f"{data}/speech_shape",
            f"--{part}_shape_file",
            f"{data}/text_shape",
        ]
    return options
