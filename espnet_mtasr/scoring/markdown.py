"""RESULTS.md: the content of results.json as tables.

It states what it was measured on, as icefall's RESULTS.md files do.
"""

from typing import Any, List, Mapping, Optional

from espnet_mtasr.scoring import tables
from espnet_mtasr.scoring.tables import Table, count_told


def format_table(table: Table) -> str:
    """Return a table as Markdown, with figures aligned right."""
    rule = ["---"] + ["---:"] * (len(table.header) - 1)
    lines = [table.header, rule, *table.rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def format_main_table(results: Mapping[str, Any]) -> str:
    """Return the table of rates, one row per set, as Markdown."""
    return format_table(tables.main_table(results))


def _format_breakdowns(results: Mapping[str, Any]) -> List[str]:
    parts = []
    for key, (name, explained) in tables.BREAKDOWNS.items():
        table = tables.breakdown_table(results, key)
        if table:
            parts += [
                f"## cpWER % by {name}",
                f"Columns: {explained}. In brackets: words.",
                format_table(table),
            ]
    return parts


def _facts(results: Mapping[str, Any]) -> str:
    facts = tables.facts_of(results)
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def format_others(others: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the part of RESULTS.md on decodings other than the default.

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


def format_results(
    results: Mapping[str, Any],
    command: str = "",
    machine: str = "",
    environment: Optional[Mapping[str, str]] = None,
) -> str:
    """Return the content of RESULTS.md, made from that of results.json.

    Args:
        results: What `assemble_results` returned.
        command: The command line that produced the figures.
        machine: What they were measured on.
        environment: What ran; see `espnet_form.environment_of`.
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
        f"{count_told(results)} {tables.RATES_EXPLAINED}",
        "### WER",
        format_table(tables.espnet_table(results)),
        tables.ESPNET_EXPLAINED,
        "## Talker counts",
        format_table(tables.count_table(results)),
        "## Further rates",
        format_table(tables.further_table(results)),
        tables.FURTHER_EXPLAINED,
        *_format_breakdowns(results),
    ]
    return "\n\n".join(parts) + "\n"
