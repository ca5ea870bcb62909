"""Checks of the parts that a multi-talker model is made of (see mtasr_model.py)."""

from typing import Dict, Optional, Sequence

import torch


def check_parts(model: torch.nn.Module) -> None:
    """Raise `ValueError` if a weight is out of range, or lacks the part it needs.

    Args:
        model: An `MTASRModel`.
    """
    if not 0.0 <= model.ctc_weight <= 1.0:
        raise ValueError(f"ctc_weight must be in [0, 1]: {model.ctc_weight}")
    if model.count_weight < 0.0:
        raise ValueError(f"count_weight must not be negative: {model.count_weight}")
    if model.ctc_weight > 0.0 and (model.separator is None or model.ctc is None):
        raise ValueError(f"ctc_weight {model.ctc_weight} needs separator and ctc")
    if model.teacher_every < 1:
        raise ValueError(f"teacher_every {model.teacher_every}: give 1 or more")
    if model.count_input not in ("trunk", "features"):
        raise ValueError(f"count_input {model.count_input}: choose trunk or features")
    if model.count_weight > 0.0 and model.count_head is None:
        raise ValueError(f"count_weight {model.count_weight} needs a count_head")
    if model.cpu_bfloat16 and not model.encoder.trunk.right_in_cpu_bfloat16:
        raise ValueError(
            "cpu_bfloat16: may be wrong with this encoder's convolutions; set it "
            "to false"
        )
    if model.activity_weight < 0.0:
        raise ValueError(f"activity_weight {model.activity_weight}: give 0 or more")
    if model.activity_weight > 0.0 and model.count_weight == 0.0:
        raise ValueError(
            f"activity_weight {model.activity_weight} is the talker-count head's, "
            f"which count_weight 0 leaves out; set it to 0 too"
        )


def per_count(
    modules: Optional[Dict[int, torch.nn.Module]],
    talker_counts: Sequence[int],
    name: str,
) -> Optional[torch.nn.ModuleDict]:
    """Return a part that each talker count has, in the order of the counts.

    Args:
        modules: By talker count; None: the model has no such part.
        talker_counts: The encoder's.
        name: Of the part.

    Raises:
        ValueError: the counts are others than the encoder's.
    """
    if modules is None:
        return None
    if set(modules) != set(talker_counts):
        raise ValueError(
            f"{name} for {sorted(modules)} talkers, encoder for {talker_counts}"
        )
    return torch.nn.ModuleDict({str(count): modules[count] for count in talker_counts})
