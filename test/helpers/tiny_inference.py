"""A saved model of random weights, as a training leaves it: config.yaml and model.pth.

Its weights are made large: it writes texts for noise, and others for other noise.
"""

from pathlib import Path
from typing import Any, List, Optional

import numpy as np
import torch
import yaml
from helpers.tiny_models import CHARACTERS, LORA, WAVLM_CONF

WORDS = ["<blank>", "<unk>", "had", "lunch", "good", "day", "<sos/eos>"]


def save_tiny_model(
    folder: Path,
    token_list: Optional[List[str]] = None,
    llm: Optional[Path] = None,
    ctc_weight: float = 0.7,
    count_weight: float = 1.0,
    **options: Any,
) -> Path:
    """Write `config.yaml` and `model.pth` into `folder`; return the latter.

    Args:
        folder: To be made.
        token_list: CTC tokens; None: characters.
        llm: Folder of the teacher's LM; None: the model was trained without teacher.
        ctc_weight: Of the model.
        count_weight: Of the model; 0: no talker-count head.
        options: Further entries of the training configuration.
    """
    from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump

    from espnet_mtasr.tasks.mtasr import MTASRTask

    folder.mkdir(parents=True)
    config = dict(
        input_size=1,
        token_type="char" if token_list is None else "word",
        encoder_conf=dict(
            num_trunk_layers=1, wavlm_conf=WAVLM_CONF, load_pretrained=False
        ),
        separator_conf=dict(hidden_size=8, num_layers=1, bidirectional=True),
        count_head_conf=dict(
            hidden_size=8, attention_size=4, num_context_layers=1, context_lstm_size=4
        ),
        teacher=None if llm is None else "llm",
        teacher_conf=(
            {} if llm is None else dict(llm=str(llm), downsample=2, lora=LORA)
        ),
        model_conf=dict(ctc_weight=ctc_weight, count_weight=count_weight),
    )
    draft = folder / "draft.yaml"
    draft.write_text(yaml.safe_dump({**config, **options}))
    args = MTASRTask.get_parser().parse_args(["--config", str(draft)])
    draft.unlink()
    args.token_list = token_list or CHARACTERS
    torch.manual_seed(0)
    model = MTASRTask.build_model(args)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "teacher" not in name:
                gain = 20.0 if "ctc_lo" in name else 2.0
                fan_in = parameter.numel() / len(parameter)
                torch.nn.init.normal_(parameter, std=gain * fan_in**-0.5)
    torch.save(model.state_dict(), folder / "model.pth")
    with (folder / "config.yaml").open("w") as f:
        yaml_no_alias_safe_dump(vars(args), f, indent=4, sort_keys=False)
    return folder / "model.pth"


def noises(*lengths: int) -> List[np.ndarray]:
    """Waveforms of noise whose color changes, float32, of so many samples."""
    rng = np.random.default_rng(7)
    waves = []
    for n in lengths:
        smooth = np.convolve(rng.standard_normal(n + 20), np.ones(20) / 20, "same")
        mixed = np.where(np.arange(n) // 1000 % 2, smooth[:n], rng.standard_normal(n))
        waves.append((0.1 * mixed).astype(np.float32))
    return waves
