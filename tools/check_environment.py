"""Check that the Python that runs this has everything that setup.py requires.

It reads setup.py's literals and the metadata of installed packages. It only imports
packaging, so it takes a tenth of a second. If something is missing, it prints one line
and exits with code 2.
"""

from __future__ import annotations

import argparse
import ast
import shlex
import sys
from importlib import metadata
from pathlib import Path

# An active environment is never changed.
sys.dont_write_bytecode = True

ROOT = Path(__file__).resolve().parent.parent


def read_requirements(setup_py: Path, extras: list[str]) -> list[str]:
    """Return `install_requires` and the named extras; `all` means every extra."""
    nodes = ast.walk(ast.parse(setup_py.read_text(encoding="utf-8")))
    given = {n.arg: n.value for n in nodes if isinstance(n, ast.keyword)}
    wanted = ast.literal_eval(given["install_requires"])
    by_extra = ast.literal_eval(given["extras_require"])
    if "all" in extras:
        extras = [name for name in by_extra if name != "all"]
    return wanted + [r for extra in extras for r in by_extra[extra]]


def is_met(requirement: str) -> bool:
    """Return whether the package is installed in a version that is allowed."""
    from packaging.requirements import Requirement

    asked = Requirement(requirement)
    try:
        return asked.specifier.contains(metadata.version(asked.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def main(cmd=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--extras", nargs="*", default=[], help="setup.py's extras")
    args = parser.parse_args(cmd)

    def fail(what: str) -> int:
        print(f"the active environment {sys.prefix} {what}", file=sys.stderr)
        return 2

    if sys.version_info[:2] not in ((3, 12), (3, 13)):
        return fail(
            "has Python %d.%d, and 3.12 or 3.13 is needed: activate another, or "
            "deactivate it to let tools/setup.sh make one" % sys.version_info[:2]
        )
    wanted = read_requirements(ROOT / "setup.py", args.extras)
    try:
        missing = [r for r in wanted if not is_met(r)]
    except ImportError:
        # No environment with transformers lacks packaging, so nothing here can be used.
        missing = ["packaging", *wanted]
    if missing:
        command = [sys.executable, "-m", "pip", "install", "-c"]
        command += [str(ROOT / "tools" / "constraints.txt"), *missing]
        return fail(f"lacks {', '.join(missing)}: run `{shlex.join(command)}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
