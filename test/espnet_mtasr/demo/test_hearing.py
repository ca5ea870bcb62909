"""What the page shows of a recording, by the model that ships."""

import numpy as np
import pytest
import soundfile

from espnet_mtasr import MTASR
from espnet_mtasr.demo.hearing import hear, read_wave
from espnet_mtasr.demo.mixer import render_sample
from espnet_mtasr.demo.samples import read_samples
from espnet_mtasr.demo.timeline import render_heard
from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.recordings import Recording


@pytest.fixture(scope="module")
def model():
    return MTASR.from_pretrained("mini", device="cpu")


def test_the_posteriors_are_those_of_the_words(model):
    sample = read_samples()[0]
    wave = render_sample(sample.spec, model.rate)
    heard = hear(model, Recording("a", (wave,)), reference=sample.texts)
    assert heard.transcript.talkers == model.transcribe(wave).talkers
    assert heard.reference == sample.texts and heard.rate == model.rate
    assert len(heard.posteriors) == 2
    for talker, posteriors in zip(heard.transcript.talkers, heard.posteriors):
        pairs = [*zip(posteriors.best, posteriors.blank, strict=True)]
        assert all(0 <= min(pair) and sum(pair) <= 101 for pair in pairs)
        assert max(posteriors.best) > 90 and max(posteriors.blank) > 90
        peaks = posteriors.peaks
        assert "".join(p.token for p in peaks).split("▁")[1:] == talker.text.split()
        for peak, word in zip(peaks, talker.words):
            place = (peak.frame + 0.5) / len(pairs) * heard.transcript.seconds
            assert word.start - 0.1 < place < word.end + 0.1


def test_given_count(model):
    wave = render_sample(read_samples()[0].spec, model.rate)
    heard = hear(model, Recording("a", (wave,)), num_talkers=3)
    assert heard.transcript.num_talkers == len(heard.posteriors) == 3


def test_too_short_for_a_word(model):
    heard = hear(model, Recording("a", (np.zeros(100, np.float32),)))
    assert heard.transcript.num_talkers == len(heard.posteriors) == 0


def test_files(tmp_path):
    path = tmp_path / "some mix.wav"
    soundfile.write(path, np.zeros((16000, 2)), 8000)
    recording = read_wave(str(path), 16000, 2.0)
    assert recording.name == "some mix" and len(recording.channels[0]) == 32000
    with pytest.raises(UserError, match=r"^some mix.wav: has more than the 1.9 s that"):
        read_wave(str(path), 16000, 1.9)
    path.write_text("no audio")
    with pytest.raises(UserError, match=r"^some mix.wav: is not readable audio"):
        read_wave(str(path), 16000, 2.0)


def test_silence_at_the_ends_is_not_heard(model):
    """The model never sees it, and posteriors still cover all of the recording."""
    wave = render_sample(read_samples()[0].spec, model.rate)
    silence = np.zeros(model.rate, np.float32)
    padded = np.concatenate([silence, wave, silence, silence])
    alone, heard = (hear(model, Recording("a", (w,))) for w in (wave, padded))
    assert [t.text for t in heard.transcript.talkers] == [
        t.text for t in alone.transcript.talkers
    ]
    for some, all_of_it in zip(alone.posteriors, heard.posteriors, strict=True):
        rate = len(some.best) * model.rate / len(wave)
        assert len(all_of_it.best) == pytest.approx(3 * rate + len(some.best), abs=5)
        assert all_of_it.blank[:10] == [100] * 10
        first, later = some.peaks[0].frame, all_of_it.peaks[0].frame
        assert later == pytest.approx(first + rate, abs=3)


def test_long_recordings_are_heard_in_windows(model):
    """As transcribe does; as a whole, most words would be lost."""
    samples = [render_sample(sample.spec, model.rate) for sample in read_samples()]
    pause = np.zeros(model.rate, np.float32)
    wave = np.concatenate([part for sample in 2 * samples for part in (sample, pause)])
    assert len(wave) > 20 * model.rate
    heard = hear(model, Recording("a", (wave,), ("a warning",)))
    assert heard.transcript.recording == "a" and not heard.posteriors
    assert heard.transcript.warnings == ("a warning",)
    assert heard.transcript.talkers == model.transcribe(wave).talkers
    words = sum(len(talker.words) for talker in heard.transcript.talkers)
    known = 2 * sum(
        len(text.split()) for sample in read_samples() for text in sample.texts
    )
    assert words > 0.8 * known
    page = render_heard(heard)
    lanes = page.count('<div class="mt-lane')
    assert lanes == len(heard.transcript.talkers) >= 2
    assert "Talker 1 before a pause may be another person" in page
