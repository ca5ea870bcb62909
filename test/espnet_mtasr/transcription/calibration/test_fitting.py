"""Calibration: fitted to words that are known, on data that is made up."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from helpers.tiny_inference import noises, save_tiny_model

from espnet_mtasr.abs_inference import MixtureHypothesis, TalkerHypothesis
from espnet_mtasr.bin.calibrate import main
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring.word_matches import match_words
from espnet_mtasr.transcription.calibration import non_speech, rule_fitting
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.calibration.expected_error import (
    expected_calibration_error,
)
from espnet_mtasr.transcription.calibration.fitting import (
    Decoded,
    Heard,
    count_error,
    fit_confidence,
    fit_counts,
    fit_length,
    fit_times,
    format_reports,
    report,
)
from espnet_mtasr.transcription.calibration.rules import Rule
from espnet_mtasr.transcription.mtasr import MTASR
from espnet_mtasr.transcription.speech_detector import SpeechDetector
from espnet_mtasr.transcription.transcript import Word

LENGTHS = (9000, 4000, 12345, 7001)


def overconfident(n=4000):
    """Words whose log odds are twice what they should be, and 1 too high."""
    rng = random.Random(0)
    calibration = Calibration(slope=0.5, intercept=-0.5)
    heard = []
    for _ in range(n):
        p = rng.uniform(0.02, 0.98)
        correct = rng.random() < calibration.confidence(p)
        heard.append(Heard(Word("w", 0.0, 0.1, p), correct))
    return heard


def test_confidence_is_fitted():
    heard = overconfident()
    found = fit_confidence(heard, Calibration(start_seconds=0.5))
    assert found.slope == pytest.approx(0.5, abs=0.05)
    assert found.intercept == pytest.approx(-0.5, abs=0.1)
    assert found.start_seconds == 0.5
    correct = [h.correct for h in heard]
    before = [h.word.confidence for h in heard]
    after = [found.confidence(p) for p in before]
    assert expected_calibration_error(before, correct) > 0.1
    assert expected_calibration_error(after, correct) < 0.03


def test_nothing_to_learn():
    for answer, kind in ((True, "right"), (False, "wrong")):
        heard = [Heard(Word("w", 0.0, 0.1, p), answer) for p in (0.2, 0.7)]
        with pytest.raises(UserError, match=f"all 2 written words are {kind}"):
            fit_confidence(heard, Calibration())
    upside_down = [h._replace(correct=not h.correct) for h in overconfident()]
    with pytest.raises(UserError, match="right words have no higher probabilities tha"):
        fit_confidence(upside_down, Calibration())
    with pytest.raises(UserError, match="--times_data_dir: has no words.ctm"):
        fit_times(heard, Calibration())


def test_a_set_without_words():
    (line,) = format_reports([report("a_set", [], [])]).splitlines()[2:]
    assert line == "| a_set | 0 | - | - | - | 0 | - | - | - | - |"


def test_times_are_fitted():
    starts = [1.0, 2.0, 3.0]
    heard = [
        Heard(Word("w", t, t + 0.1, 0.5), True, (t - 0.2 + jitter, t + 0.25))
        for t, jitter in zip(starts, (-0.05, 0.0, 0.01))
    ]
    found = fit_times([*heard, Heard(Word("w", 9.0, 9.1, 0.5), False)], Calibration())
    assert found.start_seconds == pytest.approx(-0.2)
    assert found.end_seconds == pytest.approx(0.15)


def decoded_counts(slope, n=3000):
    """Mixtures of two or three, whose counts' log odds are off by a factor."""
    rng = random.Random(0)
    found = []
    for _ in range(n):
        odds = rng.uniform(-4, 4)
        count = 3 if rng.random() < 1 / (1 + math.exp(-odds)) else 2
        odds /= slope
        log_probs = {2: -math.log1p(math.exp(odds)), 3: -math.log1p(math.exp(-odds))}
        predicted = max(log_probs, key=log_probs.get)
        talkers = [TalkerHypothesis("", [], [])] * predicted
        hypothesis = MixtureHypothesis(talkers, log_probs)
        found.append(Decoded(1.0, hypothesis, ["w"] * count, {}))
    return found


@pytest.mark.parametrize("slope", [0.4, 1.0, 2.0])
def test_counts_are_fitted(slope):
    decoded = decoded_counts(slope)
    found = fit_counts(decoded, Calibration(start_seconds=0.5))
    assert found.count_slope == pytest.approx(slope, rel=0.1)
    assert found.start_seconds == 0.5
    before = count_error(decoded, Calibration())
    assert count_error(decoded, found) < 2.5
    assert before > 5 or slope == 1.0


def test_counts_that_are_all_right_are_not_certain():
    right = [
        m for m in decoded_counts(1.0) if m.hypothesis.num_talkers == len(m.reference)
    ]
    sure = [m for m in right if max(m.hypothesis.count_log_probs.values()) > -0.02]
    assert fit_counts(sure[:100], Calibration()).count_slope < 3.0


def test_no_talker_count_head():
    decoded = [Decoded(1.0, MixtureHypothesis([], None), ["w"], {})]
    assert fit_counts(decoded, Calibration()) == Calibration()
    assert count_error(decoded, Calibration()) is None


def test_the_longest_mixture():
    decoded = [
        Decoded(seconds, MixtureHypothesis([], None), ["w"], {})
        for seconds in (3.2, 6.3, 5.0)
    ]
    found = fit_length(decoded, Calibration(start_seconds=0.5))
    assert found == Calibration(start_seconds=0.5, longest_mixture=7.0)


def test_a_report():
    raw = [Heard(Word("w", 0.0, 1.0, 0.9), c, (0.3, 0.9)) for c in (True, True)]
    raw.append(Heard(Word("w", 0.0, 1.0, 0.9), False))
    calibrated = [h._replace(word=Word("w", 0.2, 1.0, 2 / 3)) for h in raw]
    found = report("a_set", raw, calibrated, (4.25, None))
    assert (found.words, found.timed) == (3, 2)
    assert found.correct == pytest.approx(200 / 3)
    assert found.raw_error == pytest.approx(90 - 200 / 3)
    assert found.error == pytest.approx(0.0)
    assert found.start_error == pytest.approx(0.1)
    assert found.end_error == pytest.approx(0.1)
    assert format_reports([found]).splitlines()[-1] == (
        "| a_set | 3 | 66.7 | 23.3 | 0.0 | 2 | 0.100 | 0.100 | 4.2 | - |"
    )


def test_matches():
    matches = match_words(["a b c", "d e"], ["e", "a x b c c"])
    assert [m.correct for m in matches] == [True, True, False, True, True, False]
    assert [(m.talker, m.spoken) for m in matches if m.correct] == [
        (1, 1),
        (0, 0),
        (0, 1),
        (0, 2),
    ]
    # More streams than talkers: what nobody said is wrong.
    assert [m.correct for m in match_words(["a"], ["a", "a"])] == [True, False]
    assert match_words(["a"], ["", ""]) == []


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "exp")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, model_file):
    """A set that the model writes down half right, and whose times are known."""
    folder = tmp_path_factory.mktemp("data") / "dev"
    model = MTASR.from_pretrained(model_file.parent, device="cpu")
    tables = {name: {} for name in ("wav.scp", "text", "utt2num_spk")}
    lines = []
    for n, wave in enumerate(noises(*LENGTHS)):
        path = folder.parent / f"{n}.wav"
        soundfile.write(path, wave, 16000, subtype="FLOAT")
        (transcript,) = model.transcribe([wave], vad_threshold=0)
        texts = []
        for k, talker in enumerate(transcript.talkers, 1):
            words = [w for w in talker.words if w.text] or [Word("z", 0, 0.1, 0)]
            said = [w.text if (n + i) % 2 else "other" for i, w in enumerate(words)]
            texts.append(" ".join(said))
            lines += [
                f"utt{n} {k} {w.start + 0.1:.3f} {w.end - w.start:.3f} {text}"
                for w, text in zip(words, said)
            ]
        tables["wav.scp"][f"utt{n}"] = str(path)
        tables["text"][f"utt{n}"] = " <sc> ".join(texts)
        tables["utt2num_spk"][f"utt{n}"] = str(len(texts))
    for name, table in tables.items():
        write_table(folder / name, table)
    (folder / "words.ctm").write_text("\n".join(lines) + "\n")
    return folder


def test_the_command(model_file, data_dir, capsys):
    main(
        ["--mtasr_model_file", str(model_file), "--data_dir", str(data_dir)]
        + ["--times_data_dir", str(data_dir)]
    )
    found = Calibration.read(model_file.with_name("calibration.json"))
    assert found.start_seconds == pytest.approx(0.1, abs=2e-3)
    assert found.end_seconds == pytest.approx(0.1, abs=2e-3)
    assert found.count_slope != 1.0
    assert found.model == model_file.name
    table = model_file.with_name("calibration.md").read_text()
    assert table in capsys.readouterr().out
    assert table.splitlines()[2].startswith("| dev | ")
    model = MTASR.from_pretrained(model_file.parent, device="cpu")
    assert model.decoder.writer.calibration == found
    # What isn't fitted again stays, if it is this checkpoint's.
    path = model_file.with_name("calibration.json")
    rule = Rule({"token": 1.0}, 0.0, 0.5)
    again = ["--mtasr_model_file", str(model_file), "--data_dir", str(data_dir)]
    replace(found, slope=7.0, speech=rule).write(path)
    main(again)
    assert Calibration.read(path) == replace(found, speech=rule)
    replace(found, speech=rule, model="another").write(path)
    main(again)
    assert Calibration.read(path) == replace(found, start_seconds=0.0, end_seconds=0.0)
    path.unlink()


def test_the_rule_for_speech(model_file, data_dir, capsys, monkeypatch):
    """Sounds and speech are told apart by how much of them is speech."""
    names = ("silence", "white noise", "hum")
    kinds = {name: non_speech.KINDS[name] for name in names}
    monkeypatch.setattr(rule_fitting, "KINDS", kinds)
    monkeypatch.setattr(rule_fitting, "CLIPS", 3)
    monkeypatch.setattr(non_speech, "SECONDS", (0.6, 1.2))

    def listen(self, samples):
        # Of known lengths; sounds have others.
        found = 0.95 if len(samples) in LENGTHS else 0.6
        return np.full(10, found, np.float32)

    monkeypatch.setattr(SpeechDetector, "of_recording", listen)
    main(
        ["--mtasr_model_file", str(model_file), "--data_dir", str(data_dir)]
        + ["--speech_rule"]
    )
    path = model_file.with_name("calibration.json")
    rule = Calibration.read(path).speech
    assert rule.weights["vad_peak"] > 0
    said = "speech in 9 of 9 sounds and in 8 of 8 mixtures; with the rule, in 0 and 8."
    assert said in capsys.readouterr().out
    assert said in path.with_suffix(".md").read_text()
    path.unlink()


@pytest.mark.parametrize(
    "line, message",
    [
        ("utt0 1 0.0 word", "words.ctm:1: is not 'utterance talker start duration"),
        ("utt0 1 0.0 x word", "words.ctm:1: is not"),
        ("utt0 1 0.0 0.1 word", "words of utt0, talker 1, are not those of text"),
        ("utt9 1 0.0 0.1 word", "words of utt9, talker 1, are not those of text"),
    ],
)
def test_bad_word_times(model_file, data_dir, tmp_path, line, message):
    for path in data_dir.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "words.ctm").write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        main(["--mtasr_model_file", str(model_file), "--data_dir", str(tmp_path)])
    assert not model_file.with_name("calibration.json").exists()


def test_missing_inputs(model_file, data_dir, tmp_path):
    with pytest.raises(UserError, match="no_model.pth: no such file; train first"):
        main(["--mtasr_model_file", "no_model.pth", "--data_dir", str(data_dir)])
    with pytest.raises(UserError, match="no data directory with text"):
        main(["--mtasr_model_file", str(model_file), "--data_dir", str(tmp_path)])
    (tmp_path / "text").write_text("utt a\n")
    with pytest.raises(UserError, match="--times_data_dir .*: has no words.ctm; omit"):
        main(
            ["--mtasr_model_file", str(model_file), "--data_dir", str(data_dir)]
            + ["--times_data_dir", str(tmp_path)]
        )


def test_calibration_error_by_hand():
    confidences = [0.05, 0.05, 0.95, 0.95, 1.0]
    correct = [False, True, True, True, True]
    expected = (abs(0.1 - 1) + abs(2.9 - 3)) / 5
    assert expected_calibration_error(confidences, correct, 10) == pytest.approx(
        expected
    )
    shuffled = np.random.default_rng(0).permutation(5)
    assert expected_calibration_error(
        [confidences[i] for i in shuffled], [correct[i] for i in shuffled], 10
    ) == pytest.approx(expected)
