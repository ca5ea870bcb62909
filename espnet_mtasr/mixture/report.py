"""Stage 1's report on a set of mixtures, and its checks."""

import statistics
from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Sequence

from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.describe import Mixture
from espnet_mtasr.mixture.mixing import all_at_once, overlap_ratio
from espnet_mtasr.text.sot import join_sot


def check_length(mixture: Mixture, rate: int) -> None:
    """Check that the recording lasts as long as its talkers.

    Raises:
        UserError: it is unreadable, or has another rate or length (by over 10 ms).
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
        "utt2mixture": {m.utt: m.spec.to_line() for m in mixtures},
    }
    if all(m.texts for m in mixtures):
        tables["text"] = {m.utt: join_sot(m.texts) for m in mixtures}
    return tables


@dataclass(frozen=True)
class SetReport:
    """A set's figures.

    Attributes:
        n_utt: Mixtures.
        hours: Of audio.
        n_talkers: Different talkers.
        overlap: Median of (time with two or more talking) / (time with speech).
        all_at_once: Share of the mixtures of 3 or more in which all talk at the same
            time at some point; None without such mixtures.
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
    """Return the figures of a non-empty set."""
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
