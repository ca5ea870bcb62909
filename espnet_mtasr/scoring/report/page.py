"""RESULTS.html: the figures of RESULTS.md with charts, and mixtures to listen to.

A standalone page that loads nothing. Its size is bounded: it shows few mixtures of each
set, and their sounds have a budget.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring import tables
from espnet_mtasr.scoring.bootstrap import bootstrap_interval
from espnet_mtasr.scoring.breakdown import EDGES, OVERLAP_EDGES, Edges, group_by_value
from espnet_mtasr.scoring.error_counts import ErrorCounts
from espnet_mtasr.scoring.inputs import Hypotheses, References
from espnet_mtasr.scoring.posteriors import ReadPosteriors
from espnet_mtasr.scoring.report import mixtures
from espnet_mtasr.scoring.report.charts import Rate, curve_chart, key, rate_chart
from espnet_mtasr.scoring.report.html import Markup, document, section, table, tag
from espnet_mtasr.scoring.report.looks import SCRIPT, STYLE
from espnet_mtasr.scoring.report.posteriors import EXPLAINED
from espnet_mtasr.scoring.report.sound import ReadSound, Sounds
from espnet_mtasr.scoring.segments import Timing
from espnet_mtasr.scoring.tables import count_told, range_name

# In a training's page, decodings other than the default go here.
OTHERS = "<!-- other decodings -->"


@dataclass(frozen=True)
class ScoredSet:
    """What a page shows of a set.

    Attributes:
        references: What was said.
        hypotheses: What was written.
        errors: Utterance id to cpWER counts.
        timing: When things are said.
    """

    references: References
    hypotheses: Hypotheses
    errors: Mapping[str, ErrorCounts]
    timing: Timing = field(default_factory=Timing)


def render_page(
    results: Mapping[str, Any],
    sets: Mapping[str, ScoredSet],
    curves: Sequence[Mapping[str, Any]] = (),
    read_sound: Optional[ReadSound] = None,
    rate: int = 16000,
    command: str = "",
    machine: str = "",
    read_posteriors: Optional[ReadPosteriors] = None,
) -> str:
    """Return the page.

    Args:
        results: results.json's content.
        sets: Name to what was scored, for the sets in `results`.
        curves: Contents of the trainings' learning_curve.json.
        read_sound: Reads the recording of an utterance; None: no sounds.
        rate: Of the recordings, in Hz.
        command: The command line that produced the figures.
        machine: What they were measured on.
        read_posteriors: Reads the CTC posteriors of an utterance; None: none are shown.
    """
    sounds = Sounds(read_sound, rate)
    body = [
        tag("h1", f"Results of {results['model']}"),
        facts(results, machine),
        (
            tag("details", tag("summary", "Command"), tag("pre", command.strip()))
            if command
            else None
        ),
        section(
            "Word error rates",
            table(*tables.main_table(results)),
            note(f"{count_told(results)} {tables.RATES_EXPLAINED}"),
            table(*tables.further_table(results)),
            note(tables.FURTHER_EXPLAINED),
        ),
        section("Talker counts", _counts(results)),
        _conditions(results, sets),
        _curves(curves),
        section(
            "Mixtures",
            note(
                f"The {mixtures.WORST} worst mixtures of each set, and the median one. "
                f"Top: what was said; bottom: what was written. S: substituted, "
                f"D: deleted, I: inserted. Click on a time line to play from there."
            ),
            read_posteriors and note(f"{EXPLAINED}."),
            [
                _mixtures(name, part, sounds, read_posteriors)
                for name, part in sets.items()
            ],
        ),
        Markup(OTHERS),
    ]
    return document(f"Results of {results['model']}", body, STYLE, SCRIPT)


def note(text: str) -> Markup:
    """Return an explanatory paragraph."""
    return tag("p", text, class_="note")


def facts(results: Mapping[str, Any], machine: str = "") -> Markup:
    """Return what was measured."""
    known = {**tables.facts_of(results), "Machine": machine}
    pairs = [(tag("dt", name), tag("dd", v)) for name, v in known.items() if v]
    return tag("dl", pairs)


def render_others(others: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Return the part of a training's page on decodings other than the default.

    Args:
        others: Name of a decoding's folder to its results.json.
    """
    if not others:
        return Markup()
    parts = [
        (
            tag("h3", name),
            facts(results),
            table(*tables.main_table(results)),
            tag("p", tag("a", f"{name}/RESULTS.html", href=f"{name}/RESULTS.html")),
        )
        for name, results in others.items()
    ]
    return section("Other decodings", parts)


def _counts(results: Mapping[str, Any]) -> Markup:
    """Return the confusion of counts; more mixtures are darker."""
    header, rows = tables.count_table(results)
    shaded = []
    for name, true, *numbers in rows:
        total = sum(map(int, numbers))
        cells = [
            tag(
                "span",
                number,
                class_="heat",
                style=f"--p:{int(number) / total:.3f}",
                title=f"{100 * int(number) / total:.1f} %",
            )
            for number in numbers
        ]
        shaded.append([name, true, *cells])
    return table(header, shaded)


def _conditions(results: Mapping[str, Any], sets: Mapping[str, ScoredSet]) -> Markup:
    """Return cpWER against what makes mixtures hard, with intervals."""
    edges: Dict[str, Edges] = {"overlap": OVERLAP_EDGES, **EDGES}
    charts = []
    for name, bounds in edges.items():
        title, explained = tables.BREAKDOWNS[f"by_{name}"]
        # All sets are included, so each has the same color in all charts.
        rates = {n: _rates(part, name, bounds) for n, part in sets.items()}
        shown = [k for k in range(len(bounds) - 1) if any(r[k] for r in rates.values())]
        if not shown:
            continue
        columns = [
            range_name({"lo": bounds[k], "hi": bounds[k + 1]}).replace(" to ", "–")
            for k in shown
        ]
        series = {n: [r[k] for k in shown] for n, r in rates.items()}
        chart = rate_chart(f"cpWER % by {title}", columns, series)
        unknown = [n for n, r in series.items() if not any(r)]
        charts.append(tag("div", chart, note(explained), key(list(series), unknown)))
    gender = tables.breakdown_table(results, "by_gender")
    if not charts and gender is None:
        return Markup()
    return section(
        "What makes mixtures hard",
        note(
            "Bars: 95 % intervals by a bootstrap over mixtures (1,000 draws, seed 0). "
            "Hover over a dot for its figures."
        ),
        tag("div", charts, class_="charts"),
        gender and [tag("h3", "cpWER % by gender (words)"), table(*gender)],
    )


def _rates(part: ScoredSet, name: str, edges: Edges) -> List[Optional[Rate]]:
    """Return the rate of each bin; None if no words are known to be in it."""
    values: Dict[str, Optional[float]] = dict.fromkeys(part.errors)
    if name == "overlap":
        values.update(part.references.overlaps or {})
    else:
        known = part.references.conditions or {}
        values.update({utt: getattr(found, name) for utt, found in known.items()})
    rates: List[Optional[Rate]] = []
    for group in group_by_value(part.errors, values, edges):
        total = sum(group, ErrorCounts())
        if total.percent is None:
            rates.append(None)
            continue
        low, high = bootstrap_interval(group)
        hint = (
            f"{total.percent:.2f} % ({low:.2f} to {high:.2f}), {len(group)} mixtures, "
            f"{total.words} words"
        )
        rates.append(Rate(total.percent, low, high, hint))
    return rates


def _curves(curves: Sequence[Mapping[str, Any]]) -> Markup:
    if not curves:
        return Markup()
    parts = [
        (
            tag("h3", curve["title"]),
            tag(
                "div",
                [
                    curve_chart(panel, curve["epochs"], curve["best"])
                    for panel in curve["panels"]
                ],
                class_="charts",
            ),
        )
        for curve in curves
    ]
    how = "Solid: validation; dotted: training; vertical line: the best epoch."
    return section("Learning curves", note(how), parts)


def _mixtures(
    name: str, part: ScoredSet, sounds: Sounds, read: Optional[ReadPosteriors]
) -> Markup:
    shown = [
        _mixture(name, part, one, sounds, read) for one in mixtures.choose(part.errors)
    ]
    return tag("details", tag("summary", name), shown, open="")


def _mixture(
    name: str,
    part: ScoredSet,
    shown: mixtures.Shown,
    sounds: Sounds,
    read_posteriors: Optional[ReadPosteriors],
) -> Markup:
    utt = shown.utt
    reference = part.references.texts[utt]
    hypothesis = part.hypotheses.texts.get(utt)
    player, seconds = sounds.player(name, utt)
    seconds = part.timing.lengths.get(utt, seconds)
    intervals = part.timing.intervals.get(utt, ())
    posteriors, problem = None, None
    try:
        posteriors = read_posteriors and read_posteriors(name, utt)
    except UserError as e:
        problem = note(f"No CTC posteriors: {e}")
    streams = mixtures.draw_streams(
        posteriors or [], reference, hypothesis or [], seconds
    )
    return tag(
        "div",
        tag("h3", f"{utt} ({shown.why})"),
        tag("p", told(reference, hypothesis, part.errors[utt]), class_="pale"),
        mixtures.time_line(intervals, seconds, streams),
        problem,
        player,
        mixtures.render_words(reference, hypothesis or []),
        class_="mixture",
    )


def told(
    reference: Sequence[str], hypothesis: Optional[Sequence[str]], errors: ErrorCounts
) -> str:
    """Summarize the result of a mixture in words."""
    rate = "no words" if errors.percent is None else f"cpWER {errors.percent:.1f} %"
    counts: Tuple[str, ...] = (f"{len(reference)} talkers",)
    if hypothesis is None:
        counts += ("no hypothesis",)
    else:
        counts += (f"{len(hypothesis)} streams",)
    wrong = f"{errors.errors} errors in {errors.words} words"
    return ", ".join((rate, *counts, wrong))
