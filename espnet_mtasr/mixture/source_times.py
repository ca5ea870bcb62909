"""Word times of source recordings: lines of JSON, one per recording.

`{"path": PATH, "words": [[START, END], ...]}`, in seconds at the recorded speed.
tasks/source_alignment.py writes them, and a flat start uses them (asr/flat_start.py).
"""

import json
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Union

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_list
from espnet_mtasr.mixture.spec import Span


def write_source_times(
    path: Union[str, Path], times: Mapping[str, Sequence[Span]]
) -> None:
    """Write the word times of recordings, by path."""
    lines = [
        json.dumps({"path": source, "words": [[round(t, 3) for t in s] for s in spans]})
        for source, spans in sorted(times.items())
    ]
    write_list(path, lines)


def read_source_times(path: Union[str, Path]) -> Dict[str, List[Span]]:
    """Read what `write_source_times` wrote.

    Raises:
        UserError: there is no such file, or a line has another form.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; run align_sources, which makes it")
    times = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            spans = [(float(start), float(end)) for start, end in entry["words"]]
            times[entry["path"]] = spans
        except (ValueError, KeyError, TypeError) as e:
            raise UserError(
                f"{path}:{number}: is not a line of word times; run align_sources again"
            ) from e
    return times
