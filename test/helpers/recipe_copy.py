"""Copies of recipes: whole ones, and one with stand-ins that write down calls."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Optional

from helpers.warm_python import warm_python

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "egs2" / "mini_librimix" / "mtasr1"


def copy_mini_recipe(root: Path, run_sh: str) -> Path:
    """Return a recipe's folder with the real `local/`, `conf/` and TEMPLATE.

    Args:
        root: Where the repository's copy goes.
        run_sh: Lines of the stand-in for run.sh. Before them, it appends its folder and
            arguments to the file `calls`.
    """
    shutil.copytree(ROOT / "egs2" / "TEMPLATE", root / "egs2" / "TEMPLATE")
    recipe = root / "egs2" / "mini_librimix" / "mtasr1"
    recipe.mkdir(parents=True)
    for name in ("local", "conf"):
        shutil.copytree(MINI / name, recipe / name, symlinks=True)
    for name in ("utils", "path.sh", "cmd.sh"):
        (recipe / name).symlink_to(Path("../../TEMPLATE/mtasr1") / name)
    (root / "espnet_mtasr").symlink_to(ROOT / "espnet_mtasr")
    write_script(root / "tools" / "setup.sh", "exit 0")
    note = "import json, os, sys; print(json.dumps([os.getcwd(), *sys.argv[1:]]))"
    note = f"python -c '{note}' \"$@\" >>{recipe}/calls"
    write_script(recipe / "run.sh", f"{note}\n{run_sh}")
    return recipe


def copy_recipe(root: Path, name: str) -> Path:
    """Return the folder of a whole recipe, as in a fresh clone; links stay links.

    Args:
        root: Where the repository's copy goes: TEMPLATE, the recipe and the package.
        name: Of the recipe, in egs2.
    """
    left_by_runs = shutil.ignore_patterns("data", "downloads", "dump", "exp")
    for folder in ("TEMPLATE", name):
        shutil.copytree(
            ROOT / "egs2" / folder,
            root / "egs2" / folder,
            symlinks=True,
            ignore=left_by_runs,
        )
    (root / "espnet_mtasr").symlink_to(ROOT / "espnet_mtasr")
    return root / "egs2" / name / "mtasr1"


def copy_ready_recipe(root: Path, name: str) -> Path:
    """Do as `copy_recipe`, where the environment is there already."""
    write_script(root / "tools" / "setup.sh", "exit 0")
    return copy_recipe(root, name)


def copy_repository(root: Path) -> Path:
    """Return a copy with nothing that runs have left in it; links stay links."""

    def made_by_a_run(folder, names):
        made = ("data", "downloads", "dump", "exp") if "run.sh" in names else ()
        return [name for name in names if name in (*made, "__pycache__")]

    for name in ("egs2", "tools"):
        shutil.copytree(ROOT / name, root / name, symlinks=True, ignore=made_by_a_run)
    shutil.copy(ROOT / "setup.py", root)
    (root / "espnet_mtasr").symlink_to(ROOT / "espnet_mtasr")
    return root


def write_script(path: Path, lines: str) -> None:
    """Write an executable bash script."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{lines}\n")
    path.chmod(0o755)


def call(
    command, cwd: Path, timeout: Optional[float] = 60
) -> subprocess.CompletedProcess:
    """Run in the environment of this very Python; `python` is a warm one."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "VIRTUAL_ENV": sys.prefix}
    env["PATH"] = f"{warm_python()}:{Path(sys.executable).parent}:{env['PATH']}"
    # The recipe must find the package from its own place.
    env.pop("PYTHONPATH", None)
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def take_calls(recipe: Path):
    """Return the stand-in's calls so far, `[folder, argument...]`, and forget them."""
    path = recipe / "calls"
    if not path.exists():
        return []
    calls = [json.loads(line) for line in path.read_text().splitlines()]
    path.unlink()
    return calls
