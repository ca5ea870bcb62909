"""A calibration's rule takes talkers out of what silero-vad takes for speech."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.tiny_inference import noises, save_tiny_model

from espnet_mtasr import MTASR
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.calibration.rule_fitting import hear
from espnet_mtasr.transcription.calibration.rules import Rule
from espnet_mtasr.transcription.recordings import Recording
from espnet_mtasr.transcription.speech_detector import SpeechDetector

RATE = 16000
WAVES = noises(9000, 12345, 7001)


@pytest.fixture(autouse=True)
def all_is_speech(monkeypatch):
    """For these recordings are noise."""
    monkeypatch.setattr(SpeechDetector, "hears_speech", lambda *args: True)
    monkeypatch.setattr(
        SpeechDetector,
        "__call__",
        lambda self, samples: np.full(len(samples) // 512, 0.9, np.float32),
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = save_tiny_model(tmp_path_factory.mktemp("model") / "exp").parent
    return MTASR.from_pretrained(folder, device="cpu")


def with_rule(plain, rule):
    return MTASR(plain.speech2text, Calibration(speech=rule))


@pytest.fixture
def middle(plain):
    """A rule that one of the recordings doesn't pass."""
    seen = {n: hear(plain, wave).evidence.token for n, wave in enumerate(WAVES)}
    least, second, _ = sorted(seen, key=seen.get)
    between = (seen[least] + seen[second]) / 2
    return Rule({"token": 10.0}, -10.0 * between, 0.5), least


def test_only_the_rule_takes_talkers_out(plain, middle):
    rule, out = middle
    before = plain.transcribe(WAVES)
    assert all(t.num_talkers in plain.talker_counts for t in before)
    after = with_rule(plain, rule).transcribe(WAVES)
    for n, (old, new) in enumerate(zip(before, after)):
        assert new.talkers == (() if n == out else old.talkers)
        speech = rule.probability(hear(plain, WAVES[n]).evidence)
        assert (speech < 0.5) == (n == out)
        assert new.count_probabilities[0] == pytest.approx(1 - speech, abs=1e-4)
        assert sum(new.count_probabilities.values()) == pytest.approx(1, abs=1e-3)
        for count, p in old.count_probabilities.items():
            assert new.count_probabilities[count] == pytest.approx(p * speech, abs=1e-4)
        shown = new.count_probabilities[new.num_talkers]
        assert new.num_talkers_probability == shown


def test_the_rule_judges_more_than_silero_vad_hears(plain, middle, monkeypatch):
    thresholds = []

    def listen(self, samples, threshold):
        thresholds.append(threshold)
        return True

    monkeypatch.setattr(SpeechDetector, "hears_speech", listen)
    plain.transcribe(WAVES[0], vad_threshold=0.6)
    with_rule(plain, middle[0]).transcribe(WAVES[0], vad_threshold=0.6)
    assert thresholds == pytest.approx([0.6, 0.12])


def test_where_everything_counts_as_speech(plain, middle):
    models = (plain, with_rule(plain, middle[0]))
    before, after = (
        [
            (t.talkers, t.count_probabilities)
            for t in model.transcribe(WAVES, vad_threshold=0.0)
        ]
        for model in models
    )
    assert after == before


def test_a_given_count(plain, middle):
    """Doesn't make a sound speech."""
    rule, out = middle
    found = with_rule(plain, replace(rule, threshold=2.0)).transcribe(
        WAVES, num_talkers=2
    )
    assert [t.talkers for t in found] == [()] * len(WAVES)


def test_channels(plain, middle):
    """One without speech adds no talker, but its probability."""
    rule, out = middle
    ok = next(n for n in range(len(WAVES)) if n != out)
    n = min(len(WAVES[out]), len(WAVES[ok]))
    both = np.stack([WAVES[out][:n], WAVES[ok][:n]], axis=1)
    seen = [hear(plain, both[:, c]).evidence.token for c in (0, 1)]
    between = Rule({"token": 10.0}, -5.0 * sum(seen), 0.5)
    speaks = int(seen[1] > seen[0])
    found = with_rule(plain, between).transcribe(both, channel="each")
    assert {talker.channel for talker in found.talkers} == {speaks}
    assert found.num_talkers_probability is not None
    assert sum(found.count_probabilities.values()) == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("people", [None, 2])
def test_windows(plain, people, monkeypatch):
    """Of a long recording: none has talkers, and nothing fails."""
    model = with_rule(plain, Rule({}, -9.0, 0.5))
    if people:
        monkeypatch.setattr(type(model.decoder), "voice_encoder", lambda samples: None)
    wave = np.concatenate(noises(5 * RATE))
    found = model.transcribe(wave, window_seconds=2.0, num_people=people)
    assert len(found.parts) > 1 and found.talkers == ()
    assert all(part.count_probabilities[0] > 0.99 for part in found.parts)
    for format in ("txt", "json", "jsonl", "srt", "rttm", "textgrid"):
        found.render(format)
    assert json.loads(found.to_json())["num_talkers"] == 0
    kept = plain.transcribe(wave, window_seconds=2.0)
    assert any(talker.words for talker in kept.talkers)


def test_with_posteriors(plain, middle):
    rule, out = middle
    recording = Recording("x", (WAVES[out],))
    model = with_rule(plain, rule)
    transcript, posteriors = model.decoder.transcribe_with_posteriors(recording)
    assert (transcript.talkers, posteriors) == ((), [])
    transcript, posteriors = plain.decoder.transcribe_with_posteriors(recording)
    assert len(posteriors) == transcript.num_talkers > 0
