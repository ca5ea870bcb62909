"""Public address of this package's code, for a model card's install line."""

import json
import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Optional

ROOT = Path(__file__).parents[2]
# Over HTTPS, perhaps with somebody's token; or over SSH.
ADDRESS = re.compile(
    r"(?:git\+)?(?:https?://(?:[^/@]*@)?|ssh://git@|git@)"
    r"(?P<host>[^/:@]+\.[^/:@]+(?::\d+(?=/))?)[/:](?P<path>[^@?#]+?)(?:\.git)?/?"
)


def repository_of_package() -> Optional[str]:
    """Return the address of the repository that this package is a clone of.

    None: it has none that others could reach, or was installed from a folder.
    """
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "remote", "get-url", "origin"]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return public_address(done.stdout.strip())
    try:
        # What pip notes of `pip install git+URL`.
        noted = distribution("espnet_mtasr").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    return public_address(json.loads(noted or "{}").get("url", ""))


def public_address(url: str) -> Optional[str]:
    """Return a repository's address over HTTPS; None: it has none.

    >>> public_address("git@github.com:some/name.git")
    'https://github.com/some/name'
    >>> public_address("https://me:secret@gitlab.com/a/b/c/")
    'https://gitlab.com/a/b/c'
    >>> public_address("/home/me/name") is public_address("file:///home/me") is None
    True
    """
    found = ADDRESS.fullmatch(url)
    return found and f"https://{found['host']}/{found['path']}"
