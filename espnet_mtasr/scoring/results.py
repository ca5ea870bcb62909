"""Score sets, and write results.json, RESULTS.md and the small tables beside it.

The keys of results.json are those of the design's section "Results format". The
comparison itself is in `error_counts.py`; here its counts become a report. RESULTS.md
states what it was measured on, as icefall's RESULTS.md files do.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole
from espnet_mtasr.scoring.bootstrap import bootstrap_interval
from espnet_mtasr.scoring.breakdown import by_overlap, by_talkers
from espnet_mtasr.scoring.error_counts import ErrorCounts, cp_errors, fifo_errors
from espnet_mtasr.scoring.inputs import Hypotheses, References
from espnet_mtasr.scoring.talker_count import (
    MISSING,
    count_accuracy,
    count_confusion,
)

DECIMALS = 4


@dataclass(frozen=True)
class SetScore:
    """A set's entry in results.json, and its cpWER counts per true talker count."""

    report: Dict[str, Any]
    by_talkers: Dict[int, ErrorCounts]


def score_set(
    references: References,
    hypotheses: Hypotheses,
    oracle: Optional[Hypotheses] = None,
    talker_counts: Sequence[int] = (2, 3),
) -> SetScore:
    """Compare all references with the hypotheses; a missing one is all deletions.

    Args:
        references: What was said.
        hypotheses: Decoded with the predicted talker count.
        oracle: Decoded with the true talker count, if that was done.
        talker_counts: The counts that the model knows.

    Raises:
        UserError: the references hold no words.
    """

    def errors(compare, hyps: Hypotheses) -> Dict[str, ErrorCounts]:
        return {
            utt: compare(texts, hyps.texts.get(utt, []))
            for utt, texts in references.texts.items()
        }

    def total(errors: Mapping[str, ErrorCounts]) -> ErrorCounts:
        return sum(errors.values(), ErrorCounts())

    cp = errors(cp_errors, hypotheses)
    cp_total = total(cp)
    if not cp_total.words:
        raise UserError("the reference text holds no words; mend it before scoring")
    num_talkers = references.num_talkers
    confusion = count_confusion(num_talkers, hypotheses.num_talkers, talker_counts)
    low, high = bootstrap_interval(list(cp.values()))
    overlaps = references.overlaps
    report = {
        "n_utt": len(references.texts),
        "n_scored": len(cp),
        "n_missing": sum(utt not in hypotheses.texts for utt in references.texts),
        "n_words": cp_total.words,
        "fifo_wer": total(errors(fifo_errors, hypotheses)).percent,
        "cpwer": cp_total.percent,
        "cpwer_ci95": [low, high],
        "cpwer_oracle_count": (
            None if oracle is None else total(errors(cp_errors, oracle)).percent
        ),
        "sub": cp_total.substitutions,
        "del": cp_total.deletions,
        "ins": cp_total.insertions,
        "count_accuracy": count_accuracy(confusion),
        "count_confusion": confusion,
        "by_overlap": [] if overlaps is None else by_overlap(cp, overlaps),
        "rtf": hypotheses.rtf,
    }
    return SetScore(round_floats(report), by_talkers(cp, num_talkers))


def round_floats(value: Any) -> Any:
    """Round all floats of nested dicts and lists to `DECIMALS` decimals."""
    if isinstance(value, float):
        return round(value, DECIMALS)
    if isinstance(value, Mapping):
        return {key: round_floats(v) for key, v in value.items()}
    if isinstance(value, list):
        return [round_floats(v) for v in value]
    return value


def assemble_results(
    mixtures: str, model: str, scores: Mapping[str, SetScore]
) -> Dict[str, Any]:
    """Return results.json's content.

    Args:
        mixtures: Which mixtures the figures were measured on.
        model: Which model.
        scores: Set name to score.
    """
    return {
        "mixtures": mixtures,
        "model": model,
        "sets": {name: score.report for name, score in scores.items()},
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    # First column to the left, figures to the right.
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def _number(value: Optional[float], decimals: int = 2) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def format_main_table(results: Mapping[str, Any]) -> str:
    """Return the table of rates, one row per set, as Markdown."""
    rows = []
    for name, r in results["sets"].items():
        low, high = r["cpwer_ci95"]
        rows.append(
            [
                name,
                str(r["n_utt"]),
                str(r["n_missing"]),
                str(r["n_words"]),
                _number(r["cpwer"]),
                f"{_number(low)} to {_number(high)}",
                f"{r['sub']} / {r['del']} / {r['ins']}",
                _number(r["cpwer_oracle_count"]),
                _number(r["fifo_wer"]),
                _number(r["count_accuracy"]),
                _number(r["rtf"], 4),
            ]
        )
    header = ["set", "mixtures", "missing", "words", "cpWER %", "95 % interval"]
    header += ["sub / del / ins", "cpWER %, count given", "FIFO WER %"]
    header += ["count right %", "RTF"]
    return _table(header, rows)


def _format_count_table(results: Mapping[str, Any]) -> str:
    confusions = {n: r["count_confusion"] for n, r in results["sets"].items()}
    columns = {c for rows in confusions.values() for row in rows.values() for c in row}
    counts = sorted(columns - {MISSING}, key=int)
    header = ["set", "true count", *(f"predicted {c}" for c in counts)]
    if MISSING in columns:
        counts.append(MISSING)
        header.append(MISSING)
    return _table(
        header,
        [
            [name, true, *(str(row.get(c, 0)) for c in counts)]
            for name, rows in confusions.items()
            for true, row in rows.items()
            if sum(row.values())
        ],
    )


def _format_overlap_table(results: Mapping[str, Any]) -> Optional[str]:
    with_bins = {n: r["by_overlap"] for n, r in results["sets"].items()}
    with_bins = {name: bins for name, bins in with_bins.items() if bins}
    if not with_bins:
        return None
    edges = [f"{b['lo']:g} to {b['hi']:g}" for b in next(iter(with_bins.values()))]
    return _table(
        ["set", *edges],
        [
            [name, *(f"{_number(b['cpwer'])} ({b['n_words']})" for b in bins)]
            for name, bins in with_bins.items()
        ],
    )


def format_results(
    results: Mapping[str, Any], command: str = "", machine: str = ""
) -> str:
    """Return RESULTS.md's content, made from that of results.json.

    Args:
        results: What `assemble_results` returned.
        command: The command line that gave the figures.
        machine: What they were measured on.
    """
    parts: List[str] = [
        "# Results",
        f"- Measured on: {' '.join(results['mixtures'].split())}\n"
        f"- Model: {' '.join(results['model'].split())}",
    ]
    if machine:
        parts.append(f"Machine: {machine}")
    if command:
        parts.append(f"Command:\n\n```\n{command.strip()}\n```")
    parts += [
        "## Word error rates",
        format_main_table(results),
        "The talker count is predicted, except where it is given. cpWER: under the "
        "best matching of streams and talkers; sub, del and ins are its errors, and "
        "its interval is a bootstrap over mixtures (1,000 draws, seed 0). FIFO WER: "
        "stream k against the k-th talker to begin; surplus streams are insertions, "
        "absent ones deletions. Missing: mixtures without a hypothesis, scored as "
        "deletions. RTF: processing time / audio duration at batch size 1.",
        "## Talker counts",
        _format_count_table(results),
    ]
    overlap_table = _format_overlap_table(results)
    if overlap_table:
        parts += [
            "## cpWER % by overlap",
            "Columns: fraction of the speech time in which two or more talk; in "
            "brackets, words.",
            overlap_table,
        ]
    return "\n\n".join(parts) + "\n"


def write_results(
    output_dir: Union[str, Path],
    results: Mapping[str, Any],
    cpwer_by_num_talkers: Mapping[str, Optional[float]],
    command: str = "",
    machine: str = "",
) -> None:
    """Write all files of stage 13; results.json comes last, so it marks the end.

    Args:
        output_dir: Made if it does not exist.
        results: What `assemble_results` returned.
        cpwer_by_num_talkers: What `breakdown.cpwer_by_talkers` returned.
        command: For RESULTS.md.
        machine: For RESULTS.md.

    Raises:
        UserError: the directory cannot be written.
    """
    output_dir = Path(output_dir)
    sets = results["sets"]
    count_keys = ("count_accuracy", "count_confusion")
    tables = {
        "cpwer.json": {name: r["cpwer"] for name, r in sets.items()},
        "cpwer_by_num_speakers.json": round_floats(cpwer_by_num_talkers),
        "speaker_count.json": {
            name: {key: r[key] for key in count_keys} for name, r in sets.items()
        },
        "results.json": results,
    }
    contents = {"RESULTS.md": format_results(results, command, machine)}
    for name, table in tables.items():
        contents[name] = json.dumps(table, indent=2, ensure_ascii=False) + "\n"
    try:
        for name, content in contents.items():
            write_whole(output_dir / name, content)
    except OSError as e:
        raise UserError(
            f"--output_dir {output_dir}: cannot be written ({e.strerror}); name "
            f"another directory"
        ) from None
