"""Figures of the model that ships as `speech`, and their tables in the recipe's page.

    python -m tools.speech_results ship --packed mtasr_speech.zip --decoding DECODING
    python -m tools.speech_results keep --decoding DECODING --no_speech no_speech.json \
        --ages SPEECHOCEAN762/test/spk2age
    python -m tools.speech_results show

DECODING is exp/mtasr_speech/decode_ngram_CHECKPOINT, by `./run.sh --download_model
mtasr_speech.zip --inference_config conf/decode_ngram.yaml --stage 12 --stop_stage 13`.
`ship` puts its results and today's card into the package's copy of the model.

`keep` reads the same results and the figures of tools.bench.no_speech, and compares
texts of adults and of children. Neither changes a figure.
"""

import argparse
import json
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import yaml

from espnet_mtasr.errors import UserError, run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.mixture.spec import MixtureSpec, read_specs
from espnet_mtasr.model_zoo.model_files import KNOWN_MODELS
from espnet_mtasr.publishing.model_card import (
    FACTS_FILE,
    read_recipe_entries,
    write_card,
)
from espnet_mtasr.publishing.packing import compressed
from espnet_mtasr.scoring.error_counts import ErrorCounts, cp_errors
from espnet_mtasr.scoring.inputs import read_hypotheses, read_references
from espnet_mtasr.scoring.markdown import format_main_table, format_table
from espnet_mtasr.scoring.results import round_floats
from espnet_mtasr.scoring.tables import Table, number
from tools.kept_results import REAL_SPEECH, ROOT, kept_file, read, read_results
from tools.marked_text import put

NAME = "speech"
KEPT = kept_file(NAME)
PAGE = REAL_SPEECH / "README.md"
CARD = REAL_SPEECH / "conf" / "model_card_speech.yaml"
TALKER_COUNTS = (1, 2, 3)
# speechocean762's children are at most 15 years old, its adults at least 19.
GROWN_UP = 18
ADULTS, CHILDREN, BOTH = GROUPS = ("adults", "children", "both")
# local/lay_out_corpora.py puts the corpus before its talkers' names.
PREFIX = "so"


def group_of(spec: MixtureSpec, ages: Mapping[str, int]) -> str:
    """Return which of `GROUPS` a mixture's talkers are.

    Raises:
        KeyError: a talker isn't of speechocean762, or has no age.
    """
    grown = {ages[source.talker] >= GROWN_UP for source in spec.sources}
    return BOTH if len(grown) == 2 else ADULTS if grown == {True} else CHILDREN


def by_age(
    data: Path, decoding: Path, ages: Mapping[str, int]
) -> Dict[str, Dict[str, Any]]:
    """Return mixtures, words and cpWER in percent of the groups of a set."""
    references = read_references(data, TALKER_COUNTS)
    found = read_hypotheses(decoding, references).texts
    errors: Dict[str, List[ErrorCounts]] = {group: [] for group in GROUPS}
    for utt, spec in read_specs(data / "utt2mixture").items():
        counts = cp_errors(references.texts[utt], found.get(utt, []))
        errors[group_of(spec, ages)].append(counts)
    return {
        group: dict(mixtures=len(some), n_words=total.words, cpwer=total.percent)
        for group, some in errors.items()
        if some and (total := sum(some, ErrorCounts()))
    }


def own_name(model: str) -> str:
    """Return the model's own name for its place on the machine.

    >>> own_name("/home/me/some.zip (best.safetensors)")
    'speech/best.safetensors'
    """
    checkpoint = re.search(r"\((.*)\)$", model)
    return f"{NAME}/{checkpoint[1]}" if checkpoint else NAME


def ship(packed: Path, decoding: Path, output: Path) -> None:
    """Write a packed model with its results, and its card with them."""
    results = read_results(decoding / "results.json")
    measured = results["model"]
    results["model"] = own_name(measured)
    with tempfile.TemporaryDirectory() as temporary:
        folder, archive = Path(temporary, "model"), Path(temporary, f"{NAME}.zip")
        with zipfile.ZipFile(packed) as f:
            names = f.namelist()
            f.extractall(folder)
        facts = yaml.safe_load((folder / FACTS_FILE).read_text(encoding="utf-8"))
        facts["recipe"] = read_recipe_entries(CARD)
        facts["model_file"] = Path(results["model"]).name
        facts["model_sha256"] = results["model_sha256"]
        written = {
            FACTS_FILE: yaml.safe_dump(facts, sort_keys=False, allow_unicode=True),
            "results.json": json.dumps(results, indent=2, ensure_ascii=False) + "\n",
            "RESULTS.md": (decoding / "RESULTS.md")
            .read_text(encoding="utf-8")
            .replace(measured, results["model"]),
        }
        for name, content in written.items():
            write_whole(folder / name, content)
        write_card(folder, NAME)
        with zipfile.ZipFile(archive, "w") as f:
            for name in dict.fromkeys([*names, *written]):
                f.write(folder / name, name)
        write_whole(output, compressed(archive).read_bytes())


def keep(args: argparse.Namespace) -> None:
    """Write all figures into one file."""
    kept = read_results(args.decoding / "results.json")
    kept["model"] = own_name(kept["model"])
    # The corpus's own table isn't sorted.
    lines = args.ages.read_text(encoding="utf-8").splitlines()
    ages = {f"{PREFIX}{talker}": int(age) for talker, age in map(str.split, lines)}
    kept["by_age"] = {
        name: by_age(args.data / name, args.decoding / name, ages)
        for name in kept["sets"]
        if name.startswith(f"test_{PREFIX}")
    }
    without = read(args.no_speech)
    kept["no_speech"] = {k: without[k] for k in ("settings", "figures")}
    text = json.dumps(round_floats(kept), indent=2, ensure_ascii=False)
    write_whole(args.output, text + "\n")


def age_table(kept: Mapping[str, Any]) -> Table:
    """Return cpWER of adults and children, a row per set."""
    header = ["set", *(f"{group}, cpWER % (mixtures)" for group in GROUPS)]
    rows = []
    for name, groups in kept["by_age"].items():
        cells = [
            (
                f"{number(groups[group]['cpwer'], 1)} ({groups[group]['mixtures']})"
                if group in groups
                else "-"
            )
            for group in GROUPS
        ]
        rows.append([name, *cells])
    return Table(header, rows)


def count_table(kept: Mapping[str, Any]) -> Table:
    """Return how often the talker count is right, from no talker on."""
    rates = kept["no_speech"]["figures"]["counts"]
    counts = list(rates["silero-vad"])
    rows = [[way, *(number(by[c], 1) for c in counts)] for way, by in rates.items()]
    return Table(["talker count right %", *counts], rows)


def sound_table(kept: Mapping[str, Any]) -> Table:
    """Return how many sounds without speech get words: kinds that get any, and all."""
    rates = kept["no_speech"]["figures"]["sounds"]
    ways = [way for way in rates["all"] if way != "clips"]
    rows = [
        [kind, str(row["clips"]), *(number(row[way]["words"], 1) for way in ways)]
        for kind, row in rates.items()
        if kind == "all" or any(row[way]["words"] for way in ways[1:])
    ]
    return Table(["sounds, with words %", "recordings", *ways], rows)


def show(kept: Mapping[str, Any]) -> None:
    """Write the tables between their marks in the page."""
    put(PAGE, "speech", format_main_table(kept))
    put(PAGE, "speech, ages", format_table(age_table(kept)))
    put(PAGE, "speech, counts", format_table(count_table(kept)))
    put(PAGE, "speech, sounds", format_table(sound_table(kept)))


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep", help="collect the figures")
    add = keeping.add_argument
    add("--decoding", type=Path, required=True, help="folder with results.json")
    add("--ages", type=Path, required=True, help="speechocean762's test/spk2age")
    add("--no_speech", type=Path, required=True, help="tools.bench.no_speech's --json")
    add("--data", type=Path, default=REAL_SPEECH / "dump" / "raw")
    add("--output", type=Path, default=KEPT)
    shipping = commands.add_parser("ship", help="put results and card into the model")
    shipping.add_argument("--packed", type=Path, required=True, help="by mtasr_pack")
    shipping.add_argument("--decoding", type=Path, required=True)
    shipping.add_argument(
        "--output", type=Path, default=ROOT / "espnet_mtasr" / KNOWN_MODELS[NAME]
    )
    commands.add_parser("show", help="write the page's tables")
    return parser


def main(cmd: Optional[Sequence[str]] = None) -> None:
    """Ship, keep or show.

    Raises:
        UserError: a file is missing.
    """
    args = get_parser().parse_args(cmd)
    if args.command == "show":
        show(read(KEPT))
        return
    for option in ("packed", "ages", "no_speech"):
        path = getattr(args, option, None)
        if path is not None and not path.is_file():
            raise UserError(f"--{option} {path}: no such file; name another")
    if args.command == "ship":
        ship(args.packed, args.decoding, args.output)
    else:
        keep(args)


if __name__ == "__main__":
    run_command_line(main)
