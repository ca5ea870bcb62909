"""RESULTS.md: the content of results.json as tables.

It states what it was measured on, as icefall's RESULTS.md files do.
"""

from typing import Any, List, Mapping, Optional, Sequence

from espnet_mtasr.scoring.espnet_form import COLUMNS, averages
from espnet_mtasr.scoring.talker_count import MISSING


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


def count_told(results: Mapping[str, Any]) -> str:
    """Return where the talker count comes from, in a sentence."""
    given = results.get("num_talkers")
    if given is None:
        return "The talker count is predicted, except where it is given."
    return (
        f"The talker count is not predicted: the decoder was told {given} for every "
        f"mixture (num_talkers: {given}), except where the true one is given."
    )


def _format_count_table(results: Mapping[str, Any]) -> str:
    confusions = {n: r["count_confusion"] for n, r in results["sets"].items()}
    columns = {c for rows in confusions.values() for row in rows.values() for c in row}
    counts = sorted(columns - {MISSING}, key=int)
    source = "predicted" if results.get("num_talkers") is None else "told"
    header = ["set", "true count", *(f"{source} {c}" for c in counts)]
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


def _format_further_table(results: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            _number(r["orc_wer"]),
            _number(r["cer"]),
            str(r["n_talkers"]),
            f"{r['n_missed_talkers']} ({_number(r['missed_talkers'])})",
            f"{r['n_false_alarm_talkers']} ({_number(r['false_alarm_talkers'])})",
        ]
        for name, r in results["sets"].items()
    ]
    header = ["set", "ORC-WER %", "CER %", "talkers", "missed (%)", "false alarms (%)"]
    return _table(header, rows)


def _range(part: Mapping[str, Any]) -> str:
    """Name a part of a breakdown.

    >>> _range({"lo": None, "hi": -10.0}), _range({"lo": 0.5, "hi": 0.75})
    ('below -10', '0.5 to 0.75')
    """
    if "genders" in part:
        return part["genders"]
    if part["lo"] is None:
        return f"below {part['hi']:g}"
    if part["hi"] is None:
        return f"from {part['lo']:g}"
    return f"{part['lo']:g} to {part['hi']:g}"


def _format_breakdown(results: Mapping[str, Any], key: str) -> Optional[str]:
    """Return a table of the sets that have this breakdown, or None if none has.

    Parts in which no set has words are left out.
    """
    known = {n: r[key] for n, r in results["sets"].items() if r[key]}
    if not known:
        return None
    columns = list(zip(*known.values(), strict=True))
    shown = [k for k, parts in enumerate(columns) if any(p["n_words"] for p in parts)]
    rows = [
        [name]
        + [f"{_number(parts[k]['cpwer'])} ({parts[k]['n_words']})" for k in shown]
        for name, parts in known.items()
    ]
    return _table(["set", *(_range(columns[k][0]) for k in shown)], rows)


BREAKDOWNS = {
    "by_overlap": (
        "overlap",
        "the fraction of the speech time in which two or more talk",
    ),
    "by_onset_gap": ("onset gap", "the shortest time between two onsets, in s"),
    "by_snr": (
        "signal-to-noise ratio",
        "the energy of all talkers together over that of the noise, in dB",
    ),
    "by_level_difference": (
        "level difference",
        "how much louder the loudest talker is than the softest, in dB",
    ),
    "by_gender": ("gender", "whether all talkers are of the same gender"),
}


def _format_breakdowns(results: Mapping[str, Any]) -> List[str]:
    parts = []
    for key, (name, explained) in BREAKDOWNS.items():
        table = _format_breakdown(results, key)
        if table:
            parts += [
                f"## cpWER % by {name}",
                f"Columns: {explained}; in brackets, words.",
                table,
            ]
    return parts


def _facts(results: Mapping[str, Any]) -> str:
    facts = {
        "Measured on": results["mixtures"],
        "Model": results["model"],
        "Decoding": results.get("decoding") or "",
        "Text normalizer": results["text_normalizer"],
    }
    lines = [f"- {name}: {' '.join(v.split())}" for name, v in facts.items() if v]
    return "\n".join(lines)


def format_others(others: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the part of RESULTS.md that has the decodings beside the default.

    Args:
        others: Name of a decoding's folder to its results.json.
    """
    parts = ["## Other decodings"] if others else []
    for name, results in others.items():
        parts += [
            f"### {name}",
            _facts(results),
            format_main_table(results),
            f"{count_told(results)} [{name}/RESULTS.md]({name}/RESULTS.md) has more.",
        ]
    return "".join(f"\n{part}\n" for part in parts)


def _espnet_table(results: Mapping[str, Any]) -> str:
    rows = [[name, *averages(r)] for name, r in results["sets"].items()]
    return _table(["dataset", *COLUMNS], rows)


def format_results(
    results: Mapping[str, Any],
    command: str = "",
    machine: str = "",
    environment: Optional[Mapping[str, str]] = None,
) -> str:
    """Return RESULTS.md's content, made from that of results.json.

    Args:
        results: What `assemble_results` returned.
        command: The command line that gave the figures.
        machine: What they were measured on.
        environment: What ran, see `espnet_form.environment_of`.
    """
    parts: List[str] = ["# Results"]
    if environment:
        lines = [f"- {name}: `{value}`" for name, value in environment.items()]
        parts += ["## Environments", "\n".join(lines), "## Decoding"]
    parts.append(_facts(results))
    if machine:
        parts.append(f"Machine: {machine}")
    if command:
        parts.append(f"Command:\n\n```\n{command.strip()}\n```")
    parts += [
        "## Word error rates",
        format_main_table(results),
        f"{count_told(results)} cpWER: under the "
        "best matching of streams and talkers; sub, del and ins are its errors, and "
        "its interval is a bootstrap over mixtures (1,000 draws, seed 0). FIFO WER: "
        "stream k against the k-th talker to begin; surplus streams are insertions, "
        "absent ones deletions. Missing: mixtures without a hypothesis, scored as "
        "deletions. RTF: processing time / audio duration at batch size 1.",
        "### WER",
        _espnet_table(results),
        "The same errors in ESPnet's form: all but Snt (mixtures) and Wrd (words) in "
        "percent of the words, S.Err in percent of the mixtures.",
        "## Talker counts",
        _format_count_table(results),
    ]
    parts += [
        "## Further rates",
        _format_further_table(results),
        "ORC-WER: talkers may share a stream, which holds their words one talker after "
        "the other. CER: errors in characters, blanks among them, under cpWER's "
        "matching. Missed: talkers whom no stream with words is matched with; false "
        "alarms: streams with words that no talker is matched with; both in percent of "
        "the talkers.",
        *_format_breakdowns(results),
    ]
    return "\n\n".join(parts) + "\n"
