"""Talker counts from 0 on: sounds without speech, quiet speech, a talker too many.

Recordings in which nobody talks are made (non_speech.py), speech is that of a recipe's
test sets, also quieter and in noise. What the model writes for them is compared without
silero-vad, with it, and with the rule that also uses the model's own scores. A model
without a rule gets one that is fitted on dev here, with other sounds, other seeds and
other levels, like the temperature of its counts. The threshold for a talker too many is
always fitted on dev.

After stages 1 to 3 of egs2/mini_librimix, on one core:
    OMP_NUM_THREADS=1 python -m tools.bench.no_speech
For another model: --model exp/mtasr_phase2 --recipe egs2/RECIPE/mtasr1
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from espnet_mtasr.errors import UserError, run_command_line
from tools.bench import side_by_side as bench
from tools.bench.long_recordings import MINI

OPTIONS = bench.Options(
    __doc__,
    recipe=(MINI, "with data/dev and data/test_*"),
    model="mini",
    clips=(20, "of each kind of sound, in dev and in test"),
    dev_mixtures=(120, "of the recipe's dev"),
    mixtures=(50, "of each test set"),
    seed=(0, "of sounds, noise and talkers"),
)
OPTIONS.add_argument(
    "--other_speech",
    type=Path,
    nargs="+",
    default=[],
    help="data directories with speech that the model wasn't trained on",
)
# Attenuation in dB, and SNR in dB of white noise, of test sets.
LEVELS = [(0, None), (20, None), (30, None), (40, None), (20, 10.0), (30, 5.0)]
# Share of known counts that may be flagged, on dev.
FALSE_FLAGS = 0.05
WAYS = ("model alone", "silero-vad", "with the rule")


class Mixture(NamedTuple):
    """Samples `(N,)`, and what is said, a text per talker."""

    samples: np.ndarray
    texts: List[str]


def read_mixtures(folder: Path, number: int, rate: int) -> List[Mixture]:
    """Read evenly spaced mixtures of a data directory.

    Raises:
        UserError: there is no such directory, or it has another sampling rate.
    """
    from espnet_mtasr.data.tables import read_table
    from espnet_mtasr.mixture.speech_list import read_speech_list
    from espnet_mtasr.text.sot import split_sot
    from espnet_mtasr.transcription.calibration.fitting import check_rate

    if not (folder / "text").is_file():
        raise UserError(f"{folder}: no data directory; run the recipe's stages 1 to 3")
    speech, texts = read_speech_list(folder), read_table(folder / "text")
    utts = sorted(texts)
    places = np.linspace(0, len(utts) - 1, min(number, len(utts))).astype(int)
    some = [utts[place] for place in places]
    for utt in some:
        check_rate(speech, folder, utt, rate)
    return [
        Mixture(np.asarray(speech[utt].read(), np.float32), split_sot(texts[utt]))
        for utt in some
    ]


def read_one_more(folder: Path, most: int, number: int, seed: int) -> List[Mixture]:
    """Mixtures of `most` talkers of a data directory, and one more; see `one_more`."""
    from espnet_mtasr.data.tables import read_table
    from espnet_mtasr.mixture.render import render
    from espnet_mtasr.mixture.spec import read_specs
    from espnet_mtasr.text.sot import split_sot
    from espnet_mtasr.transcription.calibration.rule_fitting import one_more

    if not (folder / "utt2mixture").is_file():
        return []
    specs = read_specs(folder / "utt2mixture")
    texts = {utt: split_sot(t) for utt, t in read_table(folder / "text").items()}
    found = one_more(specs, texts, most, np.random.default_rng(seed))
    places = np.linspace(0, len(found) - 1, min(number, len(found))).astype(int)
    return [Mixture(render(found[n][0]), found[n][1]) for n in places]


class Judge(NamedTuple):
    """What a model answers, with and without its rule.

    Attributes:
        calibration: With the temperature of counts, and the rule if there is one.
    """

    calibration: Any

    def texts(self, clip: Any, way: str) -> List[str]:
        """A text per talker; none if no speech is found."""
        rule = self.calibration.speech
        if way == WAYS[0]:
            found = True
        elif way == WAYS[1] or rule is None:
            found = clip.heard
        else:
            found = clip.judged and rule.holds(clip.evidence)
        return clip.texts if found else []

    def sure(self, clip: Any, way: str) -> Optional[float]:
        """Probability of the answered talker count; None: there is none."""
        rule, log_probs = self.calibration.speech, clip.hypothesis.count_log_probs
        with_rule = way == WAYS[2] and rule is not None
        if log_probs is None or not (clip.judged if with_rule else clip.heard):
            return None
        counts = self.calibration.count_probabilities(log_probs)
        count = len(self.texts(clip, way))
        if not with_rule:
            return counts[count]
        speech = rule.probability(clip.evidence)
        return speech * counts[count] if count else 1 - speech


def found_rates(judge: Judge, clips: List[Any]) -> Dict[str, Any]:
    """Percent of clips with words and with talkers, by way."""
    rates: Dict[str, Any] = dict(clips=len(clips))
    for way in WAYS:
        found = [judge.texts(clip, way) for clip in clips]
        rates[way] = dict(
            words=_percent([any(texts) for texts in found]),
            talkers=_percent([len(texts) > 0 for texts in found]),
        )
    return rates


def speech_rates(judge: Judge, clips: List[Any]) -> Dict[str, Any]:
    """Percent of mixtures without words, and cpWER, by way."""
    from espnet_mtasr.scoring.error_counts import ErrorCounts, cp_errors

    rates: Dict[str, Any] = dict(mixtures=len(clips))
    for way in WAYS:
        found = [judge.texts(clip, way) for clip in clips]
        errors = (cp_errors(clip.reference, t) for clip, t in zip(clips, found))
        rates[way] = dict(
            no_words=_percent([not any(texts) for texts in found]),
            cpwer=sum(errors, ErrorCounts()).percent,
        )
    return rates


def count_rates(judge: Judge, clips: List[Any]) -> Dict[str, Any]:
    """Percent of right talker counts, by true count and way; and their mean."""
    rates: Dict[str, Any] = {}
    for way in WAYS[1:]:
        right: Dict[int, List[bool]] = {}
        for clip in clips:
            true = len(clip.reference)
            right.setdefault(true, []).append(len(judge.texts(clip, way)) == true)
        by = {str(n): _percent(right[n]) for n in sorted(right)}
        rates[way] = by | dict(mean=float(np.mean(list(by.values()))))
    return rates


def calibration_error(judge: Judge, clips: List[Any], way: str) -> Dict[str, Any]:
    """ECE in percent of the count's probabilities, and a table of reliability."""
    from espnet_mtasr.transcription.calibration import expected_error

    pairs = [
        (sure, len(judge.texts(clip, way)) == len(clip.reference))
        for clip in clips
        if (sure := judge.sure(clip, way)) is not None
    ]
    if not pairs:
        return dict(clips=0)
    sure, right = [p for p, _ in pairs], [answer for _, answer in pairs]
    return dict(
        clips=len(pairs),
        ece=100 * expected_error.expected_calibration_error(sure, right),
        reliability=[row._asdict() for row in expected_error.reliability(sure, right)],
    )


def flag_rates(
    dev: List[Any], dev_more: List[Any], test: List[Any], test_more: List[Any]
) -> Dict[str, Any]:
    """How well a talker too many is noticed: by the count's probability, by a rule.

    Args:
        dev: Speech of known counts.
        dev_more: Mixtures with a talker more than the model knows.
        test: As `dev`.
        test_more: As `dev_more`.
    """
    from sklearn.metrics import roc_auc_score

    from espnet_mtasr.transcription.calibration.rule_fitting import (
        fit_rule,
        with_threshold,
    )

    sides = [[clip.evidence for clip in clips] for clips in (dev, dev_more, test)]
    known, more, _ = sides
    fitted = fit_rule(more, known)
    by_count = type(fitted)(dict(count_odds=-1.0), 0.0, 0.5)
    rates: Dict[str, Any] = dict(mixtures=len(test_more), known=len(test))
    for name, rule in (("count probability", by_count), ("fitted rule", fitted)):
        rule = with_threshold(rule, known, 1 - FALSE_FLAGS)
        scores = [rule.probability(c.evidence) for c in (*test_more, *test)]
        answers = [True] * len(test_more) + [False] * len(test)
        by: Dict[str, List[bool]] = {}
        for clip in test:
            flag = rule.holds(clip.evidence)
            by.setdefault(str(len(clip.reference)), []).append(flag)
        rates[name] = dict(
            auc=float(roc_auc_score(answers, scores)),
            flagged=_percent([rule.holds(clip.evidence) for clip in test_more]),
            false_flags=_percent([rule.holds(clip.evidence) for clip in test]),
            false_flags_by_count={n: _percent(by[n]) for n in sorted(by)},
        )
    return rates


def _percent(answers: List[bool]) -> float:
    return 100.0 * sum(answers) / len(answers)


def name_of(level: Tuple[float, Optional[float]]) -> str:
    """Name of a level in the results."""
    decibels, snr = level
    noise = "" if snr is None else f", noise at {snr:g} dB SNR"
    return f"-{decibels:g} dB{noise}" if decibels else "as it is"


@OPTIONS.benchmark
def main(args: argparse.Namespace, results: bench.Results) -> None:
    """Fit on dev, measure on test, print what was found."""
    from espnet_mtasr import MTASR
    from espnet_mtasr.scoring.inputs import read_references
    from espnet_mtasr.transcription.calibration import rule_fitting as fitting
    from espnet_mtasr.transcription.calibration.calibration import Calibration
    from espnet_mtasr.transcription.calibration.fitting import Decoded, fit_counts

    data, seed = args.recipe / "data", args.seed
    test_dirs = sorted(path.parent for path in data.glob("test_*/text"))
    if not test_dirs:
        raise UserError(f"{data}: has no test sets; run the recipe's stages 1 to 3")
    model = MTASR.from_pretrained(args.model, device="cpu")
    most = max(model.talker_counts)
    # Counts are fitted on these, so the model must know them.
    read_references(data / "dev", model.talker_counts)
    dev_mixtures = read_mixtures(data / "dev", args.dev_mixtures, model.rate)
    mixtures, others = (
        [m for path in paths for m in read_mixtures(path, args.mixtures, model.rate)]
        for paths in (test_dirs, args.other_speech)
    )
    dev_more = read_one_more(data / "dev", most, args.dev_mixtures, seed)
    test_more = [
        mixture
        for path in test_dirs
        for mixture in read_one_more(path, most, args.mixtures, seed)
    ]

    def heard(name: str, some: List[Mixture], level: Any = fitting.AS_IT_IS) -> List:
        return fitting.hear_speech(model, some, [level], seed, name)

    judge, figures = Judge(model.decoder.calibration), results.figures
    if judge.calibration.speech is not None:
        dev_speech = heard("dev", dev_mixtures)
    else:
        dev = fitting.hear_dev(model, dev_mixtures, args.clips, seed)
        dev_speech = dev.speech
        judge = Judge(
            fit_counts(
                [Decoded(0.0, c.hypothesis, c.reference, {}) for c in dev_speech],
                replace(judge.calibration, speech=fitting.fit_speech(dev)),
            )
        )
        figures["fitted on dev"] = found_rates(judge, dev.sounds)
    figures["calibration"] = asdict(judge.calibration)
    sounds = fitting.hear_sounds(model, "test", args.clips, seed)
    everything = [clip for clips in sounds.values() for clip in clips]
    figures["sounds"] = {
        name: found_rates(judge, clips)
        for name, clips in (*sounds.items(), ("all", everything))
    }
    levels = {
        name_of(level): heard(name_of(level), mixtures, level) for level in LEVELS
    }
    if others:
        levels["other speech"] = heard("other speech", others)
    figures["speech"] = {n: speech_rates(judge, clips) for n, clips in levels.items()}
    speech = levels[name_of(fitting.AS_IT_IS)]
    figures["counts"] = count_rates(judge, [*everything, *speech])
    plain = Judge(Calibration())
    figures["count probabilities"] = {
        "speech, before": calibration_error(plain, speech, WAYS[1]),
        "speech, after": calibration_error(judge, speech, WAYS[2]),
        "all, before": calibration_error(plain, [*everything, *speech], WAYS[1]),
        "all, after": calibration_error(judge, [*everything, *speech], WAYS[2]),
    }
    if dev_more and test_more:
        figures["a talker too many"] = flag_rates(
            dev_speech,
            heard("dev, a talker too many", dev_more),
            speech,
            heard("a talker too many", test_more),
        )
    for title, rows in figures.items():
        print(f"{title}:")
        for name, row in rows.items():
            print(f"  {name}: {in_words(row)}", flush=True)


def in_words(row: Any) -> str:
    """Figures on one line."""
    if isinstance(row, dict):
        return ", ".join(f"{name} {in_words(value)}" for name, value in row.items())
    if isinstance(row, list):
        return "; ".join(map(in_words, row))
    return f"{row:.4g}" if isinstance(row, float) else str(row)


if __name__ == "__main__":
    run_command_line(main)
