"""Embeddings of voices: Resemblyzer's features, and where a talker talks alone."""

import librosa
import numpy as np
import pytest
import torch

from espnet_mtasr.transcription.long.voices import VoiceEncoder, embed_talkers
from espnet_mtasr.transcription.transcript import Voice, Word

RATE = 1000


def stored(path):
    """Random weights, stored as Resemblyzer stores its own."""
    torch.manual_seed(0)
    state = VoiceEncoder().state_dict()
    kept = {name: value for name, value in state.items() if "mel." not in name}
    # It has these as well; they are not needed.
    kept["similarity_weight"] = torch.ones(1)
    torch.save({"step": 1, "model_state": kept}, path)
    return state


@pytest.mark.parametrize("seconds", [0.3, 1.6, 4.0])
def test_as_resemblyzer_computes(tmp_path, seconds):
    """Its melspectrogram is librosa's; segments of 1.6 s, half of them shared."""
    state = stored(tmp_path / "voices.pt")
    encoder = VoiceEncoder(tmp_path / "voices.pt")
    wave = np.random.default_rng(0).normal(0, 0.01, int(seconds * 16000))
    wave = wave.astype(np.float32)
    louder = wave * 10 ** (-30 / 20) / np.sqrt(np.mean(wave**2))
    mel = librosa.feature.melspectrogram(
        y=louder, sr=16000, n_fft=400, hop_length=160, n_mels=40
    ).T
    lstm, linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(
        256, 256
    )
    lstm.load_state_dict(
        {name[5:]: value for name, value in state.items() if name.startswith("lstm.")}
    )
    linear.load_state_dict({k: state[f"linear.{k}"] for k in ("weight", "bias")})
    found = []
    for start in range(0, max(len(mel) - 160, 0) + 1, 80):
        segment = torch.from_numpy(mel[start : start + 160].astype(np.float32))
        with torch.no_grad():
            _, (hidden, _) = lstm(segment[None])
            raw = linear(hidden[-1, 0]).relu()
        found.append(raw / raw.norm())
    expected = torch.stack(found).mean(0)
    expected = (expected / expected.norm()).numpy()
    got = encoder(wave, 16000)
    assert got.shape == (256,) and np.linalg.norm(got) == pytest.approx(1.0)
    np.testing.assert_allclose(got, expected, atol=2e-4)
    # Another rate, the same voice.
    at_8k = encoder(librosa.resample(wave, orig_sr=16000, target_sr=8000), 8000)
    assert at_8k @ got > 0.9


def word(start, end):
    return Word("w", start, end, 1.0)


def test_where_a_talker_talks_alone():
    heard = []

    def encoder(samples, rate):
        heard.append(sorted(set(samples.tolist())))
        assert rate == RATE
        return np.array([len(samples) / rate])

    # Sample n is n // 100: tenths of a second.
    samples = np.arange(10000) // 100
    first = [word(0.0, 0.5), word(0.8, 1.0), word(2.0, 2.5)]
    second = [word(1.0, 1.2), word(2.2, 3.0)]
    hidden = [word(2.3, 2.4)]
    short = [word(9.0, 9.05)]
    found = embed_talkers(encoder, samples, [first, second, hidden, short, []], RATE)
    # The gap of 0.3 s is the talker's own, that of 1 s is not.
    assert heard[0] == [*range(10), 20, 21]
    assert heard[1] == [10, 11, 25, 26, 27, 28, 29]
    # Never alone: all that there is.
    assert heard[2] == [23]
    assert found == [
        Voice((1.2,), 1.0),
        Voice((0.7,), 0.7),
        Voice((0.1,), 0.1),
        # They must not draw others to what is put in their place.
        Voice(weight=0.1),
        Voice(weight=0.1),
    ]
