"""CTC prefix beam search compared with one that sorts all units in every frame.

Probabilities are random: a unit and a competitor in every fourth frame, and blank
elsewhere. They are nearly certain (`sure`), or uncertain everywhere (`doubtful`). Both
searches must write the same units.

    python -m tools.bench.beam_search --json out.json
"""

import argparse
from typing import Dict, List, Tuple

import numpy as np

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench import side_by_side as bench

# Logits of spoken units above those of the others.
KINDS = {"sure": 16.0, "doubtful": 3.0}
OPTIONS = bench.Options(
    __doc__,
    units=[1000, 5000, 128256],
    frames=(250, "5 s of WavLM's"),
    beam_size=10,
    rounds=5,
)


def draw(frames: int, units: int, height: float, seed: int = 0) -> np.ndarray:
    """Return natural logarithms `(frames, units)` of a CTC head's probabilities."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((frames, units)).astype(np.float32)
    scores[:, 0] += height
    said = np.arange(0, frames, 4)
    scores[said, 0] -= 4.0 * rng.random(len(said))
    for below in (1.0, 5.0):
        unit = rng.integers(1, units, len(said))
        scores[said, unit] += height - below * rng.random(len(said))
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def sort_all(log_probs: np.ndarray, beam_size: int) -> List[int]:
    """Do the same search, but try the best units in every frame."""
    Prefix = Tuple[int, ...]
    beam: Dict[Prefix, Tuple[float, float]] = {(): (0.0, -np.inf)}
    for frame in log_probs:
        best = np.argsort(-frame, kind="stable")[: beam_size + 2]
        tokens = [c for c in best.tolist() if c != 0]
        tokens = list(dict.fromkeys(tokens + [p[-1] for p in beam if p]))
        grown: Dict[Prefix, Tuple[float, float]] = {}

        def add(prefix: Prefix, in_blank: float, in_token: float) -> None:
            blank, token = grown.get(prefix, (-np.inf, -np.inf))
            sums = np.logaddexp(blank, in_blank), np.logaddexp(token, in_token)
            grown[prefix] = sums

        for prefix, (in_blank, in_token) in beam.items():
            total = np.logaddexp(in_blank, in_token)
            last = prefix[-1] if prefix else None
            again = -np.inf if last is None else frame[last] + in_token
            add(prefix, frame[0] + total, again)
            for token in tokens:
                before = in_blank if token == last else total
                add((*prefix, token), -np.inf, frame[token] + before)
        order = sorted(grown.items(), key=lambda item: -np.logaddexp(*item[1]))
        beam = dict(order[:beam_size])
    return list(next(iter(beam)))


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Compare texts and times."""
    from espnet_mtasr.asr.ctc_beam_search import prefix_beam_search

    if min(args.units) <= args.beam_size + 2:
        raise UserError(
            f"--units {min(args.units)}: give more than --beam_size {args.beam_size} "
            f"and 2"
        )
    for units in args.units:
        for kind, height in KINDS.items():
            log_probs = draw(args.frames, units, height)
            searches = {"ours": prefix_beam_search, "sorting": sort_all}
            ours, theirs = (
                search(log_probs, args.beam_size) for search in searches.values()
            )
            where = f"{units} units, {kind}"
            bench.check_same_texts(where, [ours], "one that sorts", [theirs])
            times = results.measure(
                {
                    name: lambda search=search: search(log_probs, args.beam_size)
                    for name, search in searches.items()
                },
                f"{where}, ",
            )
            ratio = bench.Ratio(times["sorting"], times["ours"])
            frame = 1000 * min(times["ours"]) / args.frames
            results.figures[where] = {"ratio": ratio, "ms_per_frame": frame}
            print(
                f"{where}: {ratio} as fast as sorting, {frame:.3f} ms a frame, "
                f"{len(ours)} units written"
            )


if __name__ == "__main__":
    run_command_line(main)
