"""Fit a model's confidences and word times on data with known words."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import (
    TYPE_CHECKING,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from espnet_mtasr.abs_inference import MixtureHypothesis
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.speech_list import Speech, read_speech_list
from espnet_mtasr.progress import progress
from espnet_mtasr.scoring.inputs import read_references
from espnet_mtasr.scoring.word_matches import match_words
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.calibration.expected_error import (
    expected_calibration_error,
)
from espnet_mtasr.transcription.calibration.log_odds import log_odds
from espnet_mtasr.transcription.recordings import to_model
from espnet_mtasr.transcription.transcript import Word

if TYPE_CHECKING:
    from espnet_mtasr.transcription.mtasr import MTASR

# Beside wav.scp, if word times are known: UTTERANCE TALKER START DURATION WORD, talkers
# from 1 in onset order, times in seconds.
WORD_TIMES = "words.ctm"

# Start and end in seconds.
Span = Tuple[float, float]


class Decoded(NamedTuple):
    """A mixture of a data directory, decoded.

    Attributes:
        seconds: Its length.
        hypothesis: With spans.
        reference: What was said, a text per talker.
        times: Starts and ends in seconds of the talkers' words, if known.
    """

    seconds: float
    hypothesis: MixtureHypothesis
    reference: List[str]
    times: Dict[int, List[Span]]


class Heard(NamedTuple):
    """A word that the model wrote.

    Attributes:
        word: With its confidence and times.
        correct: Whether it was said.
        said: Start and end in seconds of the spoken word; None: not known.
    """

    word: Word
    correct: bool
    said: Optional[Span] = None


@dataclass(frozen=True)
class Report:
    """Effect of calibration on a set.

    Attributes:
        set: Its name.
        words: Words that the model wrote.
        correct: Percent of them that are right; None if there are none.
        raw_error: Expected calibration error in percent, of CTC's probabilities, or
            None.
        error: The same of the confidences.
        timed: Right words whose times are known.
        start_error: Median distance in seconds of their starts; None if there are none.
        end_error: The same of their ends.
        raw_count_error: Expected calibration error in percent, of the talker-count
            head's probabilities, or those rescored by the branches; None: no head.
        count_error: The same after calibration.
    """

    set: str
    words: int
    correct: Optional[float]
    raw_error: Optional[float]
    error: Optional[float]
    timed: int
    start_error: Optional[float]
    end_error: Optional[float]
    raw_count_error: Optional[float] = None
    count_error: Optional[float] = None


def decode(model: "MTASR", data_dir: Path) -> List[Decoded]:
    """Decode a data directory, with the talker counts that the model predicts.

    Raises:
        UserError: the directory is not in order.
    """
    references = read_references(data_dir, model.talker_counts).texts
    times = read_word_times(data_dir, references)
    speech = read_speech_list(data_dir)
    for utt in references:
        check_rate(speech, data_dir, utt, model.rate)
    decoded = []
    for utt in progress(references, len(references), f"{data_dir.name}: decoded"):
        samples = to_model(speech[utt].read(), model.rate, model.rate, utt)
        (hypothesis,) = model.speech2text([samples])
        seconds = len(samples) / model.rate
        decoded.append(
            Decoded(seconds, hypothesis, references[utt], times.get(utt, {}))
        )
    return decoded


def check_rate(speech: Dict[str, Speech], data_dir: Path, utt: str, rate: int) -> None:
    """Raise `UserError` if a data directory has no speech of `utt` at this rate."""
    if utt not in speech:
        raise UserError(f"{data_dir}: has no speech of {utt}; run stage 3")
    found = speech[utt].check(utt).rate
    if found != rate:
        raise UserError(
            f"{data_dir}: {utt} has {found} Hz, but the model needs {rate}; run stage 3"
        )


def judge(model: "MTASR", decoded: Sequence[Decoded]) -> List[Heard]:
    """Return the words of decoded mixtures, right or wrong."""
    heard = []
    for mixture in decoded:
        transcript = model.decoder.writer.transcript(
            "", mixture.seconds, mixture.hypothesis
        )
        texts = [talker.text for talker in transcript.talkers]
        for match in match_words(mixture.reference, texts):
            word = transcript.talkers[match.stream].words[match.place]
            said = None
            if match.talker is not None and match.spoken is not None:
                times = mixture.times.get(match.talker)
                said = times[match.spoken] if times else None
            heard.append(Heard(word, match.correct, said))
    return heard


def read_word_times(
    data_dir: Path, references: Dict[str, List[str]]
) -> Dict[str, Dict[int, List[Span]]]:
    """Read `WORD_TIMES`, if it is there: by utterance, by talker from 0.

    Raises:
        UserError: a line is bad, or the words are not those of `references`.
    """
    path = data_dir / WORD_TIMES
    words: Dict[Tuple[str, int], List[str]] = {}
    times: Dict[str, Dict[int, List[Span]]] = {}
    for number, line in enumerate(_lines(path), 1):
        try:
            utt, talker, start, seconds, word = line.split()
            place = int(talker) - 1
            span = (float(start), float(start) + float(seconds))
        except ValueError:
            raise UserError(
                f"{path}:{number}: is not 'utterance talker start duration word'"
            ) from None
        words.setdefault((utt, place), []).append(word)
        times.setdefault(utt, {}).setdefault(place, []).append(span)
    for (utt, place), said in words.items():
        texts = references.get(utt, [])
        if not 0 <= place < len(texts) or texts[place].split() != said:
            raise UserError(
                f"{path}: the words of {utt}, talker {place + 1}, are not those of "
                f"text; fix one of them"
            )
    return times


def _lines(path: Path) -> Iterator[str]:
    if path.exists():
        yield from path.read_text(encoding="utf-8").splitlines()


def fit_confidence(heard: Sequence[Heard], calibration: Calibration) -> Calibration:
    """Return `calibration` with the slope and intercept that fit (Platt scaling).

    Args:
        heard: By a model with `Calibration()`.
        calibration: Its other numbers stay.

    Raises:
        UserError: all words are right, or all are wrong, or right ones have no higher
            probabilities than wrong ones.
    """
    answers = [h.correct for h in heard]
    if len(set(answers)) < 2:
        kind = "right" if any(answers) else "wrong"
        raise UserError(
            f"--data_dir: all {len(answers)} written words are {kind}, so confidences "
            "can't be calibrated; give more data"
        )
    from sklearn.linear_model import LogisticRegression

    odds = [[log_odds(h.word.confidence)] for h in heard]
    # So weak a prior that it only keeps separable data finite.
    fit = LogisticRegression(C=1e6).fit(odds, answers)
    slope, intercept = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if not slope > 0:
        raise UserError(
            "--data_dir: right words have no higher probabilities than wrong ones "
            f"({len(answers)} words, slope {slope:.3g}), so confidences can't be "
            "calibrated; give more data, or train the model further"
        )
    return replace(calibration, slope=slope, intercept=intercept)


def fit_times(heard: Sequence[Heard], calibration: Calibration) -> Calibration:
    """Return `calibration` with the shifts that bring the median errors to 0.

    Args:
        heard: By a model with `Calibration()`.
        calibration: Its other numbers stay.

    Raises:
        UserError: no right word has known times.
    """
    timed = [(h.word, h.said) for h in heard if h.said is not None]
    if not timed:
        raise UserError(
            f"--times_data_dir: has no {WORD_TIMES} with words that the model writes"
        )
    return replace(
        calibration,
        start_seconds=median(said[0] - word.start for word, said in timed),
        end_seconds=median(said[1] - word.end for word, said in timed),
    )


def fit_counts(decoded: Sequence[Decoded], calibration: Calibration) -> Calibration:
    """Return `calibration` with the factor that fits talker counts' probabilities.

    It minimizes their negative log likelihood, with a weak prior for 1 that matters if
    nearly all counts are right.

    Args:
        decoded: With counts that the model predicts.
        calibration: Its other numbers stay.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    rows = [
        ([*log_probs.values()], list(log_probs).index(len(mixture.reference)))
        for mixture in decoded
        if (log_probs := mixture.hypothesis.count_log_probs) is not None
    ]
    if not rows:
        return calibration
    scores, right = np.array([row for row, _ in rows]), [place for _, place in rows]

    def loss(log_slope: float) -> float:
        scaled = np.exp(log_slope) * scores
        likely = scaled[np.arange(len(right)), right] - logsumexp(scaled, axis=1)
        return float(-likely.sum() + log_slope**2)

    found = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded")
    return replace(calibration, count_slope=float(np.exp(found.x)))


def fit_length(decoded: Sequence[Decoded], calibration: Calibration) -> Calibration:
    """Return `calibration` with the longest mixture's length in whole seconds.

    Args:
        decoded: Mixtures like those of the training.
        calibration: Its other numbers stay.
    """
    longest = max(mixture.seconds for mixture in decoded)
    return replace(calibration, longest_mixture=float(math.ceil(longest)))


def count_error(
    decoded: Sequence[Decoded], calibration: Calibration
) -> Optional[float]:
    """ECE in percent of the predicted talker counts' probabilities; None: no counts."""
    sure, right = [], []
    for mixture in decoded:
        if mixture.hypothesis.count_log_probs is not None:
            known = calibration.count_probabilities(mixture.hypothesis.count_log_probs)
            count = mixture.hypothesis.num_talkers
            sure.append(known[count])
            right.append(count == len(mixture.reference))
    return 100 * expected_calibration_error(sure, right) if sure else None


def report(
    name: str,
    raw: Sequence[Heard],
    calibrated: Sequence[Heard],
    count_errors: Tuple[Optional[float], Optional[float]] = (None, None),
) -> Report:
    """Summarize the words of a set, without and with calibration.

    Args:
        name: Of the set.
        raw: Its words without calibration.
        calibrated: And with it.
        count_errors: `count_error` without and with it.
    """
    correct = [h.correct for h in raw]
    raw_error, error = (
        (
            100
            * expected_calibration_error([h.word.confidence for h in heard], correct)
            if heard
            else None
        )
        for heard in (raw, calibrated)
    )
    timed = [(h.word, h.said) for h in calibrated if h.said is not None]
    starts = [abs(said[0] - word.start) for word, said in timed]
    ends = [abs(said[1] - word.end) for word, said in timed]
    return Report(
        name,
        len(raw),
        100 * sum(correct) / len(raw) if raw else None,
        raw_error,
        error,
        len(timed),
        median(starts) if starts else None,
        median(ends) if ends else None,
        *count_errors,
    )


def format_reports(reports: Sequence[Report]) -> str:
    """Return a table in Markdown."""

    def number(value: Optional[float], digits: int = 3) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    lines = [
        "| set | written words | right % | ECE % of CTC's probabilities | ECE % of "
        "confidences | words with known times | median error of start (s) | of end (s) "
        "| ECE % of talker counts | calibrated |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r.set} | {r.words} | {number(r.correct, 1)} | {number(r.raw_error, 1)} "
        f"| {number(r.error, 1)} | {r.timed} | {number(r.start_error)} "
        f"| {number(r.end_error)} | {number(r.raw_count_error, 1)} "
        f"| {number(r.count_error, 1)} |"
        for r in reports
    ]
    return "\n".join(lines) + "\n"
