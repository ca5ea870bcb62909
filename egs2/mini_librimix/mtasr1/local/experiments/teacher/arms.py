"""The table of trainings to compare, and the meaning of its rows."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type, TypeVar

import yaml

from espnet_mtasr.errors import UserError

Row = TypeVar("Row")


@dataclass(frozen=True)
class FirstPhase:
    """A phase 1.

    Attributes:
        epochs: Of it.
        llm: The recipe's or a `random` one.
        after: Arm without phase 1 and flat start whose encoder it starts from; None:
            the pretrained encoder.
    """

    epochs: int
    llm: str = "recipe"
    after: Optional[str] = None


@dataclass(frozen=True)
class Arm:
    """What is trained and measured.

    Attributes:
        arm: Its name in tables.
        seeds: One training each.
        epochs: Of phase 2; 0: phase 1's language model decodes.
        first_phase: Name of its phase 1; None: there is none.
        ctc_weight: Of phase 2; 1 builds no teacher.
        flat_start: Epochs of the flat start.
        teacher: Class of the teacher in phase 2, of controls.py; None: the recipe's.
    """

    arm: str
    seeds: Tuple[int, ...]
    epochs: int
    first_phase: Optional[str] = None
    ctc_weight: float = 1.0
    flat_start: int = 0
    teacher: Optional[str] = None

    def folder(self, seed: int) -> str:
        """Name of its folder, and key of its results."""
        start = f", flat start {self.flat_start}" if self.flat_start else ""
        return f"{self.arm}{start}, seed {seed}".replace(" ", "_")


@dataclass(frozen=True)
class Table:
    """What to run; see arms.yaml."""

    epoch_steps: int
    drawn_epochs: int
    first_phases: Dict[str, FirstPhase]
    arms: List[Arm]


def read_arms(path: Path) -> Table:
    """Read the table.

    Raises:
        UserError: it can't be read, a key is unknown or missing, two rows have the same
            name, or a row names an unknown phase 1 or lacks one that it needs.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as e:
        raise UserError(f"{path}: can't be read ({type(e).__name__})") from e
    content = dict(content)
    phases = {
        name: _make(FirstPhase, row, f"{path}: first_phases: {name}")
        for name, row in content.pop("first_phases", {}).items()
    }
    arms = []
    for row in content.pop("arms", []):
        row = {**row, "seeds": tuple(row.get("seeds", ()))}
        arms.append(_make(Arm, row, f"{path}: arms: {row.get('arm')}"))
    rows = {**content, "first_phases": phases, "arms": arms}
    table = _make(Table, rows, str(path))
    seen = set()
    for arm in arms:
        where = f"{path}: arms: {arm.arm}"
        if (arm.arm, arm.flat_start) in seen:
            raise UserError(f"{where}: is listed twice; rename one of them")
        seen.add((arm.arm, arm.flat_start))
        if arm.first_phase is not None and arm.first_phase not in phases:
            raise UserError(f"{where}: first_phases lacks {arm.first_phase}")
        needs = arm.epochs == 0 or arm.ctc_weight < 1.0
        if needs and arm.first_phase is None:
            raise UserError(f"{where}: has a teacher; name its first_phase")
    for name, phase in phases.items():
        if phase.after is not None and (phase.after, 0) not in seen:
            raise UserError(f"{path}: first_phases: {name}: no arm {phase.after}")
    return table


def _make(kind: Type[Row], row: Mapping[str, Any], where: str) -> Row:
    known = {f.name for f in fields(kind)}
    for key in row:
        if key not in known:
            raise UserError(f"{where}: unknown key {key}; remove it")
    try:
        return kind(**row)
    except TypeError as e:
        raise UserError(f"{where}: {e}") from e
