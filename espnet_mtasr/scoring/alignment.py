"""Align reference and hypothesis word by word, one pair per talker.

The talkers are matched as in cpWER. Source: sclite's alignment listings. The alignment
is by kaldialign, which also counts meeteval's errors.
"""

from typing import List, NamedTuple, Optional, Sequence, Tuple

from kaldialign import align

from espnet_mtasr.scoring.error_counts import match_talkers

GAP = "***"
RED, PLAIN = "\033[31m", "\033[0m"


class Pair(NamedTuple):
    """A talker and the stream that is matched with it.

    Attributes:
        talker: From 0 in onset order; None: no talker matches the stream.
        stream: From 0; None: no stream matches the talker.
        words: Spoken and written word, `GAP` if there is none, and the error: S, D, I,
            or nothing.
    """

    talker: Optional[int]
    stream: Optional[int]
    words: List[Tuple[str, str, str]]


def align_talkers(reference: Sequence[str], hypothesis: Sequence[str]) -> List[Pair]:
    """Match talkers with streams as in cpWER, and align their words.

    Args:
        reference: One text per talker.
        hypothesis: One text per stream.

    >>> align_talkers(["a had"], ["a"])[0].words
    [('a', 'a', ''), ('had', '***', 'D')]
    """
    pairs = []
    for talker, stream in match_talkers(reference, hypothesis).assignment:
        ref = [] if talker is None else reference[talker].split()
        hyp = [] if stream is None else hypothesis[stream].split()
        words = [
            (r, h, "" if r == h else "I" if r == GAP else "D" if h == GAP else "S")
            for r, h in align(ref, hyp, GAP)
        ]
        pairs.append(Pair(talker, stream, words))
    return pairs


def format_alignment(
    reference: Sequence[str], hypothesis: Sequence[str], color: bool = False
) -> List[str]:
    """Return the lines of a listing: a heading and three rows per talker.

    The rows are the talker's words, the matched stream's words and the errors (S, D
    or I under a word). Talkers and streams are numbered from 1 in onset order.

    Args:
        reference: One text per talker.
        hypothesis: One text per stream.
        color: Write errors in red, for terminals.

    >>> print("\\n".join(format_alignment(["a had had"], ["a had b"])))
    talker 1, stream 1
      ref: a had had
      hyp: a had b
      err:       S
    """
    lines = []
    for talker, stream, words in align_talkers(reference, hypothesis):
        names = [
            f"{kind} {'-' if index is None else index + 1}"
            for kind, index in (("talker", talker), ("stream", stream))
        ]
        rows: List[List[str]] = [[], [], []]
        for r, h, mark in words:
            width = max(len(r), len(h))
            for row, word in zip(rows, (r, h, mark), strict=True):
                cell = word.ljust(width)
                row.append(f"{RED}{cell}{PLAIN}" if mark and color else cell)
        lines.append(", ".join(names))
        for label, row in zip(("ref", "hyp", "err"), rows, strict=True):
            lines.append(f"  {label}: {' '.join(row)}".rstrip())
    return lines
