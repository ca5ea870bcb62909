"""Rules: what they see, how they judge, how they are fitted and stored."""

import math

import numpy as np
import pytest

from espnet_mtasr.abs_inference import MixtureHypothesis, TalkerHypothesis
from espnet_mtasr.asr.ctc_alignment import TokenSpan
from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.calibration.log_odds import log_odds
from espnet_mtasr.transcription.calibration.rule_fitting import (
    fit_rule,
    with_threshold,
)
from espnet_mtasr.transcription.calibration.rules import (
    FLOOR,
    Evidence,
    Rule,
    evidence_of,
)

RULE = Rule({"token": 2.0, "vad_peak": 1.0}, 0.5, 0.4)


def hypothesis(*talkers, counts=None):
    """Of 10 frames, with spans (start, end, probability)."""
    found = [
        TalkerHypothesis("", [], [], [TokenSpan(*span) for span in spans])
        for spans in talkers
    ]
    return MixtureHypothesis(found, counts, 10)


def test_evidence():
    counts = {2: math.log(0.9), 3: math.log(0.1)}
    found = evidence_of(
        np.array([0.1, 0.9, 0.8, 0.7, 0.6, 0.2]),
        hypothesis([(0, 2, 0.5), (4, 5, 1.0)], [(1, 2, 0.25)], counts=counts),
    )
    # Four frames in a row are speech, so the least of the best four counts.
    assert found.vad_peak == pytest.approx(log_odds(0.6))
    expected = np.mean([log_odds(p) for p in (0.1, 0.9, 0.8, 0.7, 0.6, 0.2)])
    assert found.vad_mean == pytest.approx(expected)
    assert found.token == pytest.approx(math.log(0.5 * 0.25) / 3)
    assert found.filled == pytest.approx(4 / 20)
    assert found.count_odds == pytest.approx(log_odds(0.9))


def test_evidence_of_next_to_nothing():
    found = evidence_of(np.array([0.9]), hypothesis([], []))
    # Shorter than any speech.
    assert found.vad_peak == log_odds(0.0)
    assert found.token == math.log(FLOOR)
    assert (found.filled, found.count_odds) == (0.0, 0.0)
    assert evidence_of(np.zeros(0), hypothesis()).filled == 0.0


def test_probability():
    evidence = Evidence(1.0, 9.0, -1.0, 9.0, 9.0)
    assert RULE.probability(evidence) == pytest.approx(1 / (1 + math.exp(0.5)))
    assert not RULE.holds(evidence)
    assert RULE.holds(evidence._replace(token=-0.9))


def clouds(n=400):
    """Evidence of both sides; only token and vad_peak tell them apart."""
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(size=(2, n, 5))
    positive[:, 0] += 3
    positive[:, 2] += 4
    return [
        [Evidence(*map(float, row)) for row in side] for side in (positive, negative)
    ]


def test_a_fitted_rule_tells_sides_apart():
    positive, negative = clouds()
    rule = fit_rule(positive, negative)
    assert rule.is_sound()
    assert sum(map(rule.holds, positive)) > 0.97 * len(positive)
    assert sum(map(rule.holds, negative)) < 0.03 * len(negative)
    telling = min(rule.weights["vad_peak"], rule.weights["token"])
    assert telling > 3 * max(
        abs(rule.weights[n]) for n in ("vad_mean", "filled", "count_odds")
    )


def test_thresholds():
    positive, negative = clouds()
    rule = fit_rule(positive, negative)
    lost = with_threshold(rule, positive, 0.05)
    assert sum(map(lost.holds, positive)) == pytest.approx(0.95 * len(positive), abs=1)
    assert all(map(with_threshold(rule, positive, 0.0).holds, positive))


def test_stored(tmp_path):
    path = tmp_path / "calibration.json"
    calibration = Calibration(0.5, speech=RULE)
    calibration.write(path)
    assert Calibration.read(path) == calibration
    # Without a rule the file is as before rules.
    Calibration(0.5).write(path)
    assert "speech" not in path.read_text()


@pytest.mark.parametrize(
    "rule",
    [
        "1",
        '{"weights": {"token": 1}, "intercept": 0}',
        '{"weights": {"loudness": 1}, "intercept": 0, "threshold": 0.5}',
        '{"weights": {"token": NaN}, "intercept": 0, "threshold": 0.5}',
        '{"weights": {"token": "x"}, "intercept": 0, "threshold": 0.5}',
        '{"weights": [], "intercept": 0, "threshold": 0.5}',
    ],
)
def test_a_bad_rule(tmp_path, rule):
    path = tmp_path / "calibration.json"
    path.write_text(
        '{"slope": 1, "intercept": 0, "start_seconds": 0, "end_seconds": 0, '
        f'"count_slope": 1, "speech": {rule}}}'
    )
    with pytest.raises(UserError, match="calibration.json: .*run espnet_mtasr.bin.cal"):
        Calibration.read(path)


def test_a_bad_rule_is_not_written(tmp_path):
    bad = Calibration(speech=Rule({"token": math.nan}, 0.0, 0.5))
    with pytest.raises(ValueError, match="not a calibration"):
        bad.write(tmp_path / "calibration.json")
