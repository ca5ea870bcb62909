"""Which lines of a log mtasr.sh takes for progress."""

import re
from pathlib import Path

UTILS = Path(__file__).resolve().parents[2] / "egs2/TEMPLATE/mtasr1/utils"


def counted(label, text):
    """Return what the step's pattern finds in a log: (done, all) of each line."""
    shell = "".join(path.read_text() for path in sorted(UTILS.glob("*.sh")))
    step = rf"with_progress \"{label}\" count --pattern '([^']+)'"
    (pattern,) = re.findall(step, shell)
    return [tuple(map(int, f)) for f in re.findall(pattern, text, re.MULTILINE)]
