"""Stages 2 to 4: speeds, formats, lengths, and what happens to bad recordings."""

import numpy as np
import pytest
import soundfile

from espnet_mtasr.bin.prepare_data import main
from espnet_mtasr.data.audio_check import check_audio
from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError


def tone(seconds, rate=16000, hertz=440.0):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def loudest_hertz(samples, rate=16000):
    return np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples)


def make_set(folder, texts=None, **recordings):
    """A data directory; a recording is samples, rate, subtype, suffix, or a path."""
    folder.mkdir(parents=True)
    lines = []
    for utt, (samples, rate, subtype, suffix) in recordings.items():
        path = folder / f"{utt}.{suffix}"
        soundfile.write(path, samples, rate, subtype=subtype)
        lines.append(f"{utt} {path}\n")
    (folder / "wav.scp").write_text("".join(lines))
    texts = texts or {utt: "a b <sc> c" for utt in recordings}
    (folder / "text").write_text("".join(f"{u} {t}\n" for u, t in texts.items()))
    return folder


def good(seconds=1.0):
    return tone(seconds), 16000, "PCM_16", "flac"


BAD = {
    "empty": lambda p: soundfile.write(p, np.zeros(0), 16000, format="WAV"),
    "NaN": lambda p: soundfile.write(
        p, np.array([np.nan]), 16000, "FLOAT", format="WAV"
    ),
    "infinite": lambda p: soundfile.write(
        p, np.array([np.inf]), 16000, "DOUBLE", format="WAV"
    ),
    "missing": lambda p: p.unlink(),
    "no audio": lambda p: p.write_text("fLaC"),
    "0 bytes": lambda p: p.write_bytes(b""),
    "broken off": lambda p: p.write_bytes(p.read_bytes()[:-2000]),
    "folder": lambda p: (p.unlink(), p.mkdir()),
}
SAYS = {
    "empty": "has no samples",
    "NaN": "has NaN or infinite samples",
    "infinite": "has NaN or infinite samples",
    "missing": "no such file",
    "no audio": "is not readable audio",
    "0 bytes": "is not readable audio",
    "broken off": "is not readable audio",
    "folder": "no such file",
}


ANY = ("--max_unreadable", "1")


def form(data, dump, *more, **sets):
    options = [x for name, value in sets.items() for x in (f"--{name}", value)]
    main(["format", "--source", str(data), "--target", str(dump), *options, *more])


def test_audio_check(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(0.5, 8000), 8000)
    assert check_audio(path) == (4000, 8000, 1, "FLAC", "PCM_16")
    for name, spoil in BAD.items():
        path = tmp_path / f"{name}.flac"
        soundfile.write(path, tone(0.5), 16000)
        spoil(path)
        with pytest.raises(UserError, match=rf"{name}.flac \(utterance u1\): .*"):
            check_audio(path, "u1")


@pytest.mark.parametrize("nj", ["1", "2"])
def test_everything_gets_one_form(tmp_path, capsys, nj):
    stereo = np.stack([tone(1.0), np.zeros(16000)], 1)
    data = make_set(
        tmp_path / "data" / "train",
        a_good=good(),
        b_8khz=(tone(1.5, 8000), 8000, "PCM_16", "flac"),
        c_stereo=(stereo, 16000, "PCM_16", "flac"),
        d_float=(tone(1.0), 16000, "FLOAT", "wav"),
        e_wav=(tone(1.0), 16000, "PCM_16", "wav"),
        f_44khz=(tone(1.0, 44100), 44100, "PCM_24", "wav"),
    )
    (data / "onsets").write_text(
        "".join(f"{u} 0 0.5\n" for u in read_table(data / "text"))
    )
    main(
        [
            *("--nj", nj, "format", "--source", str(tmp_path / "data")),
            *("--target", str(tmp_path / "org"), "--train_sets", "train"),
        ]
    )
    org = tmp_path / "org" / "train"
    paths, lengths = read_table(org / "wav.scp"), read_table(org / "utt2num_samples")
    for utt, path in paths.items():
        info = check_audio(path)
        expected = 24000 if utt == "b_8khz" else 16000
        assert info == (expected, 16000, 1, "FLAC", "PCM_16")
        assert lengths[utt] == str(expected)
        samples, _ = soundfile.read(path)
        assert loudest_hertz(samples) == pytest.approx(440, abs=1)
        peak = 0.15 if utt == "c_stereo" else 0.3
        assert np.abs(samples[100:-100]).max() == pytest.approx(peak, abs=0.01)
    # A good recording is not copied.
    assert paths["a_good"] == str(data / "a_good.flac")
    assert not (org / "audio" / "a_good.flac").exists()
    assert read_table(org / "onsets") == read_table(data / "onsets")
    assert set(read_table(org / "utt2num_spk").values()) == {"2"}
    assert capsys.readouterr().out == f"{org}: 6 mixtures\n"
    assert not [*(org / "audio").glob("*.part")]


def test_wav_means_16_bit_wav(tmp_path):
    data = make_set(
        tmp_path / "data" / "train",
        a=(tone(0.5), 16000, "FLOAT", "wav"),
        b=(tone(0.5), 16000, "PCM_16", "wav"),
    )
    form(tmp_path / "data", tmp_path / "org", "--audio_format=wav", train_sets="train")
    paths = read_table(tmp_path / "org" / "train" / "wav.scp")
    assert check_audio(paths["a"]) == (8000, 16000, 1, "WAV", "PCM_16")
    assert paths["b"] == str(data / "b.wav")


def test_training_skips_counts_and_lists_bad_recordings(tmp_path, capsys):
    names = [f"{k}_{name.replace(' ', '_')}" for k, name in enumerate(BAD)]
    data = make_set(
        tmp_path / "data" / "train", **{n: good() for n in [*names, "x_good"]}
    )
    for name, spoil in zip(names, BAD.values()):
        spoil(data / f"{name}.flac")
    form(tmp_path / "data", tmp_path / "org", *ANY, train_sets="train")
    org = tmp_path / "org" / "train"
    for table in ("wav.scp", "text", "utt2num_spk", "utt2num_samples"):
        assert list(read_table(org / table)) == ["x_good"]
    listed = read_table(org / "skipped.txt")
    assert list(listed) == names
    for line, why in zip(listed.values(), SAYS.values()):
        assert why in line
    said = capsys.readouterr().out
    assert said == f"{org}: 1 mixtures, 8 skipped: {org}/skipped.txt\n"
    # Mended: the list of the earlier run goes.
    for name in names:
        path = data / f"{name}.flac"
        if path.is_dir():
            path.rmdir()
        soundfile.write(path, tone(1.0), 16000)
    form(tmp_path / "data", tmp_path / "org", train_sets="train")
    assert len(read_table(org / "wav.scp")) == 9
    assert not (org / "skipped.txt").exists()


def test_more_than_a_percent_of_bad_recordings_stops_training(tmp_path):
    """Of a disk that isn't mounted, say; a model of what is left is nobody's wish."""
    utts = [f"u{k:03d}" for k in range(100)]
    data = make_set(tmp_path / "data" / "train", **{utt: good(0.01) for utt in utts})
    BAD["missing"](data / "u007.flac")
    form(tmp_path / "data", tmp_path / "org", train_sets="train")
    assert len(read_table(tmp_path / "org" / "train" / "text")) == 99
    BAD["no audio"](data / "u008.flac")
    message = (
        r"train: 2 of 100 recordings \(2.00 %\) can't be used, see .*skipped.txt, the "
        "first: u007 .*; fix them or raise --max_unreadable"
    )
    with pytest.raises(UserError, match=message):
        form(tmp_path / "data", tmp_path / "org", train_sets="train")
    assert list(read_table(tmp_path / "org/train/skipped.txt")) == ["u007", "u008"]
    form(
        tmp_path / "data", tmp_path / "org", "--max_unreadable=.02", train_sets="train"
    )
    assert len(read_table(tmp_path / "org" / "train" / "text")) == 98


def test_training_with_nothing_left(tmp_path):
    data = make_set(tmp_path / "data" / "train", a=good())
    BAD["missing"](data / "a.flac")
    with pytest.raises(UserError, match="train: no usable recording; .*no such file"):
        form(tmp_path / "data", tmp_path / "org", train_sets="train")


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recording_stops_dev_and_test(tmp_path, name):
    data = make_set(tmp_path / "data" / "test", a=good(), b=good())
    BAD[name](data / "b.flac")
    with pytest.raises(UserError, match=rf"b.flac \(utterance b\): .*{SAYS[name]}"):
        form(tmp_path / "data", tmp_path / "org", eval_sets="test")
    assert not (tmp_path / "org" / "test" / "wav.scp").exists()


@pytest.mark.parametrize(
    "texts, message",
    [
        ({"a": "x <sc> y", "b": "x"}, "text: b has 1 talkers, but --talker_counts is"),
        ({"a": "x <sc> y", "b": "x <sc>"}, "text: b has a talker without words"),
        ({"a": "x <sc> y"}, "text: lacks id b of .*wav.scp"),
        ({"b": "x <sc> y", "a": "x <sc> y"}, "text:2: id a after b is not sorted"),
    ],
)
def test_bad_texts_stop_training_too(tmp_path, texts, message):
    make_set(tmp_path / "data" / "train", texts, a=good(), b=good())
    with pytest.raises(UserError, match=message):
        form(tmp_path / "data", tmp_path / "org", train_sets="train")


@pytest.mark.parametrize("kind", ["train_sets", "eval_sets"])
def test_texts_of_others_get_lower_case(tmp_path, capsys, kind):
    """Language models read `HELLO` letter by letter, and nobody would notice."""
    texts = {"a": "HELLO IT'S ME <sc> Good Ärger", "b": "hello <sc> good"}
    data = make_set(tmp_path / "data" / "x", texts, a=good(), b=good())
    form(tmp_path / "data", tmp_path / "org", **{kind: "x"})
    org = tmp_path / "org" / "x"
    assert read_table(org / "text")["a"] == "hello it's me <sc> good ärger"
    assert capsys.readouterr().out == (
        f"{org}: 2 mixtures, 1 texts put into lower case\n"
    )
    assert read_table(data / "text") == texts


def test_talker_counts_are_a_setting(tmp_path):
    make_set(
        tmp_path / "data" / "train", {"a": "x", "b": "x <sc> y"}, a=good(), b=good()
    )
    form(
        tmp_path / "data",
        tmp_path / "org",
        "--talker_counts",
        "1 2",
        train_sets="train",
    )
    counts = read_table(tmp_path / "org" / "train" / "utt2num_spk")
    assert counts == {"a": "1", "b": "2"}
    with pytest.raises(UserError, match="--talker_counts 2 many: give e.g. '2 3'"):
        form(tmp_path / "data", tmp_path / "org", "--talker_counts", "2 many")


def filtered(tmp_path, *more):
    lengths = dict(a=0.05, b=0.2, c=1.0, d=3.0)
    for name in ("train", "test"):
        make_set(tmp_path / "data" / name, **{u: good(s) for u, s in lengths.items()})
    org, dump = tmp_path / "org", tmp_path / "dump"
    form(tmp_path / "data", org, train_sets="train", eval_sets="test")
    sets = ["--train_sets", "train", "--eval_sets", "test"]
    main(["filter", "--source", str(org), "--target", str(dump), *sets, *more])
    return dump


def test_only_training_loses_mixtures_by_length(tmp_path, capsys):
    dump = filtered(tmp_path, "--min_seconds", "0.2", "--max_seconds", "2")
    train, test = dump / "train", dump / "test"
    for table in ("wav.scp", "text", "utt2num_spk", "utt2num_samples"):
        assert list(read_table(train / table)) == ["b", "c"]
        assert list(read_table(test / table)) == ["a", "b", "c", "d"]
    assert (train / "dropped.txt").read_text() == "a 0.05 s\nd 3.00 s\n"
    assert not (test / "dropped.txt").exists()
    said = capsys.readouterr().out
    assert f"{train}: 2 mixtures, 2 too short or too long\n" in said
    assert f"{test}: 4 mixtures\n" in said


def test_a_length_that_nothing_has(tmp_path):
    with pytest.raises(UserError, match="no mixture between 5.0 and 9.0 s; change"):
        filtered(tmp_path, "--min_seconds", "5", "--max_seconds", "9")


def perturb(source, target, factors, *more):
    main(["perturb", str(source), str(target), "--factors", factors, *more])


def test_speed_changes_length_pitch_and_onsets(tmp_path, capsys):
    data = make_set(
        tmp_path / "train", a=good(1.8), b=(tone(1.0, 8000), 8000, "PCM_16", "wav")
    )
    (data / "onsets").write_text("a 0 0.9\nb 0 0.45\n")
    (data / "utt2overlap").write_text("a 0.5\nb 0.25\n")
    sp = tmp_path / "train_sp"
    perturb(data, sp, "0.9 1.0 1.1")
    utts = ["a", "b", "sp0.9-a", "sp0.9-b", "sp1.1-a", "sp1.1-b"]
    paths = read_table(sp / "wav.scp")
    for table in ("wav.scp", "text", "utt2num_spk", "onsets", "utt2overlap"):
        assert list(read_table(sp / table)) == utts
    assert paths["a"] == str(data / "a.flac")
    for factor in (0.9, 1.1):
        for utt, seconds in (("a", 1.8), ("b", 1.0)):
            samples, rate = soundfile.read(paths[f"sp{factor}-{utt}"])
            assert rate == 16000
            assert len(samples) == pytest.approx(seconds * 16000 / factor, abs=1)
            assert loudest_hertz(samples) == pytest.approx(440 * factor, abs=1)
    onsets = read_table(sp / "onsets")
    assert onsets["a"] == "0 0.9"
    assert onsets["sp0.9-a"] == "0.0000 1.0000"
    assert onsets["sp1.1-b"] == "0.0000 0.4091"
    # Overlap is a share of time: it stays.
    assert read_table(sp / "utt2overlap")["sp0.9-b"] == "0.25"
    assert capsys.readouterr().out == f"{sp}: 6 mixtures at speeds 0.9 1.0 1.1\n"
    # Stage 3 has nothing left to convert but what had another rate.
    form(tmp_path, tmp_path / "org", train_sets="train_sp")
    assert [p.name for p in (tmp_path / "org/train_sp/audio").iterdir()] == ["b.flac"]


def test_a_bad_recording_is_skipped_at_every_speed(tmp_path, capsys):
    data = make_set(tmp_path / "train", a=good(), b=good())
    BAD["missing"](data / "b.flac")
    sp = tmp_path / "train_sp"
    with pytest.raises(UserError, match=r"2 of 4 recordings \(50.00 %\) can't be used"):
        perturb(data, sp, "0.9 1.1")
    assert not (sp / "wav.scp").exists()
    perturb(data, sp, "0.9 1.1", *ANY)
    assert list(read_table(sp / "wav.scp")) == ["sp0.9-a", "sp1.1-a"]
    assert list(read_table(sp / "skipped.txt")) == ["sp0.9-b", "sp1.1-b"]
    assert "2 mixtures at speeds 0.9 1.1, 2 skipped" in capsys.readouterr().out
    BAD["missing"](data / "a.flac")
    with pytest.raises(UserError, match="no usable recording"):
        perturb(data, sp, "0.9")


@pytest.mark.parametrize("factor", ["fast", "0", "-1", "nan", "inf", "1e9"])
def test_no_speed(tmp_path, factor):
    make_set(tmp_path / "train", a=good())
    with pytest.raises(UserError, match=f"--speed_perturb_factors {factor}: give"):
        perturb(tmp_path / "train", tmp_path / "sp", f"1.0 {factor}")
