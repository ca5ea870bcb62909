"""MTASR on a model of random weights: what goes in, what comes out."""

import io
import shutil
import warnings

import numpy as np
import pytest
import soundfile
import torch
from helpers.tiny_inference import noises, save_tiny_model

from espnet_mtasr import MTASR
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.speech_detector import SpeechDetector

WAVES = noises(9000, 4000, 12345, 7001)


@pytest.fixture(autouse=True)
def all_is_speech(request, monkeypatch):
    """For these recordings are noise."""
    if "hears_noise" not in request.fixturenames:
        monkeypatch.setattr(SpeechDetector, "hears_speech", lambda *args: True)


@pytest.fixture
def hears_noise():
    """Leaves the detector as it is."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "exp").parent


@pytest.fixture(scope="module")
def model(folder):
    return MTASR.from_pretrained(folder, device="cpu")


def texts(transcripts):
    return [[talker.text for talker in t.talkers] for t in transcripts]


def numbers(transcripts):
    words = [w for t in transcripts for talker in t.talkers for w in talker.words]
    return [n for word in words for n in (word.start, word.end, word.confidence)]


def test_as_speech2text_decodes(model, folder):
    plain = Speech2Text(None, folder / "model.pth")(WAVES)
    transcripts = model.transcribe(WAVES)
    assert texts(transcripts) == [[t.text for t in h.talkers] for h in plain]
    for n, (transcript, hypothesis) in enumerate(zip(transcripts, plain)):
        assert transcript.recording == str(n)
        assert transcript.seconds == round(len(WAVES[n]) / 16000, 3)
        assert transcript.num_talkers == hypothesis.num_talkers
        probability = np.exp(hypothesis.count_log_probs[transcript.num_talkers])
        assert transcript.num_talkers_probability == pytest.approx(probability, 1e-3)
        assert sum(transcript.count_probabilities.values()) == pytest.approx(1.0, 1e-3)
        for talker in transcript.talkers:
            times = [t for w in talker.words for t in (w.start, w.end)]
            assert times == sorted(times)
            assert all(0.0 <= t <= transcript.seconds for t in times)
            assert all(0.0 <= w.confidence <= 1.0 for w in talker.words)
    # The comparison is about something.
    assert len(set(map(str, texts(transcripts)))) == len(WAVES)


def test_one_or_many(model, tmp_path):
    path = tmp_path / "some mix.wav"
    soundfile.write(path, WAVES[0], 16000, subtype="FLOAT")
    single = model.transcribe(path)
    assert single.recording == "some mix"
    from_array = model.transcribe(WAVES[0])
    assert (from_array.talkers, from_array.seconds) == (single.talkers, single.seconds)
    several = model.transcribe([str(path), torch.from_numpy(WAVES[1])])
    assert [t.recording for t in several] == ["some mix", "1"]
    assert texts(several) == texts([single, model.transcribe(WAVES[1])])
    assert model.transcribe([]) == []
    rounded = model.transcribe(torch.from_numpy(WAVES[0]).bfloat16(), fs=16000.0)
    assert rounded.seconds == single.seconds
    with pytest.raises(UserError, match="fs 0.5: give a whole number"):
        model.transcribe(WAVES[0], fs=0.5)


def test_what_python_has_recordings_in(model):
    both = np.stack(WAVES[2:3] * 2)
    expected = model.transcribe(WAVES[2])
    buffer = io.BytesIO()
    soundfile.write(buffer, WAVES[2], 16000, format="WAV", subtype="FLOAT")
    audio = {"array": both, "sampling_rate": 16000, "path": None}
    for source in (torch.from_numpy(both), buffer.getvalue(), buffer, audio):
        if source is buffer:
            buffer.seek(0)
        assert model.transcribe(source).talkers == expected.talkers
    each = model.transcribe(both, channel="each")
    assert len(each.talkers) == 2 * len(expected.talkers)
    assert each.seconds == expected.seconds


@pytest.mark.parametrize("what, kind", [(None, "NoneType"), (5, "int")])
def test_what_is_no_recording(model, what, kind):
    with pytest.raises(UserError, match=f"recordings: a {kind} is not a recording; gi"):
        model.transcribe(what)


def test_warnings(model):
    with pytest.warns(UserWarning, match="recording 0: its channels cancel"):
        found = model.transcribe(np.stack([WAVES[0], -WAVES[0]]))
    assert len(found.warnings) == 1
    with pytest.warns(UserWarning, match="0: 0.006 s is too short to contain"):
        short = model.transcribe(WAVES[0][:100], num_talkers=2)
    assert (short.num_talkers, short.num_talkers_probability) == (0, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.transcribe(WAVES[0]).warnings == ()
    with pytest.raises(UserError, match="--channel left"):
        model.transcribe(WAVES[0], channel="left")


def test_progress(model):
    calls = []
    model.transcribe(WAVES, batch_seconds=0.5, progress=lambda *n: calls.append(n))
    done, totals = map(list, zip(*calls))
    assert len(calls) > 1 and sorted(done) == done
    total = sum(map(len, WAVES)) / 16000
    assert [done[-1], *totals] == pytest.approx([total] * (len(calls) + 1))


def test_batches_change_nothing(model):
    together = model.transcribe(WAVES, batch_seconds=100)
    alone = model.transcribe(WAVES, batch_seconds=1e-6)
    assert texts(alone) == texts(together)
    assert numbers(alone) == pytest.approx(numbers(together), abs=2e-3)
    with pytest.raises(UserError, match="--batch_seconds 0: give more than 0"):
        model.transcribe(WAVES, batch_seconds=0)


def test_what_is_no_speech(model, hears_noise):
    seconds = np.arange(3 * 16000) / 16000
    clips = [
        np.zeros(48000),
        0.1 * np.random.default_rng(0).standard_normal(48000),
        0.3 * np.sin(2 * np.pi * 440 * seconds),
        0.3 * np.sin(2 * np.pi * 50 * seconds) + 0.1 * np.sin(900 * seconds),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transcripts = model.transcribe(clips, num_talkers=[None, 2, None, 3])
    for transcript in transcripts:
        assert (transcript.talkers, transcript.count_probabilities) == ((), None)
        assert transcript.seconds == 3.0
    for transcript in model.transcribe(clips, vad_threshold=0):
        assert transcript.num_talkers in (2, 3)


def test_silence_at_the_ends_changes_nothing(model):
    """But the times."""
    # Whole frames of silero-vad.
    (wave,) = noises(18 * 512)
    silence = np.zeros(32 * 512, np.float32)
    expected = model.transcribe(wave)
    found = model.transcribe(np.concatenate([silence, wave, silence, silence]))
    assert found.seconds == pytest.approx(expected.seconds + 3 * 1.024)
    assert texts([found]) == texts([expected])
    for one, other in zip(expected.talkers, found.talkers, strict=True):
        for word, later in zip(one.words, other.words, strict=True):
            assert [later.start, later.end] == pytest.approx(
                [word.start + 1.024, word.end + 1.024], abs=1e-3
            )


def test_given_counts(model):
    assert model.talker_counts == (2, 3)
    three = model.transcribe(WAVES, num_talkers=3)
    assert [t.num_talkers for t in three] == [3] * 4
    mixed = model.transcribe(WAVES, num_talkers=[2, None, 3, 2])
    assert mixed[0].num_talkers == 2
    # In batches of another size, products may be rounded in another way.
    expected = [model.transcribe(WAVES)[1], three[2]]
    assert texts(mixed[1:3]) == texts(expected)
    assert numbers(mixed[1:3]) == pytest.approx(numbers(expected), abs=1e-5)
    for one, other in zip(mixed[1:3], expected):
        assert one.count_probabilities == pytest.approx(
            other.count_probabilities, abs=1e-5
        )
    with pytest.raises(UserError, match=r"the model knows \[2, 3\]"):
        model.transcribe(WAVES[0], num_talkers=4)
    with pytest.raises(ValueError, match="1 counts, 4 recordings"):
        model.transcribe(WAVES, num_talkers=[2])


def test_times_are_where_the_frames_are(model):
    """In the batch too, where the shorter one is padded."""
    hypotheses = model.speech2text(WAVES[1:3], [2, 2])
    transcripts = model.transcribe(WAVES[1:3], num_talkers=2)
    for wave, hypothesis, transcript in zip(WAVES[1:3], hypotheses, transcripts):
        frame = len(wave) / 16000 / hypothesis.num_frames
        # WavLM's frames: 320 samples apart in this model.
        assert frame == pytest.approx(0.02, rel=0.1)
        for talker, heard in zip(transcript.talkers, hypothesis.talkers):
            first, last = heard.spans[0].start, heard.spans[-1].end
            assert talker.words[0].start == pytest.approx(first * frame, abs=1e-3)
            assert talker.words[-1].end == pytest.approx(last * frame, abs=1e-3)


def test_calibrated(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    Calibration(slope=0.5, intercept=1.0).write(copy / "calibration.json")
    plain = MTASR.from_pretrained(folder, device="cpu").transcribe(WAVES[0])
    other = MTASR.from_pretrained(copy, device="cpu").transcribe(WAVES[0])
    assert texts([plain]) == texts([other])
    pairs = [
        (a.confidence, b.confidence)
        for one, two in zip(plain.talkers, other.talkers)
        for a, b in zip(one.words, two.words)
    ]
    assert any(b > a for a, b in pairs if a < 0.9)
    expected = Calibration(slope=0.5, intercept=1.0)
    assert [b for _, b in pairs] == pytest.approx(
        [expected.confidence(a) for a, _ in pairs], abs=0.01
    )


@pytest.mark.parametrize("longest, parts", [(None, 1), (9.0, 1), (3.0, 2)])
def test_what_is_longer_than_the_model_knows_is_cut_at_pauses(
    folder, tmp_path, monkeypatch, longest, parts
):
    copy = shutil.copytree(folder, tmp_path / "copy")
    Calibration(longest_mixture=longest).write(copy / "calibration.json")
    model = MTASR.from_pretrained(copy, device="cpu")
    monkeypatch.setattr(
        SpeechDetector,
        "_probabilities",
        lambda self, samples: np.abs(samples).reshape(-1, 512).max(1, initial=0.0) > 0,
    )
    (wave,) = noises(6 * 16000)
    wave[2 * 16000 : 4 * 16000] = 0.0
    assert len(list(model.parts(wave))) == parts
    assert (model.transcribe(wave).parts == ()) == (parts == 1)
    without_pause = np.delete(wave, slice(2 * 16000, 4 * 16000))
    assert len(list(model.parts(without_pause))) == 1


def test_what_cannot_be(folder, tmp_path):
    with pytest.raises(UserError, match="--device cuda:77: torch can't use it"):
        MTASR.from_pretrained(folder, device="cuda:77")
    with pytest.raises(UserError, match="dtype fp16: choose one of float32"):
        MTASR.from_pretrained(folder, dtype="fp16")
    with pytest.raises(ValueError, match="align=True"):
        MTASR(Speech2Text(None, folder / "model.pth"), Calibration())
    copy = shutil.copytree(folder, tmp_path / "copy")
    state = torch.load(copy / "model.pth")
    del state["ctc.2.heads.0.ctc_lo.bias"]
    torch.save(state, copy / "model.pth")
    with pytest.raises(UserError, match="ctc.2.heads.0.ctc_lo.bias"):
        MTASR.from_pretrained(copy, device="cpu")
