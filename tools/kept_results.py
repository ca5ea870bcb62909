"""Kept results of the recipes' default runs, and their tables in the pages.

    python -m tools.kept_results keep --minutes 33.5   # after run and LLM decoding
    python -m tools.kept_results show                  # writes the pages' tables

`keep` reads the run's results.json, and that of its decoding with an n-gram, if there
is one. For a recipe with a teacher, it also reads phase 1's (made by `./run.sh --stage
12 --stop_stage 13 --inference_config conf/decode_llm.yaml`) and the teacher's
perplexities. It changes no figure.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.scoring.markdown import format_main_table
from tools.marked_text import put

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


class Recipe(NamedTuple):
    """A run of a recipe of egs2 that is kept in doc/results.

    Attributes:
        folder: The recipe's.
        training: Folder in its exp that has the figures.
        teacher: The folder of phase 1; None: there is no teacher.
        page: The page with its table.
        table: The table's mark there.
        teacher_page: The page with the teacher's table.
        decoding: Folder in `training` with results.json, unless that is in it itself.
    """

    folder: Path
    training: str
    teacher: Optional[str]
    page: Path
    table: str
    teacher_page: Optional[Path] = None
    decoding: str = "."


def folder_of(name: str) -> Path:
    """Return the folder of a recipe."""
    return ROOT / "egs2" / name / "mtasr1"


REAL_SPEECH = folder_of("mini_librispeech_mix")
RECIPES = {
    "mini_librimix": Recipe(
        folder_of("mini_librimix"),
        "mtasr_phase2",
        "mtasr_phase1",
        README,
        "mini recipe",
        folder_of("mini_librimix") / "README.md",
    ),
    "mini_librispeech_mix": Recipe(
        REAL_SPEECH,
        "mtasr_ctc_cpu",
        None,
        REAL_SPEECH / "README.md",
        "real speech",
    ),
    "mini_librispeech_mix_teacher": Recipe(
        REAL_SPEECH,
        "mtasr_longer_cpu",
        None,
        REAL_SPEECH / "README.md",
        "real speech, teacher",
        decoding="decode_rescore_routingfalse_valid.loss_ctc.ave",
    ),
}


def kept_file(name: str) -> Path:
    """Return the file of a recipe's kept run."""
    return ROOT / "doc" / "results" / f"{name}.json"


def read(path: Path) -> Dict[str, Any]:
    """Read a JSON file of the run.

    Raises:
        UserError: it is missing.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the recipe's stages first")
    return json.loads(path.read_text(encoding="utf-8"))


def read_results(path: Path) -> Dict[str, Any]:
    """Read a results.json; its sets are sorted by name."""
    found = read(path)
    return {**found, "sets": dict(sorted(found["sets"].items()))}


def llm_decoding(training: Path) -> Path:
    """Find the results of phase 1's model, decoded by its language model.

    Raises:
        UserError: there are several of them.
    """
    found = sorted(training.glob("decode_llm*/results.json"))
    if len(found) > 1:
        raise UserError(
            f"{training}: was decoded in several ways ({found[0].parent.name}, "
            f"{found[1].parent.name}); remove all but one of these folders"
        )
    return found[0] if found else training / "results.json"


def keep(recipe: Recipe, exp: Path, minutes: float, output: Path) -> None:
    """Write a run's results.json, time, perplexities and LLM decoding into one file."""
    kept = read_results(exp / recipe.training / recipe.decoding / "results.json")
    kept["minutes"] = minutes
    for decoded_with_ngram in (exp / recipe.training).glob(
        "decode_ngram_*/results.json"
    ):
        kept["with_ngram"] = read_results(decoded_with_ngram)
    if recipe.teacher is not None:
        checks = read(exp / recipe.teacher / "perplexity_dev.json")
        decoded = read(llm_decoding(exp / recipe.teacher))
        kept["perplexity"] = {
            count: {key: round(check[key], 4) for key in ("right", "other")}
            for count, check in checks.items()
        }
        kept["decode_llm"] = {name: r["cpwer"] for name, r in decoded["sets"].items()}
    write_whole(output, json.dumps(kept, indent=2, ensure_ascii=False) + "\n")


def teacher_table(kept: Mapping[str, Any]) -> str:
    """Return the teacher's perplexities and cpWER, one row per talker count."""
    lines = [
        "| talkers | words' perplexity, right speech | another mixture's | ratio "
        "| cpWER % of the language model, clean / noisy |",
        "|---:|---:|---:|---:|---:|",
    ]
    for count, found in kept["perplexity"].items():
        written = [
            f"{cpwer:.1f}"
            for kind in ("clean", "noisy")
            for name, cpwer in kept["decode_llm"].items()
            if name.startswith("test") and name.endswith(f"{count}mix_{kind}")
        ]
        lines.append(
            f"| {count} | {found['right']:.2f} | {found['other']:.1f} | "
            f"{found['other'] / found['right']:.1f} | {' / '.join(written)} |"
        )
    return "\n".join(lines)


def show(recipe: Recipe, kept: Mapping[str, Any]) -> None:
    """Write the tables between their marks in the recipe's page."""
    put(recipe.page, recipe.table, format_main_table(kept))
    if "with_ngram" in kept:
        put(
            recipe.page,
            f"{recipe.table}, n-gram",
            format_main_table(kept["with_ngram"]),
        )
    if recipe.teacher_page is not None:
        put(recipe.teacher_page, "mini teacher", teacher_table(kept))


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep", help="collect a run's figures")
    keeping.add_argument("--recipe", choices=RECIPES, default="mini_librimix")
    keeping.add_argument("--expdir", type=Path, help="default: the recipe's exp")
    keeping.add_argument(
        "--minutes", type=float, required=True, help="stages 1 to 13 of the run"
    )
    keeping.add_argument("--output", type=Path, help="default: doc/results/RECIPE.json")
    commands.add_parser("show", help="write the pages' tables of the kept runs")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Keep or show."""
    args = get_parser().parse_args(cmd)
    if args.command == "keep":
        expdir = args.expdir or RECIPES[args.recipe].folder / "exp"
        output = args.output or kept_file(args.recipe)
        keep(RECIPES[args.recipe], expdir, args.minutes, output)
        return
    for name, recipe in RECIPES.items():
        show(recipe, read(kept_file(name)))


if __name__ == "__main__":
    run_command_line(main)
