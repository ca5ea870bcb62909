"""From metadata to recordings and data directories."""

import numpy as np
import pytest
import soundfile
from helpers.tiny_corpus import make_tiny_corpus

from espnet_mtasr.bin.simulate import main
from espnet_mtasr.data.tables import read_data_dir
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.describe import Mixture
from espnet_mtasr.mixture.dynamic import read_mixer
from espnet_mtasr.mixture.metadata import MixtureRow, write_metadata
from espnet_mtasr.mixture.report import format_report, summarize
from espnet_mtasr.mixture.spec import MixtureSpec, Source, read_specs

A = "test-clean/11/7/11-7-0002.flac"
B = "test-clean/12/7/12-7-0002.flac"
C = "test-clean/13/7/13-7-0002.flac"


@pytest.fixture
def root(tmp_path):
    return make_tiny_corpus(tmp_path, seconds=(0.4, 1.2))


def metadata(root, *rows, name="m"):
    write_metadata(root / f"{name}.csv", rows)
    return root / f"{name}.csv"


def two(name="m1", sources=(A, B), onset=0.25):
    return MixtureRow(name, sources, (0.5, 0.25), (0.0, onset), "tt/n0.wav", 0.125)


def simulate(root, *words):
    cmd = ["--librispeech", str(root / "LibriSpeech"), "--nj", "1"]
    cmd += ["--wham_noise", str(root / "wham_noise")]
    cmd += ["--audio", str(root / "audio"), "--data", str(root / "data")]
    main(cmd + [str(word) for word in words])
    return root / "data"


def test_audio_is_the_sum_of_its_parts(root):
    csv = metadata(root, two())
    data = simulate(root, "--set", "test_xmix", csv, "both", "--audio_format", "wav")
    a = soundfile.read(root / "LibriSpeech" / A)[0]
    b = soundfile.read(root / "LibriSpeech" / B)[0]
    n = soundfile.read(root / "wham_noise" / "tt" / "n0.wav")[0]
    expected = np.zeros(max(len(a), 4000 + len(b)))
    expected[: len(a)] += 0.5 * a
    expected[4000 : 4000 + len(b)] += 0.25 * b
    clean = read_data_dir(data / "test_xmix_clean")["wav.scp"]["xmix_clean_m1"]
    samples, rate = soundfile.read(clean)
    assert rate == 16000
    assert soundfile.info(clean).subtype == "PCM_16"
    np.testing.assert_allclose(samples, expected, atol=2**-15)
    noisy = read_data_dir(data / "test_xmix_noisy")["wav.scp"]["xmix_noisy_m1"]
    difference = soundfile.read(noisy)[0] - samples
    # The noise is 8,000 samples long; its end fades from sample 4,000 on.
    np.testing.assert_allclose(difference[:4000], 0.125 * n[:4000], atol=2**-14)


def test_a_recording_can_be_made_again_from_its_spec(root):
    """Also where the metadata doesn't name the talkers in the order of their onsets."""
    third_before_second = MixtureRow(
        "m2", (A, B, C), (0.5, 0.25, 0.4), (0.0, 0.5, 0.3), "tt/n1.wav", 0.1
    )
    csv = metadata(root, third_before_second)
    data = simulate(root, "--set", "test_xmix", csv, "both", "--audio_format", "wav")
    for name in ("test_xmix_clean", "test_xmix_noisy"):
        tables = read_data_dir(data / name)
        specs = read_specs(data / name / "utt2mixture")
        assert list(specs) == list(tables["wav.scp"])
        mixer = read_mixer(data / name / "utt2mixture", data / name / "text")
        for utt, spec in specs.items():
            samples, _ = soundfile.read(tables["wav.scp"][utt], dtype="float32")
            np.testing.assert_allclose(mixer.render(spec), samples, atol=2**-14)
            onsets = [float(onset) for onset in tables["onsets"][utt].split()]
            assert list(spec.onsets) == onsets


def test_texts_follow_the_onsets(root):
    row = MixtureRow("m1", (A, B, C), (1, 1, 1), (0.0, 0.5, 0.3))
    data = simulate(root, "--set", "test_xmix", metadata(root, row), "clean")
    tables = read_data_dir(data / "test_xmix_clean")
    utt = "xmix_clean_m1"
    assert tables["text"][utt] == (
        "alpha charlie <sc> charlie charlie <sc> bravo charlie"
    )
    assert tables["onsets"][utt] == "0.0000 0.3000 0.5000"
    assert tables["utt2num_spk"][utt] == "3"
    assert tables["utt2spk"][utt] == utt
    # Utterances of 0.6, 0.9 and 1.2 s: (0, .6), (.3, 1.5), (.5, 1.4); two or more talk
    # in (.3, 1.4), speech lasts until 1.5.
    assert float(tables["utt2overlap"][utt]) == pytest.approx(1.1 / 1.5, abs=1e-3)


def test_talkers_with_one_onset_keep_their_order(root):
    rows = [two("m1", onset=0.0), two("m2", (B, A), onset=0.0)]
    data = simulate(root, "--set", "test_xmix", metadata(root, *rows), "clean")
    text = read_data_dir(data / "test_xmix_clean")["text"]
    assert text["xmix_clean_m1"] == "alpha charlie <sc> bravo charlie"
    assert text["xmix_clean_m2"] == "bravo charlie <sc> alpha charlie"


def test_alternate_and_combined(root):
    one = metadata(root, two("m1"), two("m2"), two("m3"), two("m4"))
    data = simulate(
        root,
        *("--set", "train_xmix", one, "alternate"),
        *("--set", "train_ymix", one, "clean"),
        *("--combine", "train", "train_xmix", "train_ymix_clean"),
    )
    assert sorted(read_data_dir(data / "train_xmix")["text"]) == [
        "xmix_clean_m1",
        "xmix_clean_m3",
        "xmix_noisy_m2",
        "xmix_noisy_m4",
    ]
    assert len(read_data_dir(data / "train")["text"]) == 8


def test_resume_keeps_finished_mixtures(root):
    csv = metadata(root, two("m1"), two("m2"))
    simulate(root, "--set", "test_xmix", csv, "clean")
    folder = root / "audio" / "test_xmix" / "clean"
    kept, lost = folder / "m1.flac", folder / "m2.flac"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    simulate(root, "--set", "test_xmix", csv, "clean")
    assert kept.stat().st_mtime_ns == before
    assert lost.exists()
    assert not list(folder.glob("*.part"))


def test_other_metadata_makes_mixtures_anew(root):
    simulate(root, "--set", "test_xmix", metadata(root, two(onset=0.25)), "clean")
    data = simulate(root, "--set", "test_xmix", metadata(root, two(onset=1)), "clean")
    wav = read_data_dir(data / "test_xmix_clean")["wav.scp"]["xmix_clean_m1"]
    b = soundfile.info(root / "LibriSpeech" / B)
    assert soundfile.info(wav).frames == 16000 + b.frames


def test_8_khz_sources_give_16_khz_mixtures(tmp_path):
    root = make_tiny_corpus(tmp_path, rate=8000, suffix="wav", seconds=(0.3, 0.8))
    sources = (A.replace("flac", "wav"), B.replace("flac", "wav"))
    csv = metadata(root, two(sources=sources))
    data = simulate(root, "--set", "test_xmix", csv, "both")
    wav = read_data_dir(data / "test_xmix_noisy")["wav.scp"]["xmix_noisy_m1"]
    info = soundfile.info(wav)
    b = soundfile.info(root / "LibriSpeech" / sources[1])
    assert info.samplerate == 16000
    assert info.frames == 4000 + 2 * b.frames


def break_missing(path):
    path.unlink()


def break_text(path):
    path.write_text("broken")


def break_empty(path):
    soundfile.write(path, np.zeros(0), 16000)


def break_nan(path):
    soundfile.write(path, np.full(9, np.nan), 16000, format="WAV", subtype="FLOAT")


@pytest.mark.parametrize(
    "damage",
    [break_missing, break_text, break_empty, break_nan],
    ids=lambda f: f.__name__,
)
def test_bad_audio(root, capsys, damage):
    damage(root / "LibriSpeech" / B)
    csv = metadata(root, two("m1"), two("m2", (A, C)))
    with pytest.raises(UserError, match="12-7-0002.flac: "):
        simulate(root, "--set", "test_xmix", csv, "clean")
    assert not list((root / "audio").rglob("*.flac"))
    assert not (root / "data").exists()
    data = simulate(root, "--set", "train_xmix", csv, "clean")
    assert list(read_data_dir(data / "train_xmix_clean")["text"]) == ["xmix_clean_m2"]
    assert "skipped 1 of 2 mixtures" in capsys.readouterr().err
    listed = (root / "audio" / "train_xmix" / "skipped").read_text()
    assert listed.startswith("xmix_clean_m1 ")
    assert "12-7-0002.flac" in listed


def test_same_talker_twice(root):
    other = "test-clean/11/7/11-7-0001.flac"
    csv = metadata(root, two(sources=(A, other)))
    with pytest.raises(UserError, match="m.csv:2: xmix_clean_m1: talkers 11, 11 do "):
        simulate(root, "--set", "test_xmix", csv, "clean")


def test_untranscribed_source(root):
    (root / "LibriSpeech" / A).with_name("11-7.trans.txt").write_text("11-7-0000 X\n")
    with pytest.raises(UserError, match="11-7-0002 has no line"):
        simulate(root, "--set", "test_xmix", metadata(root, two()), "clean")


def test_damaged_mixture_is_named(root):
    csv = metadata(root, two())
    simulate(root, "--set", "test_xmix", csv, "clean")
    soundfile.write(root / "audio/test_xmix/clean/m1.flac", np.zeros(99), 16000)
    with pytest.raises(UserError, match="m1.flac: 0.006 s .* remove it"):
        simulate(root, "--set", "test_xmix", csv, "clean")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--set", "test_x", "{csv}", "loud"], "choose from"),
        (["--set", "test_x", "nowhere.csv", "clean"], "no such metadata file"),
        (["--set", "test_x", "{csv}", "clean", "--combine", "a", "b"], "no set b"),
        (["--set", "test_x", "{csv}", "clean", "--combine", "a"], "at least one"),
    ],
)
def test_bad_options(root, words, message):
    csv = metadata(root, two())
    with pytest.raises(UserError, match=message):
        simulate(root, *[word.format(csv=csv) for word in words])


def test_report_figures():
    def mixture(*intervals):
        n = len(intervals)
        talkers = tuple("abc"[:n])
        spec = MixtureSpec(
            tuple(Source("/s", 1.0, "t", end - start) for start, end in intervals),
            tuple(start for start, _ in intervals),
        )
        return Mixture("u", "/u.flac", talkers, tuple("x" * n), intervals, spec)

    report = summarize(
        [
            mixture((0, 3), (1, 4)),
            mixture((0, 2), (1, 4), (2, 5)),
            mixture((0, 4), (0.75, 4), (1.5, 4)),
        ]
    )
    assert report.n_utt == 3
    assert report.hours == pytest.approx(13 / 3600)
    assert report.n_talkers == 3
    assert report.overlap == pytest.approx(0.6)
    assert report.all_at_once == 0.5
    # Gaps: 1, 1, 1, 0.75, 0.75.
    assert (report.min_gap, report.median_gap, report.max_gap) == (0.75, 1, 1)
    last = format_report({"a_set": report}).splitlines()[-1]
    assert last.split() == "a_set 3 0.00 3 0.600 50.0 % 0.750 1.000 1.000 s".split()
