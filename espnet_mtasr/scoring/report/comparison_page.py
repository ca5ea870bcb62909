"""A page on two decodings: the test, and the mixtures in which they differ most."""

from typing import List, Mapping, Optional, Tuple

from espnet_mtasr.scoring.comparison import (
    EXPLAINED,
    ComparedSet,
    Decoding,
    comparison_table,
)
from espnet_mtasr.scoring.report.html import Markup, document, section, table, tag
from espnet_mtasr.scoring.report.looks import SCRIPT, STYLE
from espnet_mtasr.scoring.report.mixtures import render_words
from espnet_mtasr.scoring.report.page import facts, note, told
from espnet_mtasr.scoring.report.sound import ReadSound, Sounds

# Mixtures per set where B is better, and as many where it is worse.
MOST_SHOWN = 3
TITLE = "A against B"


def render_comparison(
    a: Decoding,
    b: Decoding,
    sets: Mapping[str, ComparedSet],
    read_sound: Optional[ReadSound] = None,
    rate: int = 16000,
) -> str:
    """Return the page.

    Args:
        a: A decoding.
        b: Another one.
        sets: What `compare` returned.
        read_sound: Reads the recording of an utterance; None: no sounds.
        rate: Of the recordings, in Hz.
    """
    sounds = Sounds(read_sound, rate)
    body = [
        tag("h1", TITLE),
        tag(
            "div",
            [
                tag("div", tag("h3", f"{name}: {each.folder}"), facts(each.results))
                for name, each in (("A", a), ("B", b))
            ],
            class_="two",
        ),
        section("Word error rates", table(*comparison_table(sets)), note(EXPLAINED)),
        section(
            "Mixtures",
            note(
                "The mixtures whose numbers of errors differ most. Top: what was said; "
                "bottom: what was written. S: substituted, D: deleted, I: inserted."
            ),
            [_set(name, compared, sounds) for name, compared in sets.items()],
        ),
    ]
    return document(TITLE, body, STYLE, SCRIPT)


def differing(compared: ComparedSet, most: int = MOST_SHOWN) -> List[Tuple[str, int]]:
    """Return mixtures with B's errors minus A's: B's largest gains, then its losses."""
    a, b = compared.errors
    gains = sorted(
        (b[utt].errors - a[utt].errors, utt)
        for utt in compared.references
        if b[utt].errors != a[utt].errors
    )
    better = [pair for pair in gains if pair[0] < 0][:most]
    worse = [pair for pair in gains[::-1] if pair[0] > 0][:most]
    return [(utt, gain) for gain, utt in better + worse]


def _set(name: str, compared: ComparedSet, sounds: Sounds) -> Markup:
    shown = [
        _mixture(name, utt, gain, compared, sounds) for utt, gain in differing(compared)
    ]
    none = None if shown else note("No mixture differs in its number of errors.")
    return tag("details", tag("summary", name), shown, none, open="")


def _mixture(
    name: str, utt: str, gain: int, compared: ComparedSet, sounds: Sounds
) -> Markup:
    reference = compared.references[utt]
    columns = []
    for which, hypotheses, errors in zip("AB", compared.hypotheses, compared.errors):
        written = hypotheses.get(utt, [])
        columns.append(
            tag(
                "div",
                tag("p", f"{which}: {told(reference, written, errors[utt])}"),
                render_words(reference, written),
            )
        )
    return tag(
        "div",
        tag("h3", f"{utt} (B: {gain:+d} errors)"),
        sounds.player(name, utt)[0],
        tag("div", columns, class_="two"),
        class_="mixture",
    )
