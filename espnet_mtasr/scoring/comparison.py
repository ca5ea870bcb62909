"""Two decodings of the same sets side by side, with a paired bootstrap test.

Source: see bootstrap.py. Both are compared on the same draws of mixtures, so a mixture
that is hard for both doesn't hide which one is better.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import read_json
from espnet_mtasr.scoring.bootstrap import paired_bootstrap_interval
from espnet_mtasr.scoring.error_counts import ErrorCounts, cp_errors
from espnet_mtasr.scoring.markdown import format_table
from espnet_mtasr.scoring.segments import read_seglst
from espnet_mtasr.scoring.tables import Table, facts_of, number

Texts = Mapping[str, List[str]]
RESULTS = "results.json"
ALL = "all sets"
EXPLAINED = (
    "B - A: difference in cpWER, in percentage points; if it is below 0, B makes fewer "
    "errors. Interval: a paired bootstrap over mixtures (1,000 draws, seed 0). If the "
    "interval contains 0, no difference is shown. Each row is a separate test."
)


@dataclass(frozen=True)
class Decoding:
    """What stage 13 wrote for a decoding.

    Attributes:
        folder: Where its files are.
        results: Content of results.json.
    """

    folder: Path
    results: Mapping[str, Any]

    def texts(self, name: str, kind: str) -> Texts:
        """Return a set's `ref` or `hyp`: utterance id to texts."""
        return read_seglst(self.folder / "scoring" / name / f"{kind}.seglst.json")


@dataclass(frozen=True)
class ComparedSet:
    """A set that both decodings have.

    Attributes:
        references: Utterance id to a text per talker.
        hypotheses: For A and for B, utterance id to a text per stream.
        errors: For A and for B, utterance id to cpWER counts.
    """

    references: Texts
    hypotheses: Tuple[Texts, Texts]
    errors: Tuple[Dict[str, ErrorCounts], Dict[str, ErrorCounts]]


def find_decoding(folder: Path) -> Decoding:
    """Return the decoding in a folder, or the default one of a training's folder.

    Raises:
        UserError: there is none, or there are several and none is the default.
    """
    results = read_json(folder / RESULTS)
    if results and (folder / "scoring").is_dir():
        return Decoding(folder, results)
    below = [path.parent for path in sorted(folder.glob(f"*/{RESULTS}"))]
    same = [path for path in below if read_json(path / RESULTS) == results] or below
    if len(same) == 1:
        return Decoding(same[0], read_json(same[0] / RESULTS))
    if not same:
        raise UserError(
            f"{folder}: has no {RESULTS}; give a folder that stage 13 wrote"
        )
    names = ", ".join(path.name for path in same)
    raise UserError(f"{folder}: has several decodings; choose one: {names}")


def compare(a: Decoding, b: Decoding) -> Dict[str, ComparedSet]:
    """Return the sets that both decodings have.

    Raises:
        UserError: there are none, or their references or normalizers differ.
    """
    names = [name for name in a.results["sets"] if name in b.results["sets"]]
    if not names:
        raise UserError(
            f"{a.folder} and {b.folder}: have no set in common; decode the same sets"
        )
    normalizers = [each.results.get("text_normalizer") for each in (a, b)]
    if normalizers[0] != normalizers[1]:
        raise UserError(
            f"{a.folder} and {b.folder}: have different text normalizers "
            f"({normalizers[0]}, {normalizers[1]}); run stage 13 with the same one"
        )
    return {name: _compare_set(name, a, b) for name in names}


def _compare_set(name: str, a: Decoding, b: Decoding) -> ComparedSet:
    references, others = a.texts(name, "ref"), b.texts(name, "ref")
    differing = [
        utt
        for utt in {**references, **others}
        if references.get(utt) != others.get(utt)
    ]
    if differing:
        raise UserError(
            f"{a.folder} and {b.folder}: {name} has different references, for instance "
            f"of {differing[0]}; decode the same mixtures"
        )
    hypotheses = a.texts(name, "hyp"), b.texts(name, "hyp")
    errors_a, errors_b = (
        {utt: cp_errors(texts, each.get(utt, [])) for utt, texts in references.items()}
        for each in hypotheses
    )
    return ComparedSet(references, hypotheses, (errors_a, errors_b))


def comparison_table(sets: Mapping[str, ComparedSet]) -> Table:
    """Return cpWER of A and B, the difference and its interval, one row per set."""
    pairs = {
        name: [(one.errors[0][utt], one.errors[1][utt]) for utt in one.references]
        for name, one in sets.items()
    }
    if len(pairs) > 1:
        pairs[ALL] = [pair for each in pairs.values() for pair in each]
    header = ["set", "mixtures", "words", "A: cpWER %", "B: cpWER %", "B - A"]
    header += ["95 % interval", "result"]
    return Table(header, [_row(name, each) for name, each in pairs.items()])


def _row(name: str, pairs: List[Tuple[ErrorCounts, ErrorCounts]]) -> List[str]:
    totals = [sum(each, ErrorCounts()) for each in zip(*pairs)]
    errors = np.array([[each.errors for each in pair] for pair in pairs]).T
    words = np.array([first.words for first, _ in pairs])
    difference, low, high = paired_bootstrap_interval(errors[1:], errors[:1], words)
    result = "no difference shown"
    if high < 0 or low > 0:
        result = "B is better" if high < 0 else "B is worse"
    return [
        name,
        str(len(pairs)),
        str(words.sum()),
        *(number(total.percent) for total in totals),
        f"{difference:+.2f}",
        f"{low:+.2f} to {high:+.2f}",
        result,
    ]


def format_comparison(a: Decoding, b: Decoding, sets: Mapping[str, ComparedSet]) -> str:
    """Return the comparison as Markdown."""
    lines = []
    for name, each in (("A", a), ("B", b)):
        facts = "; ".join(f"{k}: {v}" for k, v in facts_of(each.results).items())
        lines.append(f"- {name}: {each.folder} ({facts})")
    parts = ["# A against B", "\n".join(lines)]
    parts += [format_table(comparison_table(sets)), EXPLAINED]
    return "\n\n".join(parts) + "\n"
