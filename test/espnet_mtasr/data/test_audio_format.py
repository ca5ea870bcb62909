"""Kaldi archives and segments: what stage 3 writes, and what ESPnet reads of it."""

import numpy as np
import pytest
import soundfile
import torch
from espnet2.train.dataset import ESPnetDataset
from espnet2.train.iterable_dataset import IterableESPnetDataset

from espnet_mtasr.bin.prepare_data import main
from espnet_mtasr.data import audio_format
from espnet_mtasr.data.tables import read_data_dir, read_table, write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.speech_list import (
    Kind,
    Speech,
    read_speech_list,
    speech_entry,
)

ANY = ("--max_unreadable", "1")


def noise(n, seed=0):
    return 0.3 * np.random.default_rng(seed).uniform(-1, 1, n)


def make_set(folder, recordings, segments=None):
    """Write a data directory; recordings: id to (samples, rate, subtype, suffix)."""
    folder.mkdir(parents=True)
    paths = {}
    for rec, (samples, rate, subtype, suffix) in recordings.items():
        paths[rec] = folder / f"{rec}.{suffix}"
        soundfile.write(paths[rec], samples, rate, subtype=subtype)
    write_table(folder / "wav.scp", paths)
    utts = recordings if segments is None else segments
    write_table(folder / "text", {utt: "a b <sc> c" for utt in utts})
    if segments is not None:
        write_table(folder / "segments", segments)
    return folder


def form(folder, target, *more, kind="--train_sets"):
    words = ["format", "--source", folder.parent, "--target", target, kind, folder.name]
    main([str(word) for word in ("--nj", 1, *words, *more)])
    return target / folder.name


@pytest.fixture
def archived(tmp_path, monkeypatch):
    """Folders of seven recordings formatted as FLAC and as three archives."""
    monkeypatch.setattr(audio_format, "ARCHIVE_SIZE", 3)
    recordings = {
        f"utt{k}": (noise(4000 + 100 * k, k), 16000, "PCM_16", "flac") for k in range(5)
    }
    recordings["utt5"] = noise(3000, 5), 8000, "PCM_16", "wav"
    recordings["utt6"] = (
        np.stack([noise(4000), noise(4000, 6)], 1),
        16000,
        "FLOAT",
        "wav",
    )
    data = make_set(tmp_path / "data" / "train", recordings)
    archives = form(data, tmp_path / "ark", "--audio_format", "flac.ark")
    return form(data, tmp_path / "flac"), archives


def test_archives_hold_the_same_samples(archived):
    files, archives = archived
    names = sorted(path.name for path in (archives / "audio").iterdir())
    assert names == ["audio.1.ark", "audio.2.ark", "audio.3.ark"]
    for table in ("text", "utt2num_spk", "utt2num_samples"):
        assert (archives / table).read_text() == (files / table).read_text()
    assert speech_entry(files)[2] == "sound"
    assert speech_entry(archives) == (f"{archives}/wav.scp", "speech", "kaldi_ark")
    speeches = read_speech_list(archives)
    for utt, path in read_table(files / "wav.scp").items():
        wanted, _ = soundfile.read(path, dtype="float32")
        assert np.array_equal(speeches[utt].read(), wanted)
        info = speeches[utt].check(utt)
        assert (info.num_samples, info.rate, info.channels) == (len(wanted), 16000, 1)
    [first, *_] = speeches["utt0"].files()
    assert first == str(archives / "audio" / "audio.1.ark")


@pytest.mark.parametrize("kind", ["flac.ark", "wav.ark"])
def test_espnet_reads_archives_as_it_reads_files(archived, tmp_path, kind):
    files, archives = archived
    if kind == "wav.ark":
        data = tmp_path / "data" / "train"
        # The two formats round the last bit differently.
        files = form(data, tmp_path / "wav", "--audio_format", "wav")
        archives = form(data, tmp_path / "wav_ark", "--audio_format", kind)
        first = (archives / "audio" / "audio.1.ark").read_bytes()
        assert b"AUDIO" in first[:20] and b"RIFF" in first[:30]
    for make in (ESPnetDataset, IterableESPnetDataset):
        read = [
            make([speech_entry(folder)], lambda uid, data: data)
            for folder in (files, archives)
        ]
        utts = read_table(files / "text")
        if make is ESPnetDataset:
            found = [{utt: data[utt][1] for utt in utts} for data in read]
        else:
            found = [dict(data) for data in read]
        assert list(found[0]) == list(found[1]) == list(utts)
        for utt in utts:
            one, other = (part[utt]["speech"] for part in found)
            assert one.dtype == other.dtype == np.float32
            assert np.array_equal(one, other)


def test_several_workers_read_one_archive(archived):
    """With open files kept: each process has its own."""
    files, archives = archived
    keys = [*read_table(files / "text")] * 4
    read = ESPnetDataset(
        [speech_entry(archives)], lambda uid, data: data, max_cache_fd=32
    )
    loader = torch.utils.data.DataLoader(read, None, sampler=keys, num_workers=2)
    wanted = read_table(files / "wav.scp")
    for _ in range(2):
        for utt, data in loader:
            samples, _ = soundfile.read(wanted[utt], dtype="float32")
            assert np.array_equal(data["speech"], samples)


def test_espnet_takes_no_archive_for_sound(archived):
    """Why mtasr.sh and `speech_entry` look into the list."""
    _, archives = archived
    read = ESPnetDataset([(f"{archives}/wav.scp", "speech", "sound")])
    with pytest.raises(soundfile.LibsndfileError):
        read["utt0"]


def test_an_archive_that_is_cut_off(archived):
    _, archives = archived
    speech = read_speech_list(archives)["utt2"]
    path = archives / "audio" / "audio.1.ark"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"ark:\d+ \(utterance utt2\): can't be read"):
        speech.check("utt2")
    with pytest.raises(UserError, match="none.ark:5: can't be read .* run stage 3"):
        Speech(Kind.ARCHIVE, "none.ark:5").read()


def test_bad_recordings_in_archives(tmp_path):
    data = make_set(
        tmp_path / "data" / "train",
        {utt: (noise(4000), 16000, "PCM_16", "flac") for utt in "abc"},
    )
    (data / "b.flac").write_bytes(b"fLaC")
    org = form(data, tmp_path / "org", "--audio_format", "flac.ark", *ANY)
    assert list(read_table(org / "skipped.txt")) == ["b"]
    speeches = read_speech_list(org)
    assert list(speeches) == ["a", "c"]
    wanted, _ = soundfile.read(data / "c.flac", dtype="float32")
    assert np.array_equal(speeches["c"].read(), wanted)


SEGMENTS = {"u1": "rec 0.25 1.0", "u2": "rec 1.0 1.5", "u3": "other 0 0.505"}


def segmented(root, **changes):
    return make_set(
        root / "data" / "train",
        {
            "rec": (noise(16000 * 2), 16000, "PCM_16", "flac"),
            "other": (noise(4000, 1), 8000, "FLOAT", "wav"),
        },
        {**SEGMENTS, **changes},
    )


@pytest.mark.parametrize("audio", ["flac", "wav", "flac.ark", "wav.ark"])
def test_utterances_are_cut_out(tmp_path, audio):
    data = segmented(tmp_path)
    org = form(data, tmp_path / "org", "--audio_format", audio)
    assert not (org / "segments").exists()
    whole, _ = soundfile.read(data / "rec.flac", dtype="float32")
    speeches = read_speech_list(org)
    assert np.array_equal(speeches["u1"].read(), whole[4000:16000])
    assert np.array_equal(speeches["u2"].read(), whole[16000:24000])
    # 4,000 samples of 8 kHz are 0.5 s; what was beyond is taken for rounding.
    lengths = {"u1": "12000", "u2": "8000", "u3": "8000"}
    assert read_table(org / "utt2num_samples") == lengths
    assert len(speeches["u3"].read()) == 8000


def test_segments_at_other_speeds(tmp_path):
    data = segmented(tmp_path)
    main(["perturb", str(data), str(data.parent / "sp"), "--factors", "0.9 1.0"])
    tables = read_data_dir(data.parent / "sp")
    assert "segments" not in tables
    lengths = {utt: soundfile.info(p).frames for utt, p in tables["wav.scp"].items()}
    assert lengths["u1"] == 12000 and lengths["sp0.9-u1"] == 13334
    assert len(lengths) == 6


@pytest.mark.parametrize(
    "line, message",
    [
        ("rec 1.5 1.5", "segments: u2 ends at 1.5 s, not after its start at 1.5 s"),
        ("rec 1.5 1.0", "segments: u2 ends at 1.0 s, not after its start at 1.5 s"),
        ("wreck 1.0 1.5", "segments: u2 is cut out of wreck, which is not in wav.scp"),
        ("rec 1.0", "segments: u2 rec 1.0: give RECORDING START END"),
        ("rec one two", "segments: u2 rec one two: give RECORDING START END"),
        ("rec -1 1", "segments: u2 rec -1 1: give RECORDING START END"),
        ("rec 1 nan", "segments: u2 rec 1 nan: give RECORDING START END"),
        ("", "segments: u2 : give RECORDING START END"),
    ],
)
def test_bad_segments_stop_training_too(tmp_path, line, message):
    data = segmented(tmp_path, u2=line)
    with pytest.raises(UserError, match=message):
        form(data, tmp_path / "org")


def test_a_segment_that_ends_after_its_recording(tmp_path):
    data = segmented(tmp_path, u2="rec 1.0 2.02")
    message = (
        r"rec.flac \(utterance u2\): its segment ends at 2.02 s, "
        r"but the recording ends at 2.0"
    )
    with pytest.raises(UserError, match=message):
        form(data, tmp_path / "org", kind="--eval_sets")
    org = form(data, tmp_path / "org", *ANY)
    assert list(read_table(org / "text")) == ["u1", "u3"]
    assert "its segment ends at 2.02 s" in read_table(org / "skipped.txt")["u2"]


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([noise(4000), noise(4000, 1)], 1)
    data = make_set(tmp_path / "data" / "train", {"a": (stereo, 16000, "FLOAT", "wav")})
    samples, _ = soundfile.read(read_table(form(data, tmp_path / "o") / "wav.scp")["a"])
    assert np.abs(samples - stereo.mean(1)).max() <= 2**-15
