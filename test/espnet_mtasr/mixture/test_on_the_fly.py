"""Mixtures made while loading equal their recordings, from stage 1 to ESPnet's data."""

import numpy as np
import pytest
import soundfile
from espnet2.train.dataset import ESPnetDataset
from espnet2.train.iterable_dataset import IterableESPnetDataset
from helpers.tiny_corpus import make_tiny_corpus

from espnet_mtasr.bin.prepare_data import main as prepare
from espnet_mtasr.bin.simulate import main as simulate
from espnet_mtasr.data.audio import read_recording
from espnet_mtasr.data.tables import read_data_dir, read_table, write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.metadata import MixtureRow, write_metadata
from espnet_mtasr.mixture.render import render
from espnet_mtasr.mixture.source_cache import SourceCache
from espnet_mtasr.mixture.spec import (
    MixtureSpec,
    Noise,
    Source,
    at_speed,
    num_samples,
    parse_spec,
    recordings_of,
)
from espnet_mtasr.train.preprocessor import MTASRPreprocessor

SUBSET = "test-clean"


def source(talker, utt):
    return f"{SUBSET}/{talker}/7/{talker}-7-{utt:04d}.flac"


ROWS = [
    MixtureRow(
        f"m{k}",
        (source(11, k), source(12, (k + 1) % 3), source(13, k)),
        (0.5, 17.0, 0.9),
        # The talkers don't stand in the order of their onsets.
        (0.0, 0.31337, 0.2),
        f"tt/n{k % 2}.wav",
        0.125,
    )
    for k in range(3)
]


def make(root, *options, rate=16000, name="test_x"):
    """Stage 1, both variants; returns the data folder."""
    write_metadata(root / "m.csv", ROWS)
    words = ["--librispeech", root / "LibriSpeech", "--nj", "1", "--rate", rate]
    words += ["--wham_noise", root / "wham_noise", "--audio", root / "audio"]
    words += ["--data", root / "data", "--set", name, root / "m.csv", "both"]
    simulate([str(word) for word in (*words, *options)])
    return root / "data"


def form(root, source, target, *sets, on_the_fly="true", fs=16000, nj=1):
    words = ["--fs", fs, "--nj", nj, "--on_the_fly", on_the_fly, "format"]
    words += ["--source", root / source, "--target", root / target, *sets]
    prepare([str(word) for word in words])


@pytest.mark.parametrize(
    "own_rate, rate", [(16000, 16000), (16000, 8000), (8000, 16000)]
)
@pytest.mark.parametrize("audio_format", ["flac", "wav"])
def test_samples_are_those_of_the_recording(tmp_path, own_rate, rate, audio_format):
    """At a level that clips, and with noise that is repeated and noise that is cut."""
    root = make_tiny_corpus(tmp_path, rate=own_rate)
    recorded = make(root, "--audio_format", audio_format, rate=rate)
    cache = SourceCache(10)
    for name in ("test_x_clean", "test_x_noisy"):
        tables = read_data_dir(recorded / name)
        assert len(tables["wav.scp"]) == 3
        for utt, path in tables["wav.scp"].items():
            wanted, _ = soundfile.read(path, dtype="float32")
            assert (wanted == -1.0).any()
            spec = parse_spec(tables["utt2mixture"][utt], utt)
            for read in (read_recording, cache.read, cache.read):
                made = render(spec, read)
                assert made.dtype == np.float32
                assert np.array_equal(made, wanted)
            headers = {}
            for path in recordings_of(spec):
                info = soundfile.info(path)
                headers[path] = info.frames, info.samplerate
            assert num_samples(spec, headers) == len(wanted)


def test_no_recording_is_written_and_none_is_lost(tmp_path, capsys):
    root = make_tiny_corpus(tmp_path)
    data = make(root, "--on_the_fly", "true")
    said = capsys.readouterr().out
    # Two sets with equal mixtures.
    lists = sum(p.stat().st_size for p in data.rglob("*") if p.is_file())
    assert f"2 data directories with {lists / 1e6:.1f} MB of lists and no rec" in said
    assert not (root / "audio").exists()
    tables = read_data_dir(data / "test_x_noisy")
    assert set(tables) == set(
        "text utt2num_spk onsets utt2overlap utt2spk utt2mixture".split()
    )
    recorded = make(root)
    paths = read_table(recorded / "test_x_noisy" / "wav.scp").values()
    assert read_data_dir(recorded / "test_x_noisy").pop("wav.scp")
    assert {**tables} == {
        name: table
        for name, table in read_data_dir(recorded / "test_x_noisy").items()
        if name != "wav.scp"
    }
    # And back: the data directory forgets the recordings, but they stay.
    make(root, "--on_the_fly", "true")
    assert not (data / "test_x_noisy" / "wav.scp").exists()
    assert all(soundfile.info(path).frames for path in paths)


@pytest.mark.parametrize("speed", [0.9, 1.1, 1.37])
@pytest.mark.parametrize("own_rate, rate", [(16000, 16000), (8000, 16000)])
def test_speed_of_a_spec(tmp_path, speed, own_rate, rate):
    for name, n in (("a", 7001), ("b", 5003), ("n", 20000)):
        tone = 0.3 * np.sin(2 * np.pi * 400 * np.arange(n) / own_rate)
        soundfile.write(tmp_path / f"{name}.wav", tone, own_rate, "PCM_16")
    spec = MixtureSpec(
        (
            Source(f"{tmp_path}/a.wav", 0.5, "a", 7001 / own_rate),
            Source(f"{tmp_path}/b.wav", 0.5, "b", 5003 / own_rate),
        ),
        (0.0, 0.45),
        Noise(f"{tmp_path}/n.wav", 0.1, start=0.2),
        rate,
    )
    faster = at_speed(spec, speed)
    headers = {
        f"{tmp_path}/{x}.wav": (n, own_rate) for x, n in (("a", 7001), ("b", 5003))
    }
    samples = render(faster)
    assert len(samples) == num_samples(faster, headers)
    assert len(samples) == pytest.approx(len(render(spec)) / speed, abs=3)
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() / len(samples) * rate == pytest.approx(400 * speed, abs=3)
    assert faster.onsets == (0.0, 0.45 / speed)
    assert faster.noise.speed == speed
    assert at_speed(spec, 1.0) == spec
    assert parse_spec(faster.to_line(), "u") == faster


@pytest.mark.parametrize("nj", [1, 2])
def test_stages_3_and_4(tmp_path, capsys, nj):
    root = make_tiny_corpus(tmp_path, rate=8000)
    make(root, "--on_the_fly", "true", name="test_x")
    make(root, "--on_the_fly", "true", name="train_x")
    sets = ("--train_sets", "train_x_noisy", "--eval_sets", "test_x_clean")
    form(root, "data", "org", *sets, nj=nj)
    make(root, name="train_x")
    assert "wav.scp" in read_data_dir(root / "data" / "train_x_noisy")
    form(root, "data", "org2", *sets[:2], on_the_fly="false", nj=nj)
    for name in ("utt2num_samples", "text", "onsets", "utt2num_spk", "utt2mixture"):
        tables = [
            read_table(root / org / "train_x_noisy" / name) for org in ("org", "org2")
        ]
        assert tables[0] == tables[1]
    assert not (root / "org" / "train_x_noisy" / "wav.scp").exists()
    # With recordings at hand, the option decides.
    form(root, "data", "org2", *sets[:2], nj=nj)
    assert not (root / "org2" / "train_x_noisy" / "wav.scp").exists()
    said = capsys.readouterr().out
    assert f"{root}/org/train_x_noisy: 3 mixtures to be made while loading\n" in said
    lengths = read_table(root / "org" / "train_x_noisy" / "utt2num_samples")
    shortest = min(int(n) for n in lengths.values()) / 16000
    words = ["filter", "--source", root / "org", "--target", root / "dump", *sets]
    prepare([*map(str, words), "--min_seconds", str(shortest + 0.001)])
    assert len(read_table(root / "dump/train_x_noisy/utt2mixture")) == 2
    assert len(read_table(root / "dump/test_x_clean/utt2mixture")) == 3


def test_bad_sources(tmp_path, capsys):
    """Training skips and lists the mixtures of a bad source; test sets stop."""
    root = make_tiny_corpus(tmp_path)
    for name in ("test_x", "train_x"):
        make(root, "--on_the_fly", "true", name=name)
    bad = root / "LibriSpeech" / source(11, 1)
    bad.write_bytes(bad.read_bytes()[:-1000])
    form(root, "data", "org", "--train_sets", "train_x_noisy", "--max_unreadable=1")
    assert list(read_table(root / "org/train_x_noisy/text")) == [
        "x_noisy_m0",
        "x_noisy_m2",
    ]
    skipped = read_table(root / "org/train_x_noisy/skipped.txt")
    assert list(skipped) == ["x_noisy_m1"]
    assert f"{bad}: is not readable audio" in skipped["x_noisy_m1"]
    with pytest.raises(UserError, match=r"0001.flac: is not readable .*_m1\)"):
        form(root, "data", "org", "--eval_sets", "test_x_clean")
    soundfile.write(bad, np.zeros(20000), 16000)
    message = r"0001.flac \(utterance x_clean_m1\): lasts 1.2500 s, utt2mixture says"
    with pytest.raises(UserError, match=message):
        form(root, "data", "org", "--eval_sets", "test_x_clean")
    bad.unlink()
    (root / "wham_noise/tt/n0.wav").unlink()
    with pytest.raises(
        UserError, match="train_x_noisy: no usable recording; the first"
    ):
        form(root, "data", "org", "--train_sets", "train_x_noisy")


def test_what_does_not_fit(tmp_path):
    root = make_tiny_corpus(tmp_path)
    make(root, "--on_the_fly", "true", rate=8000)
    sets = ("--eval_sets", "test_x_clean")
    with pytest.raises(UserError, match="m0 is at 8000 Hz, --fs says 16000; make the"):
        form(root, "data", "org", *sets)
    with pytest.raises(UserError, match="wav.scp: no such file; add --on_the_fly true"):
        form(root, "data", "org", *sets, on_the_fly="false")
    table = root / "data" / "test_x_clean" / "utt2mixture"
    table.write_text(table.read_text().replace("}", "", 1))
    with pytest.raises(
        UserError, match="test_x_clean/utt2mixture: x_clean_m0: is not JSON"
    ):
        form(root, "data", "org", *sets, fs=8000)


def test_speed_perturbation(tmp_path, capsys):
    root = make_tiny_corpus(tmp_path)
    make(root, "--on_the_fly", "true", name="train_x")
    folder = root / "data" / "train_x_noisy"
    words = ["--on_the_fly", "true", "perturb", folder, root / "data" / "sp"]
    prepare([*map(str, words), "--factors", "0.9 1.0 1.1"])
    tables = read_data_dir(root / "data" / "sp")
    assert "wav.scp" not in tables and len(tables["text"]) == 9
    assert not [*(root / "data" / "sp").rglob("*.flac")]
    original = read_data_dir(folder)["utt2mixture"]
    assert tables["utt2mixture"]["x_noisy_m1"] == original["x_noisy_m1"]
    faster = parse_spec(tables["utt2mixture"]["sp1.1-x_noisy_m1"], "u")
    assert {s.speed for s in faster.sources} == {1.1}
    starts = [f"{onset:.4f}" for onset in faster.onsets]
    assert tables["onsets"]["sp1.1-x_noisy_m1"].split() == starts
    form(root, "data", "org", "--train_sets", "sp")
    lengths = read_table(root / "org" / "sp" / "utt2num_samples")
    for utt in original:
        for speed in (0.9, 1.1):
            wanted = int(lengths[utt]) / speed
            assert int(lengths[f"sp{speed}-{utt}"]) == pytest.approx(wanted, abs=3)


def read_all(kind, folder, preprocess, key_file=None):
    """Utterance id to samples, through both of ESPnet's data sets."""
    speech = "wav.scp" if kind == "sound" else "utt2mixture"
    entries = [(f"{folder}/{speech}", "speech", kind)]
    entries.append((f"{folder}/text", "text", "text"))
    dataset = ESPnetDataset(entries, preprocess)
    found = {utt: dataset[utt][1] for utt in read_table(folder / "text")}
    streamed = dict(IterableESPnetDataset(entries, preprocess))
    assert list(streamed) == list(found)
    for utt, data in streamed.items():
        assert all(np.array_equal(data[name], found[utt][name]) for name in data)
    return found


def test_espnets_data_sets(tmp_path):
    root = make_tiny_corpus(tmp_path)
    folder = make(root) / "test_x_noisy"
    (tmp_path / "tokens.txt").write_text("<blank>\n<unk>\na\n<space>\n<sos/eos>\n")
    preprocess = MTASRPreprocessor(
        False, token_type="char", token_list=str(tmp_path / "tokens.txt")
    )
    recorded = read_all("sound", folder, preprocess)
    made = read_all("text", folder, preprocess)
    assert list(made) == list(recorded)
    for utt, data in recorded.items():
        assert data.keys() == made[utt].keys()
        assert all(np.array_equal(data[name], made[utt][name]) for name in data)
        assert data["speech"].dtype == made[utt]["speech"].dtype == np.float32


def test_mixtures_are_not_made_where_only_lengths_are_wanted(tmp_path):
    root = make_tiny_corpus(tmp_path)
    folder = make(root) / "test_x_noisy"
    (tmp_path / "tokens.txt").write_text("<blank>\n<unk>\na\n<space>\n<sos/eos>\n")
    first, *others = read_table(folder / "text")
    write_table(tmp_path / "utt2num_samples", {first: "123"})
    preprocess = MTASRPreprocessor(
        False,
        token_type="char",
        token_list=str(tmp_path / "tokens.txt"),
        num_samples=[str(tmp_path / "utt2num_samples")],
    )
    made = read_all("text", folder, preprocess)
    assert made[first]["speech"].shape == (123,) and not made[first]["speech"].any()
    assert all(made[utt]["speech"].any() for utt in others)
