#!/usr/bin/env python3
"""Decode all sets with a trained arm, and write the measurements as one JSON file.

CTC models decode greedily, mixture by mixture, with the predicted and with the given
talker count. Without `--phase2_dir`, phase 1's language model decodes, with the search
that has the lowest cpWER on dev.
"""

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch

from espnet_mtasr.bin import mtasr_inference
from espnet_mtasr.errors import run_command_line
from espnet_mtasr.files import write_whole
from espnet_mtasr.scoring.error_counts import cp_errors
from espnet_mtasr.scoring.inputs import (
    read_hypotheses,
    read_oracle_hypotheses,
    read_references,
)
from espnet_mtasr.scoring.results import score_set

DEV = "dev"
# Searches of the language model: width of the beam, exponent of the length.
SEARCHES = ((1, 0.0), (4, 0.0), (4, 0.5), (4, 1.0))
KEYS = ("cpwer", "cpwer_ci95", "cpwer_oracle_count", "count_accuracy", "rtf")


def get_parser() -> argparse.ArgumentParser:
    """Return the parser of this command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arm", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--flat_start", type=int, required=True)
    parser.add_argument("--epoch_steps", type=int, required=True)
    parser.add_argument("--warmup_dir", type=Path, help="what phase 1 started from")
    parser.add_argument("--phase1_dir", type=Path)
    parser.add_argument("--phase2_dir", type=Path)
    parser.add_argument("--data_dir", type=Path, default=Path("dump/raw"))
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    return parser


def decode(
    data: Path, model: Path, decoder: str, output: Path, options: Sequence[str] = ()
) -> None:
    """Write a set's texts to `output`, and to `output/oracle` with given counts."""
    mtasr_inference.main(
        [
            *("--config", f"conf/decode{'_llm' if decoder == 'llm' else ''}.yaml"),
            *("--data_path_and_name_and_type", f"{data}/wav.scp,speech,sound"),
            *("--utt2num_spk", f"{data}/utt2num_spk", "--num_workers", "0"),
            *("--mtasr_model_file", str(model), "--output_dir", str(output)),
            *("--oracle_output_dir", str(output / "oracle"), "--log_level", "WARNING"),
            *options,
        ]
    )
    found = output / "1best_recog"
    seconds, audio, batch = map(float, (found / "rtf").read_text().split())
    report = {"rtf": seconds / audio, "batch_size": int(batch)}
    write_whole(found / "rtf.json", json.dumps(report))


def measure(data: Path, output: Path) -> Dict[str, Any]:
    """Score a set; `errors` and `words` have one number per mixture, by id."""
    references = read_references(data, (2, 3))
    hypotheses = read_hypotheses(output / "1best_recog", references)
    oracle = read_oracle_hypotheses(output / "oracle" / "1best_recog", references)
    report = score_set(references, hypotheses, oracle).report
    counts = {
        kind: [
            cp_errors(texts, found.texts.get(utt, []))
            for utt, texts in sorted(references.texts.items())
        ]
        for kind, found in (("errors", hypotheses), ("oracle_errors", oracle))
    }
    return {
        **{key: report[key] for key in KEYS},
        **{kind: [c.errors for c in values] for kind, values in counts.items()},
        "words": [c.words for c in counts["errors"]],
    }


def choose_search(data: Path, model: Path, output: Path) -> Dict[str, Any]:
    """Return the search with the lowest cpWER on dev, and the rates of all."""
    rates = {}
    for beam, exponent in SEARCHES:
        options = f"--beam_size {beam} --length_penalty {exponent}"
        folder = output / options.replace(" ", "_")
        decode(data, model, "llm", folder, options.split())
        rates[options] = measure(data, folder)["cpwer"]
    return {"search": min(rates, key=rates.__getitem__), "dev_cpwer_by_search": rates}


def training_of(folder: Optional[Path], criterion: str) -> Dict[str, Any]:
    """Return epochs, seconds and the best value on dev of a training."""
    if folder is None:
        return {"epochs": 0, "seconds": 0.0, "best": None}
    state = torch.load(folder / "checkpoint.pth", weights_only=False)
    stats = state["reporter"]["stats"]
    return {
        "epochs": len(stats),
        "seconds": sum(
            epoch["train"]["time"]["__timedelta_seconds__"] for epoch in stats.values()
        ),
        "best": min(e["valid"][criterion] for e in stats.values()),
    }


def main(cmd: Optional[List[str]] = None) -> None:
    """Decode, measure, write."""
    args = get_parser().parse_args(cmd)
    decoder, exp, name = "ctc", args.phase2_dir, "valid.loss_ctc.ave.pth"
    if args.phase2_dir is None:
        decoder, exp, name = "llm", args.phase1_dir, "valid.loss_sot.ave.pth"
    warmup = training_of(args.warmup_dir, "loss_ctc")
    first = training_of(args.phase1_dir, "loss_sot")
    second = training_of(args.phase2_dir, "loss_ctc")
    result: Dict[str, Any] = {
        "arm": args.arm,
        "seed": args.seed,
        "flat_start": args.flat_start,
        "warmup_steps": warmup["epochs"] * args.epoch_steps,
        "phase1_steps": first["epochs"] * args.epoch_steps,
        "phase2_steps": second["epochs"] * args.epoch_steps,
        "seconds": round(warmup["seconds"] + first["seconds"] + second["seconds"], 1),
        "dev_loss_sot": first["best"],
        "dev_loss_ctc": second["best"],
        "perplexity": None,
        "sets": {},
    }
    if args.phase1_dir is not None:
        checks = json.loads((args.phase1_dir / "perplexity.json").read_text())
        result["perplexity"] = {
            count: {key: round(check[key], 4) for key in ("right", "other")}
            for count, check in checks.items()
        }
    decoded = args.output.parent / "decoded"
    if decoder == "llm":
        result.update(choose_search(args.data_dir / DEV, exp / name, decoded))
    options = result.get("search", "").split()
    for data_set in args.sets:
        output = decoded / data_set
        data = args.data_dir / data_set
        decode(data, exp / name, decoder, output, options)
        result["sets"][data_set] = measure(data, output)
    write_whole(args.output, json.dumps(result) + "\n")


if __name__ == "__main__":
    run_command_line(main)
