"""What stage 1 says about a set of mixtures, and the checks it makes."""

import statistics
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.mixing import all_at_once, overlap_ratio
from espnet_mtasr.mixture.recipe import MixtureRecipe
from espnet_mtasr.text.sot import join_sot


@dataclass(frozen=True)
class Mixture:
    """A generated mixture; talkers in onset order.

    Attributes:
        utt: Utterance id.
        audio: Absolute path of its recording.
        talkers: Names.
        texts: Lower case; () if the recording cuts words.
        intervals: (onset, end) of each talker in seconds.
        recipe: What it is made of; None if that isn't known.
    """

    utt: str
    audio: str
    talkers: Tuple[str, ...]
    texts: Tuple[str, ...]
    intervals: Tuple[Tuple[float, float], ...]
    recipe: Optional[MixtureRecipe] = None

    @property
    def seconds(self) -> float:
        """How long the recording is."""
        if self.recipe is not None:
            return self.recipe.seconds
        return max(end for _, end in self.intervals)

    @property
    def gaps(self) -> List[float]:
        """Seconds between each onset and the next."""
        onsets = [start for start, _ in self.intervals]
        return [b - a for a, b in zip(onsets, onsets[1:])]


def check_mixture(mixture: Mixture) -> None:
    """Check one mixture before audio is made of it.

    Talkers may all begin at 0, as in stock LibriMix, which has no order of onsets; else
    no two may begin at one time.

    Raises:
        UserError: a talker stands twice, onsets are not sorted or not distinct, a text
            is empty, or a talker begins after the end of a cut recording.
    """
    if len(set(mixture.talkers)) < len(mixture.talkers):
        raise UserError(
            f"{mixture.utt}: talkers {', '.join(mixture.talkers)} do not differ; drop "
            f"the mixture from its metadata"
        )
    if any(gap < 0 for gap in mixture.gaps):
        raise UserError(f"{mixture.utt}: onsets are not sorted: {mixture.intervals}")
    if 0 in mixture.gaps and any(start != 0 for start, _ in mixture.intervals):
        onsets = ", ".join(f"{start:g}" for start, _ in mixture.intervals)
        raise UserError(
            f"{mixture.utt}: two talkers begin at one time (onsets {onsets} s); give "
            f"them different onsets, or all 0 for stock LibriMix"
        )
    if any(end <= start for start, end in mixture.intervals):
        raise UserError(
            f"{mixture.utt}: a talker begins after the end of the first to end "
            f"({mixture.seconds:g} s); drop the mixture or use --mode max"
        )
    if not all(mixture.texts):
        raise UserError(
            f"{mixture.utt}: a talker has no words; drop it from its metadata"
        )


def check_length(mixture: Mixture, rate: int) -> None:
    """Check that the recording lasts as long as its talkers.

    Raises:
        UserError: unreadable, of another rate or length (more than 10 ms off).
    """
    import soundfile

    try:
        info = soundfile.info(mixture.audio)
    except soundfile.SoundFileError:
        raise UserError(
            f"{mixture.audio}: cannot be read; remove it and run stage 1 again"
        ) from None
    if info.samplerate != rate or abs(info.duration - mixture.seconds) > 0.01:
        raise UserError(
            f"{mixture.audio}: {info.duration:.3f} s at {info.samplerate} Hz, but its "
            f"talkers need {mixture.seconds:.3f} s at {rate} Hz; remove it and run "
            f"stage 1 again"
        )


def data_tables(mixtures: Sequence[Mixture]) -> Dict[str, Dict[str, object]]:
    """Return the files of a data directory: name to {utterance id: value}.

    Mixtures that cut words have no `text`.
    """
    tables: Dict[str, Dict[str, object]] = {
        "wav.scp": {m.utt: m.audio for m in mixtures},
        "utt2num_spk": {m.utt: len(m.talkers) for m in mixtures},
        "onsets": {
            m.utt: " ".join(f"{start:.4f}" for start, _ in m.intervals)
            for m in mixtures
        },
        "utt2overlap": {m.utt: f"{overlap_ratio(m.intervals):.4f}" for m in mixtures},
        "utt2spk": {m.utt: m.utt for m in mixtures},
    }
    if all(m.texts for m in mixtures):
        tables["text"] = {m.utt: join_sot(m.texts) for m in mixtures}
    if all(m.recipe is not None for m in mixtures):
        tables["utt2mixture"] = {m.utt: m.recipe.to_line() for m in mixtures}
    return tables


@dataclass(frozen=True)
class SetReport:
    """A set's figures.

    Attributes:
        n_utt: Mixtures.
        hours: Of audio.
        n_talkers: Different talkers.
        overlap: Median of (time with two or more talking) / (time with speech).
        all_at_once: Share of the mixtures of 3 or more in which all talk at once at
            some time; None without such mixtures.
        min_gap: Smallest time between two onsets in seconds; None for single talkers.
        median_gap: Its median.
        max_gap: The largest.
    """

    n_utt: int
    hours: float
    n_talkers: int
    overlap: float
    all_at_once: Optional[float]
    min_gap: Optional[float]
    median_gap: Optional[float]
    max_gap: Optional[float]


def summarize(mixtures: Sequence[Mixture]) -> SetReport:
    """Return the figures of a set that is not empty."""
    gaps = [gap for m in mixtures for gap in m.gaps]
    many = [all_at_once(m.intervals) for m in mixtures if len(m.talkers) > 2]
    return SetReport(
        n_utt=len(mixtures),
        hours=sum(m.seconds for m in mixtures) / 3600,
        n_talkers=len({t for m in mixtures for t in m.talkers}),
        overlap=statistics.median(overlap_ratio(m.intervals) for m in mixtures),
        all_at_once=sum(many) / len(many) if many else None,
        min_gap=min(gaps, default=None),
        median_gap=statistics.median(gaps) if gaps else None,
        max_gap=max(gaps, default=None),
    )


def format_report(reports: Mapping[str, SetReport]) -> str:
    """Return the table that stage 1 prints."""
    width = max([len("set"), *map(len, reports)])
    lines = [
        f"{'set':{width}}   utts  hours  talkers  overlap (median)  "
        f"3+ all at once  onset gap (min, median, max)"
    ]
    for name, r in reports.items():
        at_once = "-" if r.all_at_once is None else f"{100 * r.all_at_once:.1f} %"
        gaps = "-"
        if r.min_gap is not None:
            gaps = f"{r.min_gap:.3f} {r.median_gap:.3f} {r.max_gap:.3f} s"
        lines.append(
            f"{name:{width}} {r.n_utt:6d} {r.hours:6.2f} {r.n_talkers:8d} "
            f"{r.overlap:17.3f} {at_once:>15} {gaps:>29}"
        )
    return "\n".join(lines)
