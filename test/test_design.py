"""doc/design.md and the import contract list the same packages, in the same order."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_packages_of_the_page_are_those_of_the_contract():
    page = (ROOT / "doc" / "design.md").read_text(encoding="utf-8")
    table = page.split("| package | contains |")[1].split("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    assert [re.findall(r"`(\w+)`", row) for row in rows] == [
        layer.split(" | ") for layer in layers
    ]
