"""Drawing mixtures: pairing, loudness, short and bad audio, determinism."""

import collections
import random

import numpy as np
import pytest
import soundfile
from helpers.tiny_corpus import make_tiny_corpus

from espnet_mtasr.bin.make_mixture_metadata import main
from espnet_mtasr.corpora.librispeech import Utterance
from espnet_mtasr.data.audio import read_audio
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.make_metadata import draw_combinations, measure
from espnet_mtasr.mixture.metadata import read_metadata
from espnet_mtasr.mixture.mixing import mix


def utterances(n_talkers, n_utts, text=None):
    return [
        Utterance(f"{t}-{u}", f"s/{t}/0/{t}-{u}.flac", str(t), text or f"T{t} U{u}")
        for t in range(n_talkers)
        for u in range(n_utts)
    ]


def draw(root, *sets, extra=(), out=None):
    out = out or root / "metadata"
    cmd = ["--librispeech", str(root / "LibriSpeech"), "--nj", "1"]
    cmd += ["--wham_noise", str(root / "wham_noise"), "--out", str(out), *extra]
    for one in sets:
        cmd += ["--set", *one.split()]
    main(cmd)
    return out


def test_combinations_differ_and_use_everyone_alike():
    pool = utterances(6, 10)
    drawn = draw_combinations(pool, 100, 3, random.Random(0))
    assert len({frozenset(c) for c in drawn}) == 100
    assert all(len({u.talker for u in c}) == 3 for c in drawn)
    uses = collections.Counter(u.id for c in drawn for u in c)
    assert len(uses) == 60
    assert max(uses.values()) - min(uses.values()) <= 2


def test_unequal_talkers_are_still_paired():
    pool = utterances(1, 30) + [
        Utterance(f"{t}-0", f"s/{t}/0/{t}-0.flac", str(t), f"T{t}") for t in (1, 2)
    ]
    drawn = draw_combinations(pool, 20, 2, random.Random(0))
    assert len(drawn) == 20
    assert all(len({u.talker for u in c}) == 2 for c in drawn)


def test_exhausted_corpus_repeats_mixtures():
    drawn = draw_combinations(utterances(2, 1), 3, 2, random.Random(0))
    assert len(drawn) == 3


def test_every_pair_is_found_before_one_repeats():
    pool = utterances(2, 2)
    drawn = draw_combinations(pool, 4, 2, random.Random(0))
    assert len({frozenset(c) for c in drawn}) == 4


def test_too_few_talkers_or_texts():
    with pytest.raises(UserError, match="2 talkers, but mixtures of 3"):
        draw_combinations(utterances(2, 9), 1, 3, random.Random(0))
    with pytest.raises(UserError, match="found no "):
        draw_combinations(utterances(3, 2, "SAME"), 1, 2, random.Random(0))


def test_loudness_of_short_audio_is_that_of_its_repetition(tmp_path):
    period = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    soundfile.write(tmp_path / "short.wav", period[:4800], 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "long.wav", period, 16000, subtype="FLOAT")
    short, peak = measure(tmp_path / "short.wav", 16000)
    long, _ = measure(tmp_path / "long.wav", 16000)
    assert peak == pytest.approx(0.1, abs=1e-6)
    assert short == pytest.approx(long, abs=0.1)
    # A full-scale 997 Hz sine reads -3.01 LUFS (ITU-R BS.1770); this one is 20 dB less.
    assert long == pytest.approx(-23.0, abs=0.1)


def test_gains_reach_librimix_loudness(tmp_path):
    root = make_tiny_corpus(tmp_path, seconds=(0.6, 1.2))
    out = draw(root, "test_a test-clean tt 2 12")
    rows = read_metadata(out / "test_a.csv")
    assert len(rows) == 12
    reached = []
    for row in rows:
        for path, gain in zip(row.source_paths, row.source_gains):
            loudness, _ = measure(root / "LibriSpeech" / path, 16000)
            reached.append(loudness + 20 * np.log10(gain))
        loudness, _ = measure(root / "wham_noise" / row.noise_path, 16000)
        assert -38 <= loudness + 20 * np.log10(row.noise_gain) <= -30
    assert -33 <= min(reached) < max(reached) <= -25
    assert max(reached) - min(reached) > 4


def test_peaks_are_held(tmp_path):
    root = make_tiny_corpus(tmp_path, seconds=(0.6, 0.7))
    # One click in near silence: normal loudness would need a peak far above 1.
    for path in (root / "LibriSpeech").rglob("*.flac"):
        click = 1e-3 * np.sin(np.arange(9600))
        click[100] = 0.9
        soundfile.write(path, click, 16000)
    out = draw(root, "test_a test-clean tt 2 6")
    for row in read_metadata(out / "test_a.csv"):
        sources = [
            read_audio(root / "LibriSpeech" / p, 16000) for p in row.source_paths
        ]
        onsets = [int(16000 * onset) for onset in row.onsets]
        noise = read_audio(root / "wham_noise" / row.noise_path, 16000)
        mixture = mix(sources, row.source_gains, onsets, noise, row.noise_gain)
        assert np.abs(mixture).max() <= 0.9 + 1e-6


def test_short_8_khz_wav_corpus(tmp_path):
    root = make_tiny_corpus(tmp_path, rate=8000, suffix="wav", seconds=(0.3, 0.35))
    out = draw(root, "test_a test-clean tt 3 5")
    rows = read_metadata(out / "test_a.csv")
    assert len(rows) == 5
    assert all(row.source_paths[0].endswith(".wav") for row in rows)


def test_without_noise(tmp_path):
    root = make_tiny_corpus(tmp_path, seconds=(0.6, 1.2))
    cmd = ["--librispeech", str(root / "LibriSpeech"), "--nj", "1"]
    cmd += ["--out", str(tmp_path / "out"), "--set", "test_a", "test-clean"]
    main([*cmd, "none", "2", "6"])
    rows = read_metadata(tmp_path / "out" / "test_a.csv")
    assert [(row.noise_path, row.noise_gain) for row in rows] == [(None, None)] * 6
    for path, gain in zip(rows[0].source_paths, rows[0].source_gains):
        loudness, _ = measure(root / "LibriSpeech" / path, 16000)
        assert -33 <= loudness + 20 * np.log10(gain) <= -25
    # Who talks with whom does not depend on noise.
    noisy = read_metadata(draw(root, "test_a test-clean tt 2 6") / "test_a.csv")
    assert [r.source_paths for r in rows] == [r.source_paths for r in noisy]
    with pytest.raises(UserError, match="--set test_a with noise needs --wham_noise"):
        main([*cmd, "tt", "2", "6"])


def test_deterministic_and_seeded(tmp_path):
    root = make_tiny_corpus(tmp_path)
    spec = "test_a test-clean tt 2 6"
    first = (draw(root, spec) / "test_a.csv").read_text()
    again = (draw(root, spec, out=root / "again") / "test_a.csv").read_text()
    other = draw(root, spec, out=root / "other", extra=["--seed", "2"]) / "test_a.csv"
    assert first == again
    assert first != other.read_text()


def test_rerun_keeps_the_file_and_new_options_make_it_anew(tmp_path, capsys):
    root = make_tiny_corpus(tmp_path)
    draw(root, "test_a test-clean tt 2 4")
    draw(root, "test_a test-clean tt 2 4")
    assert "is complete" in capsys.readouterr().out
    out = draw(root, "test_a test-clean tt 2 5")
    assert len(read_metadata(out / "test_a.csv")) == 5


def test_empty_transcripts_are_left_out_aloud(tmp_path, capsys):
    root = make_tiny_corpus(tmp_path)
    chapter = root / "LibriSpeech" / "test-clean" / "11" / "7"
    trans = chapter / "11-7.trans.txt"
    trans.write_text(trans.read_text().replace("11-7-0001 ALPHA BRAVO", "11-7-0001"))
    out = draw(root, "test_a test-clean tt 2 12")
    assert "left out 1 utterances of test-clean with no words: 11-7-0001" in (
        capsys.readouterr().err
    )
    assert "11-7-0001" not in (out / "test_a.csv").read_text()


def test_bad_audio_is_skipped_in_training_and_stops_test(tmp_path, capsys):
    root = make_tiny_corpus(tmp_path)
    bad = root / "LibriSpeech" / "test-clean" / "12" / "7" / "12-7-0000.flac"
    bad.write_text("broken")
    out = draw(root, "train_a test-clean tr 2 12")
    rows = read_metadata(out / "train_a.csv")
    listed = (out / "train_a.skipped").read_text().splitlines()
    assert 0 < len(rows) < 12
    assert len(rows) + len(listed) == 12
    assert all("12-7-0000.flac: cannot be read" in line for line in listed)
    assert f"skipped {len(listed)} of 12" in capsys.readouterr().err
    with pytest.raises(UserError, match="12-7-0000.flac: cannot be read"):
        draw(root, "test_a test-clean tt 2 12")
    assert not (out / "test_a.csv").exists()


def test_silent_audio_is_bad(tmp_path):
    root = make_tiny_corpus(tmp_path)
    path = root / "LibriSpeech" / "test-clean" / "12" / "7" / "12-7-0000.flac"
    soundfile.write(path, np.zeros(9000), 16000)
    with pytest.raises(UserError, match="is silent"):
        draw(root, "dev_a test-clean tt 2 12")


@pytest.mark.parametrize(
    "spec, message",
    [
        ("test_a nowhere tt 2 5", "nowhere: no such folder; .* has test-clean"),
        ("test_a test-clean xx 2 5", "xx: has no WAV"),
        ("test_a test-clean tt 4 5", "3 talkers, but mixtures of 4"),
        ("test_a test-clean tt two 5", "give numbers"),
    ],
)
def test_bad_options(tmp_path, spec, message):
    with pytest.raises(UserError, match=message):
        draw(make_tiny_corpus(tmp_path), spec)
