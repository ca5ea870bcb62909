"""A page on two decodings: the test, and mixtures in which they differ most."""

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

# Of each set, where B is better, and where it is worse.
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
        rate: Hz of these.
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
                "Those in which the numbers of errors differ most. Above what was "
                "said, below what was written; S: another word, D: left out, I: added."
            ),
            [_set(name, compared, sounds) for name, compared in sets.items()],
        ),
    ]
    return document(TITLE, body, STYLE, SCRIPT)


def differing(compared: ComparedSet, most: int = MOST_SHOWN) -> List[Tuple[str, int]]:
    """Return mixtures with B's errors less A's: where B gains most, then loses most."""
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
    none = None if shown else note("A and B make the same number of errors in each.")
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
