"""Confidences from probabilities, and the file that says how."""

import math

import pytest

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.calibration.calibration import Calibration


def test_a_logistic_function_of_the_log_odds():
    calibration = Calibration(slope=2.0, intercept=-1.0)
    odds = 2.0 * math.log(0.8 / 0.2) - 1.0
    expected = 1 / (1 + math.exp(-odds))
    assert calibration.confidence(0.8) == pytest.approx(expected, abs=1e-3)
    certain = [calibration.confidence(p) for p in (0.0, 1e-9, 0.5, 1.0)]
    assert certain == sorted(certain)
    assert 0.0 <= certain[0] and certain[-1] <= 1.0


def test_written_and_read(tmp_path):
    path = tmp_path / "calibration.json"
    calibration = Calibration(0.5, 0.25, -0.1, 0.3, 0.7, longest_mixture=7.0)
    calibration.write(path)
    assert Calibration.read(path) == calibration


def test_a_file_of_before_counts_were_calibrated(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(
        '{"slope": 2, "intercept": 0, "start_seconds": 0, "end_seconds": 0}'
    )
    assert Calibration.read(path) == Calibration(slope=2.0)


def test_counts():
    """The factor moves certainty, never the order; the sum stays 1."""
    log_probs = {count: math.log(p) for count, p in {1: 0.7, 2: 0.2, 3: 0.1}.items()}
    assert Calibration().count_probabilities(log_probs) == {1: 0.7, 2: 0.2, 3: 0.1}
    less, more = (
        Calibration(count_slope=slope).count_probabilities(log_probs)
        for slope in (0.5, 2.0)
    )
    assert less[1] < 0.7 < more[1]
    assert sum(less.values()) == pytest.approx(1.0, abs=2e-4)
    assert less[1] / less[2] == pytest.approx(math.sqrt(3.5), rel=1e-2)
    certain = Calibration(count_slope=20.0).count_probabilities({2: -800.0, 3: -900.0})
    assert certain == {2: 1.0, 3: 0.0}


@pytest.mark.parametrize("name", ["slope", "count_slope"])
@pytest.mark.parametrize("slope", [0.0, -0.5, math.inf, math.nan])
def test_what_would_not_be_read_is_not_written(tmp_path, name, slope):
    with pytest.raises(ValueError, match="not a calibration"):
        Calibration(**{name: slope}).write(tmp_path / "calibration.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_no_length_of_a_mixture(tmp_path, seconds):
    with pytest.raises(ValueError, match="not a calibration"):
        Calibration(longest_mixture=seconds).write(tmp_path / "calibration.json")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1]",
        "{}",
        '{"slope": 1, "intercept": 0, "start_seconds": 0}',
        '{"slope": "x", "intercept": 0, "start_seconds": 0, "end_seconds": 0}',
        '{"slope": -1, "intercept": 0, "start_seconds": 0, "end_seconds": 0}',
        '{"slope": NaN, "intercept": 0, "start_seconds": 0, "end_seconds": 0}',
        '{"slope": 1, "intercept": 0, "start_seconds": 0, "end_seconds": 0, "x": 1}',
        "\x00\xff",
    ],
)
def test_another_file(tmp_path, content):
    path = tmp_path / "calibration.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"calibration.json: lacks one of the numbers"):
        Calibration.read(path)


def test_steep_slopes():
    """As words that are easily told apart give."""
    calibration = Calibration(slope=100.0)
    assert calibration.confidence(0.0) == 0.0
    assert calibration.confidence(1.0) == 1.0
    assert calibration.confidence(0.5) == 0.5


def test_of_another_checkpoint(tmp_path, caplog):
    fitted = Calibration(start_seconds=0.1, model="valid.loss_ctc.ave.pth")
    path = tmp_path / "calibration.json"
    fitted.write(path)
    for name in ("valid.loss_ctc.ave.pth", "valid.loss_ctc.ave.safetensors"):
        assert Calibration.beside(tmp_path / name) == fitted
    assert Calibration.beside(tmp_path / "onnx.json") == fitted
    assert not caplog.messages
    assert Calibration.beside(tmp_path / "5epoch.pth") == Calibration()
    (said,) = caplog.messages
    assert said.startswith(
        f"{path}: is for valid.loss_ctc.ave.pth, and not used for 5e"
    )
    path.unlink()
    assert Calibration.beside(tmp_path / "5epoch.pth") == Calibration()
