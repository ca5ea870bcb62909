"""Files that appear whole or not at all."""

import os
from pathlib import Path
from typing import Sequence, Union


def write_whole(path: Union[str, Path], content: str) -> None:
    """Write text so that nobody ever sees a half-written file; makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(content, encoding="utf-8")
    os.replace(part, path)


def write_list(path: Union[str, Path], lines: Sequence[str]) -> None:
    """Write `lines` to a file, or remove the file if there are none."""
    if lines:
        write_whole(path, "\n".join(lines) + "\n")
    else:
        Path(path).unlink(missing_ok=True)
