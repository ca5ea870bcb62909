"""What may make a mixture hard to transcribe, and its table `utt2conditions`.

A line is an id and a JSON object. The table is beside `text`. If the mixtures' parts
are known, mixture/conditions.py computes it.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Optional, Union

from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError

TABLE = "utt2conditions"
SAME, MIXED = GENDERS = ("same", "mixed")
NUMBERS = ("onset_gap", "snr", "level_difference")


@dataclass(frozen=True)
class Conditions:
    """Conditions of a mixture; None if one doesn't apply or isn't known.

    Attributes:
        onset_gap: The smallest time between two onsets, in seconds.
        snr: Energy of all talkers together / energy of the noise, in dB.
        level_difference: The loudest talker's level minus the softest's, in dB.
        genders: `same`: all talkers have the same gender; `mixed`: men and women.
    """

    onset_gap: Optional[float] = None
    snr: Optional[float] = None
    level_difference: Optional[float] = None
    genders: Optional[str] = None

    def __post_init__(self) -> None:
        for name in NUMBERS:
            value = getattr(self, name)
            known = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (known and math.isfinite(value)):
                raise ValueError(f"{name} {value!r} is not a number")
            if value is not None and name != "snr" and value < 0:
                raise ValueError(f"{name} {value!r} is below 0")
        if self.genders not in (None, *GENDERS):
            raise ValueError(f"genders {self.genders!r} is not one of {GENDERS}")

    def to_line(self) -> str:
        """Return all fields as JSON.

        >>> Conditions(0.5, genders="same").to_line()
        '{"onset_gap": 0.5, "snr": null, "level_difference": null, "genders": "same"}'
        """
        return json.dumps(asdict(self))


def read_conditions(path: Union[str, Path]) -> Dict[str, Conditions]:
    """Read a table `utt2conditions`: utterance id to conditions.

    Raises:
        UserError: see `read_table`; or a line isn't a JSON object with these fields.
    """
    return {utt: _parse(line, path, utt) for utt, line in read_table(path).items()}


def _parse(line: str, path: Union[str, Path], utt: str) -> Conditions:
    try:
        return Conditions(**json.loads(line))
    except (TypeError, ValueError) as e:
        raise UserError(
            f"{path}: {utt}: not the conditions of a mixture ({e}); remove the file "
            f"and run stage 13 again"
        ) from None
