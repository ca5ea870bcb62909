"""Is what setup.py asks for installed in the Python that runs this?

Reads setup.py's literals and the installed packages' metadata: no package is imported,
so it takes a tenth of a second. One line and exit code 2 if something is missing.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ((3, 12), (3, 13))


def read_requirements(setup_py: Path, extras: list[str]) -> list[str]:
    """`install_requires` and the named extras, in setup.py's order."""
    for node in ast.walk(ast.parse(setup_py.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup":
            given = {k.arg: k.value for k in node.keywords}
            wanted = ast.literal_eval(given["install_requires"])
            by_extra = ast.literal_eval(given["extras_require"])
            return wanted + [r for extra in extras for r in by_extra[extra]]
    raise ValueError(f"{setup_py}: no call of setup()")


def release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "2.14.1+cpu" is (2, 14, 1)."""
    return tuple(int(n) for n in re.match(r"\d+(\.\d+)*", version)[0].split("."))


def is_met(requirement: str) -> bool:
    """Whether the installed version satisfies a `name`, `name>=x` or `name==x`."""
    name, operator, wanted = re.fullmatch(
        r"([\w.-]+)(?:(>=|==)([\w.]+))?", requirement
    ).groups()
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    if operator == ">=":
        return release(installed) >= release(wanted)
    return operator is None or release(installed) == release(wanted)


def main(cmd=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--extras", nargs="*", default=[], help="setup.py's extras")
    args = parser.parse_args(cmd)

    def fail(what: str) -> int:
        print(f"the active environment {sys.prefix} {what}", file=sys.stderr)
        return 2

    if sys.version_info[:2] not in PYTHONS:
        return fail(
            f"has Python {sys.version_info[0]}.{sys.version_info[1]}, and 3.12 or 3.13 "
            "is needed: activate another, or deactivate it to let tools/setup.sh make "
            "one"
        )
    wanted = read_requirements(ROOT / "setup.py", args.extras)
    missing = [r for r in wanted if not is_met(r)]
    if missing:
        command = [sys.executable, "-m", "pip", "install", "-c"]
        command += [str(ROOT / "tools" / "constraints.txt"), *missing]
        return fail(f"lacks {', '.join(missing)}: run `{shlex.join(command)}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
