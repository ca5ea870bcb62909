"""Texts as STM and SegLST files, for which meeteval-wer gives the same cpWER.

Sources: NIST's SCTK, doc/infmts.htm, and meeteval's README. Each talker or stream is a
segment, even without words. So meeteval-wer matches the same candidates in the same
order, and breaks ties between matchings in the same way. A mixture without a hypothesis
gets an empty segment, because meeteval-wer refuses files that lack more than a tenth of
the mixtures.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Tuple, TypedDict

from espnet_mtasr.errors import UserError

Interval = Tuple[float, float]


class Segment(TypedDict):
    """A segment as SegLST has it; times in seconds."""

    session_id: str
    speaker: str
    start_time: float
    end_time: float
    words: str


@dataclass(frozen=True)
class Timing:
    """When things are said, in seconds, as far as known.

    Attributes:
        lengths: Utterance id to the recording's length.
        intervals: Utterance id to (start, end) of each talker.
    """

    lengths: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, Sequence[Interval]] = field(default_factory=dict)


def reference_segments(
    texts: Mapping[str, Sequence[str]], timing: Timing
) -> List[Segment]:
    """Return a segment per talker.

    Talkers with unknown times get 0 to the recording's end, or 0 to 0 if its length is
    unknown.

    Args:
        texts: Utterance id to a text per talker, in onset order.
        timing: Of the utterances.

    >>> timing = Timing({"u": 3.0}, {"u": [(0.0, 2.0), (1.5, 3.0)]})
    >>> [s["start_time"] for s in reference_segments({"u": ["a b", "c"]}, timing)]
    [0.0, 1.5]
    """
    return [
        _segment(utt, f"talker_{k}", interval, text)
        for utt, parts in texts.items()
        for k, (interval, text) in enumerate(
            zip(_talking(utt, len(parts), timing), parts, strict=True), 1
        )
    ]


def hypothesis_segments(
    texts: Mapping[str, Sequence[str]], utts: Sequence[str], timing: Timing
) -> List[Segment]:
    """Return a segment per stream, as long as the recording; streams have no times.

    Args:
        texts: Utterance id to a text per stream.
        utts: All utterances; one that isn't in `texts` gets a stream without words.
        timing: Of the utterances.
    """
    return [
        _segment(utt, f"stream_{k}", (0.0, timing.lengths.get(utt, 0.0)), text)
        for utt in utts
        for k, text in enumerate(texts.get(utt) or [""], 1)
    ]


def _talking(utt: str, talkers: int, timing: Timing) -> Sequence[Interval]:
    known = timing.intervals.get(utt, ())
    if len(known) == talkers:
        return known
    return [(0.0, timing.lengths.get(utt, 0.0))] * talkers


def _segment(utt: str, speaker: str, interval: Interval, text: str) -> Segment:
    start, end = (round(seconds, 4) for seconds in interval)
    return {
        "session_id": utt,
        "speaker": speaker,
        "start_time": start,
        "end_time": end,
        "words": text,
    }


def render_seglst(segments: Sequence[Segment]) -> str:
    """Return a SegLST file: a JSON list of objects."""
    return json.dumps(segments, ensure_ascii=False, indent=2) + "\n"


def read_seglst(path: Path) -> Dict[str, List[str]]:
    """Read a file of `render_seglst`: utterance id to a text per talker or stream.

    Raises:
        UserError: it is missing, or isn't a SegLST file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run stage 13 again")
    texts: Dict[str, List[str]] = {}
    try:
        for segment in json.loads(path.read_text(encoding="utf-8")):
            texts.setdefault(segment["session_id"], []).append(segment["words"])
    except (ValueError, TypeError, KeyError) as e:
        raise UserError(f"{path}: is not a SegLST file; run stage 13 again") from e
    return texts


def render_stm(segments: Sequence[Segment]) -> str:
    """Return an STM file: a line per segment, all in channel 1.

    >>> print(render_stm(hypothesis_segments({"u": ["a b"]}, ["u"], Timing())), end="")
    u 1 stream_1 0.0000 0.0000 a b
    """
    return "".join(_stm_line(segment) for segment in segments)


def _stm_line(segment: Segment) -> str:
    # A line that starts with a semicolon is a comment.
    session = re.sub("^;", "_", segment["session_id"])
    times = f"{segment['start_time']:.4f} {segment['end_time']:.4f}"
    line = f"{session} 1 {segment['speaker']} {times} {segment['words']}"
    return line.rstrip() + "\n"


def segment_files(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Sequence[str]],
    timing: Timing,
) -> Dict[str, str]:
    """Return the files of a set: name to content.

    Args:
        references: Utterance id to a text per talker.
        hypotheses: Utterance id to a text per stream.
        timing: Of the utterances.
    """
    segments = {
        "ref": reference_segments(references, timing),
        "hyp": hypothesis_segments(hypotheses, list(references), timing),
    }
    files = {f"{name}.stm": render_stm(parts) for name, parts in segments.items()}
    for name, parts in segments.items():
        files[f"{name}.seglst.json"] = render_seglst(parts)
    return files
