"""The mini recipe's default run in the repository, and README's tables of it.

    python -m tools.kept_results keep --minutes 33.5   # after run and LLM decoding
    python -m tools.kept_results show                  # writes README's tables

`keep` reads what the run left: results.json of both phases (phase 1's by
`./run.sh --stage 12 --stop_stage 13 --inference_config conf/decode_llm.yaml`) and the
teacher's perplexities. It changes no figure.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.scoring.markdown import format_main_table
from tools.marked_text import put

ROOT = Path(__file__).resolve().parent.parent
EXP = ROOT / "egs2" / "mini_librimix" / "mtasr1" / "exp"
KEPT = ROOT / "doc" / "results" / "mini_librimix.json"
README = ROOT / "README.md"


def read(path: Path) -> Dict[str, Any]:
    """Read a JSON file of the run.

    Raises:
        UserError: it isn't there.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the recipe's stages first")
    return json.loads(path.read_text(encoding="utf-8"))


def keep(exp: Path, minutes: float, output: Path) -> None:
    """Put a run's results.json, time, perplexities and LLM decoding into one file."""
    kept = read(exp / "mtasr_phase2" / "results.json")
    checks = read(exp / "mtasr_phase1" / "perplexity_dev.json")
    decoded = read(exp / "mtasr_phase1" / "results.json")
    kept["minutes"] = minutes
    kept["perplexity"] = {
        count: {key: round(check[key], 4) for key in ("right", "other")}
        for count, check in checks.items()
    }
    kept["decode_llm"] = {name: r["cpwer"] for name, r in decoded["sets"].items()}
    write_whole(output, json.dumps(kept, indent=2, ensure_ascii=False) + "\n")


def teacher_table(kept: Mapping[str, Any]) -> str:
    """Return what the teacher hears and writes, a row per talker count."""
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


def show(kept: Mapping[str, Any], page: Path) -> None:
    """Write the tables into a page that has their marks."""
    put(page, "mini recipe", format_main_table(kept))
    put(page, "mini teacher", teacher_table(kept))


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep", help="collect a run's figures")
    keeping.add_argument("--expdir", type=Path, default=EXP)
    keeping.add_argument(
        "--minutes", type=float, required=True, help="stages 1 to 13 of the run"
    )
    keeping.add_argument("--output", type=Path, default=KEPT)
    showing = commands.add_parser("show", help="write README's tables")
    showing.add_argument("--results", type=Path, default=KEPT)
    showing.add_argument("--page", type=Path, default=README)
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Keep or show."""
    args = get_parser().parse_args(cmd)
    if args.command == "keep":
        keep(args.expdir, args.minutes, args.output)
    else:
        show(read(args.results), args.page)


if __name__ == "__main__":
    run_command_line(main)
