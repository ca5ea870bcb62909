"""Calibrate a model's scores and word times on a development set.

Confidences follow Platt scaling (Platt, 1999): a logistic function of the log odds that
the CTC gives. Probabilities of talker counts follow temperature scaling (Guo et al.,
"On Calibration of Modern Neural Networks", 2017). CTC need not emit a word while it
is spoken, so its frames are shifted by their measured offset from known word times.
"""

import json
import logging
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Dict, Mapping, Optional, Union

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole
from espnet_mtasr.model_zoo.model_files import CALIBRATION
from espnet_mtasr.onnx_model.manifest import is_of_checkpoint
from espnet_mtasr.transcription.calibration.log_odds import log_odds, logistic
from espnet_mtasr.transcription.calibration.rules import Rule


@dataclass(frozen=True)
class Calibration:
    """Numbers that turn scores and frames into confidences and times.

    Attributes:
        slope: Factor of the log odds, above 0.
        intercept: Added to them.
        start_seconds: Added to where CTC begins a word.
        end_seconds: Added to where it ends one.
        count_slope: Factor of the log probabilities of talker counts, above 0.
        speech: Tells speech from other sounds in which silero-vad hears speech; None:
            all that it hears is speech.
        longest_mixture: Seconds of the longest mixture that the model knows; None: not
            known.
        model: Name of the checkpoint that it was fitted with, as `Routing` has it, or
            None.
    """

    slope: float = 1.0
    intercept: float = 0.0
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    count_slope: float = 1.0
    speech: Optional[Rule] = None
    longest_mixture: Optional[float] = None
    model: Optional[str] = None

    @classmethod
    def beside(cls, model_file: Path) -> "Calibration":
        """Return a checkpoint's calibration; without one, what changes nothing.

        Raises:
            UserError: see `read`.
        """
        path = model_file.with_name(CALIBRATION)
        if not path.exists():
            return cls()
        found = cls.read(path)
        if found.model is None or is_of_checkpoint(found.model, model_file):
            return found
        logging.warning(
            f"{path}: is for {found.model}, and not used for {model_file.name}; run "
            "espnet_mtasr.bin.calibrate with it"
        )
        return cls()

    def count_probabilities(self, log_probs: Mapping[int, float]) -> Dict[int, float]:
        """Probabilities of talker counts, from a model's log probabilities.

        >>> half = Calibration(count_slope=0.5)
        >>> half.count_probabilities({2: math.log(0.9), 3: math.log(0.1)})
        {2: 0.75, 3: 0.25}
        """
        most = max(log_probs.values())
        odds = {
            n: math.exp(self.count_slope * (p - most)) for n, p in log_probs.items()
        }
        total = sum(odds.values())
        return {count: round(value / total, 4) for count, value in odds.items()}

    def confidence(self, probability: float) -> float:
        """Probability that a word is right to which CTC gives `probability`.

        >>> round(Calibration().confidence(0.75), 6)
        0.75
        >>> round(Calibration(slope=0.5).confidence(0.9), 6)
        0.75
        """
        return logistic(self.slope * log_odds(probability) + self.intercept)

    def is_sound(self) -> bool:
        """Whether all numbers are finite, and better scores give more confidence."""
        finite = all(math.isfinite(getattr(self, name)) for name in NUMBERS)
        rule = self.speech is None or self.speech.is_sound()
        longest = self.longest_mixture is None or 0 < self.longest_mixture < math.inf
        return finite and rule and longest and self.slope > 0 and self.count_slope > 0

    def write(self, path: Union[str, Path]) -> None:
        """Write as JSON.

        Raises:
            ValueError: `read` would refuse it.
        """
        if not self.is_sound():
            raise ValueError(f"not a calibration: {self}")
        values = {k: v for k, v in asdict(self).items() if v is not None}
        write_whole(path, json.dumps(values, indent=2) + "\n")

    @classmethod
    def read(cls, path: Union[str, Path]) -> "Calibration":
        """Read what `write` wrote.

        Raises:
            UserError: the file has other content.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            # Earlier files don't have it.
            values.setdefault("count_slope", 1.0)
            rule = values.pop("speech", None)
            longest = values.pop("longest_mixture", None)
            model = values.pop("model", None)
            found = cls(
                **{name: float(values.pop(name)) for name in NUMBERS},
                speech=None if rule is None else Rule(**rule),
                longest_mixture=None if longest is None else float(longest),
                model=None if model is None else str(model),
            )
            fits = not values and found.is_sound()
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            fits = False
        if not fits:
            raise UserError(
                f"{path}: lacks one of the numbers {', '.join(NUMBERS)}, or one is "
                "bad, or the rule `speech`; run espnet_mtasr.bin.calibrate again, or "
                "remove it"
            )
        return found


NUMBERS = [f.name for f in fields(Calibration) if f.default is not None]
