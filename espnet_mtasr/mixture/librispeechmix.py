"""LibriSpeechMix's lists: mixtures of 1 to 3 LibriSpeech utterances, without noise.

Source: Kanda et al., "Serialized Output Training for End-to-End Overlapped Speech
Recognition", Interspeech 2020, and their lists in JSON lines: `id`, `texts`, `wavs`
(relative to LibriSpeech's folder, with the suffix of WAV), `delays` (seconds),
`durations` (seconds). Gains are 1. Fields for talker profiles are not used.
"""

import json
import math
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

from espnet_mtasr.data.names import check_below, check_name
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.metadata import MixtureRow


def read_librispeechmix(path: Union[str, Path]) -> List[MixtureRow]:
    """Read a list; talkers keep its order, onsets are its delays.

    A mixture's id is the last part of the list's (`test-clean-2mix-0000`).

    Raises:
        UserError: there is no such file, a line isn't JSON or lacks a field, lengths of
            fields differ, a delay is bad, or an id occurs twice.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such list; get it from LibriSpeechMix")
    rows = []
    first_line: Dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        row = _parse_line(f"{path}:{number}", line)
        if row.mixture_id in first_line:
            raise UserError(
                f"{row.origin}: id {row.mixture_id} stands in line "
                f"{first_line[row.mixture_id]} too; keep one"
            )
        first_line[row.mixture_id] = number
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: has no mixtures; get it again")
    return rows


def _parse_line(where: str, line: str) -> MixtureRow:
    try:
        fields = json.loads(line)
    except ValueError as e:
        raise UserError(f"{where}: is not JSON ({e}); get the list again") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("id"), str):
        raise UserError(f"{where}: has no text in field id; get the list again")
    mixture_id = fields["id"].rsplit("/", 1)[-1]
    if len(mixture_id.split()) != 1:
        raise UserError(
            f"{where}: id {fields['id']!r} is empty or contains white space"
        )
    check_name(mixture_id, f"{where}: id")
    wavs = _column(where, fields, "wavs", str)
    if not wavs:
        raise UserError(f"{where}: field wavs is empty; remove the line")
    for path in wavs:
        check_below(path, f"{where}: wavs", "the corpus")
    n = len(wavs)
    delays = _column(where, fields, "delays", float, n)
    if not all(delay >= 0 for delay in delays):
        raise UserError(f"{where}: field delays has {delays}; onsets start at 0")
    seconds: Optional[Tuple[float, ...]] = None
    if "durations" in fields:
        seconds = _column(where, fields, "durations", float, n)
    texts = _column(where, fields, "texts", str, n)
    return MixtureRow(
        mixture_id, wavs, (1.0,) * n, delays, texts=texts, seconds=seconds, origin=where
    )


def _column(
    where: str, fields: Dict[str, Any], name: str, kind: type, n: Optional[int] = None
) -> Tuple[Any, ...]:
    """Return a list of texts or of finite numbers, with `n` values if given."""
    values = fields.get(name)

    def fits(value: Any) -> bool:
        if kind is str:
            return isinstance(value, str)
        return isinstance(value, (int, float)) and math.isfinite(value)

    if not isinstance(values, list) or not all(map(fits, values)):
        wanted = "numbers" if kind is float else "texts"
        raise UserError(
            f"{where}: field {name} is not a list of {wanted}; fix the line"
        )
    if n is not None and len(values) != n:
        raise UserError(
            f"{where}: field {name} has {len(values)} values, wavs {n}; fix the line"
        )
    return tuple(map(kind, values))
