"""Recordings, archives and specs: which list is it, what do its lines stand for?"""

import json

import numpy as np
import pytest
import soundfile

from espnet_mtasr.asr.trunk_cache import audio_hash, speech_hash
from espnet_mtasr.bin import speech_entries
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.spec import MixtureSpec, Noise, Source
from espnet_mtasr.mixture.speech_list import (
    Kind,
    Speech,
    kind_of_entry,
    kind_of_loaded,
    read_speech_list,
    speech_entry,
)
from espnet_mtasr.tasks.cached_trunk import describe_files


@pytest.fixture
def spec(tmp_path):
    for name, n in (("a", 8000), ("b", 6000), ("n", 9000)):
        samples = 0.1 * np.random.default_rng(n).standard_normal(n)
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000, "PCM_16")
    sources = (
        Source(f"{tmp_path}/a.wav", 0.5, "a", 0.5),
        Source(f"{tmp_path}/b.wav", 0.7, "b", 0.375),
    )
    return MixtureSpec(sources, (0.0, 0.25), Noise(f"{tmp_path}/n.wav", 0.2))


def test_which_list_it_is(tmp_path, spec):
    with pytest.raises(UserError, match="wav.scp: no such file"):
        speech_entry(tmp_path)
    write_table(tmp_path / "utt2mixture", {"u": spec.to_line()})
    assert speech_entry(tmp_path) == (f"{tmp_path}/utt2mixture", "speech", "text")
    assert kind_of_entry(tmp_path / "utt2mixture", "text") is Kind.MIXTURE
    assert kind_of_entry(tmp_path / "utt2mixture", "json") is Kind.DYNAMIC
    write_table(tmp_path / "wav.scp", {"u": "x.ark:17"})
    assert speech_entry(tmp_path) == (f"{tmp_path}/wav.scp", "speech", "kaldi_ark")
    # With recordings at hand these are read.
    write_table(tmp_path / "wav.scp", {"u": f"{tmp_path}/a.wav"})
    assert speech_entry(tmp_path) == (f"{tmp_path}/wav.scp", "speech", "sound")
    assert kind_of_entry(tmp_path / "wav.scp", "sound") is Kind.RECORDING
    assert kind_of_entry(tmp_path / "wav.scp", "kaldi_ark") is Kind.ARCHIVE
    assert kind_of_entry(tmp_path / "wav.scp", "npy") is None
    write_table(tmp_path / "trunk.scp", {"u": "cache/folder 0f"})
    assert kind_of_entry(tmp_path / "trunk.scp", "text") is Kind.CACHED
    [speech] = read_speech_list(tmp_path).values()
    assert speech == Speech(Kind.RECORDING, f"{tmp_path}/a.wav")
    assert len(speech.read()) == speech.check("u").num_samples == 8000


def test_a_specs_speech(tmp_path, spec):
    speech = Speech(Kind.MIXTURE, spec.to_line())
    assert speech.files() == [f"{tmp_path}/{name}.wav" for name in "abn"]
    info = speech.check("u")
    assert (info.num_samples, info.rate, info.channels) == (10000, 16000, 1)
    assert speech.read().shape == (10000,)
    with pytest.raises(UserError, match="none.wav: no such file"):
        Speech(Kind.MIXTURE, spec.to_line().replace("n.wav", "none.wav")).check("u")


def test_hashes_follow_the_samples(tmp_path, spec):
    """A trunk's output is kept by them: they must change with any source."""
    speech = Speech(Kind.MIXTURE, spec.to_line())
    first, described = speech_hash(speech), describe_files(speech)
    assert speech_hash(Speech(Kind.MIXTURE, spec.to_line())) == first
    samples, _ = soundfile.read(tmp_path / "n.wav")
    soundfile.write(tmp_path / "n.wav", samples * 0.5, 16000, "PCM_16")
    assert speech_hash(speech) != first
    # The size is the same, the time is not.
    assert describe_files(speech) != described
    assert describe_files(speech).split()[0] == described.split()[0]
    recording = Speech(Kind.RECORDING, f"{tmp_path}/a.wav")
    assert speech_hash(recording) == audio_hash(tmp_path / "a.wav")
    (tmp_path / "b.wav").unlink()
    with pytest.raises(UserError, match="b.wav: no such file; run stage 3 again"):
        describe_files(speech)


def test_what_a_data_set_hands_on(spec):
    """What the preprocessor tells apart."""
    line = spec.to_line()
    for value, kind in (
        (np.zeros(3), Kind.RECORDING),
        (line, Kind.MIXTURE),
        (json.loads(line), Kind.DYNAMIC),
        ("cache/folder 0f", Kind.CACHED),
    ):
        assert kind_of_loaded(value) is kind


def test_what_mtasr_sh_asks_for(tmp_path, capsys, spec):
    for name, table, value in (
        ("a", "wav.scp", "a.wav"),
        ("b", "wav.scp", "b c.ark:15"),
        ("c", "utt2mixture", spec.to_line()),
    ):
        write_table(tmp_path / name / table, {"u": value})
    speech_entries.main([f"{tmp_path}/{name}" for name in "abc"])
    assert capsys.readouterr().out.splitlines() == [
        "wav.scp,speech,sound",
        "wav.scp,speech,kaldi_ark",
        "utt2mixture,speech,text",
    ]
    with pytest.raises(UserError, match="d/wav.scp: no such file; run the stage"):
        speech_entries.main([f"{tmp_path}/d"])
