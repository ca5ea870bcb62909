"""Chromium: tests that need it are skipped without it, or fail if REQUIRE_BROWSER=1."""

import importlib.util
import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_browser(*packages):
    """Return Chromium's path; skip or fail if it or one of the packages is missing."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if path is None:
        missing.append("Chromium (apt-get install chromium)")
    if missing:
        reason = f"needs {', '.join(missing)}"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason, allow_module_level=True)
    return path
