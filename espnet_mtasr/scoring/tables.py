"""The tables of RESULTS.md and RESULTS.html, made from results.json."""

from typing import Any, Dict, Mapping, NamedTuple, Optional, Sequence

from espnet_mtasr.scoring.espnet_form import COLUMNS, averages
from espnet_mtasr.scoring.talker_count import MISSING

BREAKDOWNS = {
    "by_overlap": (
        "overlap",
        "the fraction of the speech time in which two or more talk",
    ),
    "by_onset_gap": ("onset gap", "the shortest time between two onsets, in s"),
    "by_snr": (
        "signal-to-noise ratio",
        "the energy of all talkers together divided by that of the noise, in dB",
    ),
    "by_level_difference": (
        "level difference",
        "how much louder the loudest talker is than the softest, in dB",
    ),
    "by_gender": ("gender", "whether all talkers have the same gender"),
}
# Explains the columns, except where the talker count comes from (`count_told`).
RATES_EXPLAINED = (
    "cpWER: errors under the best matching of streams and talkers; sub, del and ins "
    "count them, and the interval is a bootstrap over mixtures (1,000 draws, seed 0). "
    "FIFO WER: stream k against the k-th talker to begin; extra streams are "
    "insertions, missing ones deletions. Missing: mixtures without a hypothesis, "
    "scored as deletions. RTF: processing time / audio duration at batch size 1."
)
ESPNET_EXPLAINED = (
    "The same errors in ESPnet's form. Snt: mixtures; Wrd: words; S.Err: in percent "
    "of the mixtures; all others: in percent of the words."
)
FURTHER_EXPLAINED = (
    "ORC-WER: talkers may share a stream, which then has their words one talker after "
    "the other. CER: errors in characters, including spaces, under cpWER's matching. "
    "Missed: talkers that match no stream with words. False alarms: streams with "
    "words that match no talker. Both are in percent of the talkers."
)


class Table(NamedTuple):
    """A table; the first column has names, the others figures."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def number(value: Optional[float], decimals: int = 2) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def main_table(results: Mapping[str, Any]) -> Table:
    """Return the table of rates, one row per set."""
    rows = []
    for name, r in results["sets"].items():
        low, high = r["cpwer_ci95"]
        rows.append(
            [
                name,
                str(r["n_utt"]),
                str(r["n_missing"]),
                str(r["n_words"]),
                number(r["cpwer"]),
                f"{number(low)} to {number(high)}",
                f"{r['sub']} / {r['del']} / {r['ins']}",
                number(r["cpwer_oracle_count"]),
                number(r["fifo_wer"]),
                number(r["count_accuracy"]),
                number(r["rtf"], 4),
            ]
        )
    header = ["set", "mixtures", "missing", "words", "cpWER %", "95 % interval"]
    header += ["sub / del / ins", "cpWER %, count given", "FIFO WER %"]
    header += ["count right %", "RTF"]
    return Table(header, rows)


def count_told(results: Mapping[str, Any]) -> str:
    """Return a sentence that says where the talker count comes from."""
    given = results.get("num_talkers")
    if given is None:
        return 'The talker count is predicted, except under "count given".'
    return (
        f"The talker count isn't predicted: the decoder was told {given} for every "
        f'mixture (num_talkers: {given}), except under "count given", where it is the '
        f"true one."
    )


def count_table(results: Mapping[str, Any]) -> Table:
    """Return true against predicted talker counts, one row per set and true count."""
    confusions = {n: r["count_confusion"] for n, r in results["sets"].items()}
    columns = {c for rows in confusions.values() for row in rows.values() for c in row}
    counts = sorted(columns - {MISSING}, key=int)
    source = "predicted" if results.get("num_talkers") is None else "told"
    header = ["set", "true count", *(f"{source} {c}" for c in counts)]
    if MISSING in columns:
        counts.append(MISSING)
        header.append(MISSING)
    return Table(
        header,
        [
            [name, true, *(str(row.get(c, 0)) for c in counts)]
            for name, rows in confusions.items()
            for true, row in rows.items()
            if sum(row.values())
        ],
    )


def further_table(results: Mapping[str, Any]) -> Table:
    """Return ORC-WER, CER, missed talkers and false alarms, one row per set."""
    rows = [
        [
            name,
            number(r["orc_wer"]),
            number(r["cer"]),
            str(r["n_talkers"]),
            f"{r['n_missed_talkers']} ({number(r['missed_talkers'])})",
            f"{r['n_false_alarm_talkers']} ({number(r['false_alarm_talkers'])})",
        ]
        for name, r in results["sets"].items()
    ]
    header = ["set", "ORC-WER %", "CER %", "talkers", "missed (%)", "false alarms (%)"]
    return Table(header, rows)


def range_name(part: Mapping[str, Any]) -> str:
    """Return the name of a bin of a breakdown.

    >>> range_name({"lo": None, "hi": -10.0}), range_name({"lo": 0.5, "hi": 0.75})
    ('below -10', '0.5 to 0.75')
    """
    if "genders" in part:
        return part["genders"]
    if part["lo"] is None:
        return f"below {part['hi']:g}"
    if part["hi"] is None:
        return f"from {part['lo']:g}"
    return f"{part['lo']:g} to {part['hi']:g}"


def breakdown_table(results: Mapping[str, Any], key: str) -> Optional[Table]:
    """Return the table of the sets that have this breakdown; None if none has it.

    Bins without words in any set are left out.
    """
    known = {n: r[key] for n, r in results["sets"].items() if r[key]}
    if not known:
        return None
    columns = list(zip(*known.values(), strict=True))
    shown = [k for k, parts in enumerate(columns) if any(p["n_words"] for p in parts)]
    rows = [
        [name] + [f"{number(parts[k]['cpwer'])} ({parts[k]['n_words']})" for k in shown]
        for name, parts in known.items()
    ]
    return Table(["set", *(range_name(columns[k][0]) for k in shown)], rows)


def espnet_table(results: Mapping[str, Any]) -> Table:
    """Return the errors in ESPnet's form."""
    rows = [[name, *averages(r)] for name, r in results["sets"].items()]
    return Table(["dataset", *COLUMNS], rows)


def facts_of(results: Mapping[str, Any]) -> Dict[str, str]:
    """Return what was measured, by name."""
    facts = {
        "Measured on": results["mixtures"],
        "Model": results["model"],
        "Decoding": results.get("decoding") or "",
        "Text normalizer": results["text_normalizer"],
    }
    return {name: " ".join(v.split()) for name, v in facts.items() if v}
