"""Results in the form of ESPnet's recipes.

`SET/score_wer/result.txt` has sclite's line of averages, which ESPnet's
show_asr_result.sh looks for; RESULTS.md has the table that this script makes.
"""

import importlib.metadata
import platform
import shutil
import subprocess
from datetime import date
from pathlib import Path
from typing import Any, Dict, List, Mapping

COLUMNS = ("Snt", "Wrd", "Corr", "Sub", "Del", "Ins", "Err", "S.Err")
REPOSITORY = Path(__file__).resolve().parents[2]


def environment_of() -> Dict[str, str]:
    """Return what ran: date, versions, and the commit with its date if there is one."""
    versions = {
        f"{name} version": importlib.metadata.version(package)
        for name, package in (("espnet", "espnet"), ("pytorch", "torch"))
    }
    found = {
        "date": date.today().isoformat(),
        "python version": platform.python_version(),
        **versions,
    }
    if (REPOSITORY / ".git").exists() and shutil.which("git") is not None:
        for name, words in (
            ("git hash", ["describe", "--always", "--dirty", "--abbrev=40"]),
            ("commit date", ["log", "-1", "--format=%cd"]),
        ):
            told = subprocess.run(
                ["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True
            )
            if told.returncode == 0:
                found[name] = told.stdout.strip()
    return found


def averages(result: Mapping[str, Any]) -> List[str]:
    """Return a set's figures in the order of `COLUMNS`, by cpWER's alignment.

    Args:
        result: Its entry in results.json; older ones lack S.Err.
    """
    words, mixtures = result["n_words"], result["n_utt"]
    counts = [result[name] for name in ("sub", "del", "ins")]
    shares = [words - counts[0] - counts[1], *counts, sum(counts)]
    percents = [f"{100 * number / words:.1f}" for number in shares]
    wrong = result.get("n_utt_with_errors")
    percents.append("-" if wrong is None else f"{100 * wrong / mixtures:.1f}")
    return [str(mixtures), str(words), *percents]


def sclite_files(results: Mapping[str, Any]) -> Dict[str, str]:
    """Return sclite's summary of each set: path to content."""
    return {
        f"{name}/score_wer/result.txt": _summary(averages(result))
        for name, result in results["sets"].items()
    }


def _summary(figures: List[str]) -> str:
    sizes, rates = " ".join(figures[:2]), " ".join(figures[2:])
    return f"""| SPKR | # Snt # Wrd | {" ".join(COLUMNS[2:])} |
| Sum/Avg | {sizes} | {rates} |
"""
