"""Sets of several lists, cut or single-talker mixtures, perturbed noise."""

import json

import numpy as np
import pytest
import soundfile
from helpers.tiny_corpus import make_tiny_corpus
from scipy.signal import resample_poly

from espnet_mtasr.bin.simulate import main
from espnet_mtasr.data.tables import read_data_dir, read_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.dynamic import read_mixer
from espnet_mtasr.mixture.metadata import MixtureRow, write_metadata
from espnet_mtasr.mixture.render import render
from espnet_mtasr.mixture.spec import Noise, read_specs

# 0.6, 0.9 and 1.2 s.
A = "test-clean/11/7/11-7-0002.flac"
B = "test-clean/12/7/12-7-0002.flac"
C = "test-clean/13/7/13-7-0002.flac"


@pytest.fixture
def root(tmp_path):
    return make_tiny_corpus(tmp_path, seconds=(0.4, 1.2))


def row(name="m1", sources=(A, B), onsets=(0.0, 0.25), noise="tt/n1.wav"):
    gains = (0.5, 0.25, 0.125)[: len(sources)]
    return MixtureRow(
        name, sources, gains, onsets, noise, None if noise is None else 0.5
    )


def metadata(root, *rows, name="m"):
    write_metadata(root / f"{name}.csv", rows)
    return root / f"{name}.csv"


def simulate(root, *words):
    main(
        [
            *("--librispeech", str(root / "LibriSpeech"), "--nj", "1"),
            *("--audio", str(root / "audio"), "--data", str(root / "data")),
            *map(str, words),
        ]
    )
    return root / "data"


def with_noise(root):
    return "--wham_noise", root / "wham_noise"


def samples_of(data, name, utt):
    return soundfile.read(read_table(data / name / "wav.scp")[utt])[0]


def test_lists_of_two_and_three_talkers_form_a_set(root):
    metadata(root, row("a_b"), name="libri2mix_train-clean-100")
    metadata(root, row("c_b", (C, B)), name="libri2mix_train-clean-360")
    three = row("a_b_c", (A, B, C), (0.0, 0.1, 0.2))
    metadata(root, three, name="libri3mix_train-clean-100")
    info = "mixture_ID,speaker_1_ID,speaker_1_sex\na_b,11,F\n"
    (root / "libri2mix_train-clean-100_info.csv").write_text(info)
    lists = f"{root}/libri2mix_train-*.csv,{root}/libri3mix_train-*.csv"
    data = simulate(root, *with_noise(root), "--set", "train_x", lists, "alternate")
    tables = read_data_dir(data / "train_x")
    assert tables["utt2num_spk"] == {
        "x_clean_a_b": "2",
        "x_clean_a_b_c": "3",
        "x_noisy_c_b": "2",
    }
    # Paths and nothing else: no names of lists.
    folder = root / "audio" / "train_x"
    assert tables["wav.scp"] == {
        "x_clean_a_b": f"{folder}/clean/a_b.flac",
        "x_clean_a_b_c": f"{folder}/clean/a_b_c.flac",
        "x_noisy_c_b": f"{folder}/noisy/c_b.flac",
    }


def test_ids_of_a_set_differ(root):
    lists = [metadata(root, row("a_b"), name=name) for name in "mn"]
    with pytest.raises(UserError, match=r"n.csv:2: mixture a_b stands in .*m.csv:2"):
        simulate(root, "--set", "test_x", ",".join(map(str, lists)), "clean")


@pytest.mark.parametrize(
    "lists, message",
    [
        ("{root}/m_info.csv", r"m_info.csv: is LibriMix's list of talkers.*m.csv"),
        ("{root}/q*.csv", "no list of mixtures matches"),
        (",", "names no list"),
    ],
)
def test_wrong_lists(root, lists, message):
    metadata(root, row(), name="m")
    (root / "m_info.csv").write_text("mixture_ID,speaker_1_ID\nm1,11\n")
    with pytest.raises(UserError, match=message):
        simulate(root, "--set", "test_x", lists.format(root=root), "clean")


def test_clean_mixtures_need_no_noise(root):
    """LibriMix's script stops with types mix_clean alone, and without WHAM! at all."""
    data = simulate(root, "--set", "test_x", metadata(root, row()), "mix_clean")
    assert list(read_data_dir(data / "test_x_clean")["text"]) == ["x_clean_m1"]
    with pytest.raises(UserError, match="test_x with noise needs --wham_noise"):
        simulate(root, "--set", "test_x", root / "m.csv", "noisy")
    bare = metadata(root, row(noise=None), name="bare")
    with pytest.raises(UserError, match="bare.csv:2: .*no column noise_path"):
        simulate(root, *with_noise(root), "--set", "test_y", bare, "noisy")


def test_mode_min_cuts_and_has_no_text(root):
    csv = metadata(root, row())
    data = simulate(root, "--set", "test_x", csv, "clean")
    whole = samples_of(data, "test_x_clean", "x_clean_m1")
    assert (data / "test_x_clean" / "text").exists()
    options = ("--set", "test_x", csv, "clean", "--mode", "min")
    with pytest.raises(UserError, match="mode max, 16000 Hz, flac, not mode min, .*"):
        simulate(root, *options)
    simulate(root, *options, "--audio", root / "audio_min")
    # A ends at 0.6 s, B at 0.25 + 0.9 s.
    cut = samples_of(data, "test_x_clean", "x_clean_m1")
    np.testing.assert_array_equal(cut, whole[:9600])
    assert not (data / "test_x_clean" / "text").exists()
    with pytest.raises(UserError, match="test_x_clean/text: .*--mode min"):
        read_data_dir(data / "test_x_clean")
    tables = read_data_dir(data / "test_x_clean", need_text=False)
    # Both talk in (0.25, 0.6).
    assert tables["utt2overlap"]["x_clean_m1"] == f"{0.35 / 0.6:.4f}"
    spec = read_specs(data / "test_x_clean" / "utt2mixture")["x_clean_m1"]
    assert spec.mode == "min"
    np.testing.assert_array_equal(render(spec), cut)


def test_a_talker_after_the_cut(root):
    csv = metadata(root, row(onsets=(0.0, 0.7)))
    options = ("--set", "test_x", csv, "clean", "--mode", "min")
    with pytest.raises(UserError, match=r"m.csv:2: x_clean_m1: .*\(0.6 s\)"):
        simulate(root, *options)


def test_single_is_the_first_talker_with_noise(root):
    csv = metadata(root, row())
    data = simulate(root, *with_noise(root), "--set", "test_x", csv, "single,clean")
    tables = read_data_dir(data / "test_x_single")
    assert tables["text"] == {"x_single_m1": "alpha charlie"}
    assert tables["utt2num_spk"] == {"x_single_m1": "1"}
    single = samples_of(data, "test_x_single", "x_single_m1")
    # As long as the mixture: B ends at 0.25 + 0.9 s.
    assert len(single) == len(samples_of(data, "test_x_clean", "x_clean_m1")) == 18400
    expected = np.zeros(18400)
    expected[:9600] = 0.5 * soundfile.read(root / "LibriSpeech" / A)[0]
    noise = soundfile.read(root / "wham_noise" / "tt" / "n1.wav")[0]
    expected[:7999] += 0.5 * noise[:7999]
    np.testing.assert_allclose(single[:7999], expected[:7999], atol=2**-15)
    report = json.loads((data / "test_x_single" / "report.json").read_text())
    assert (report["n_utt"], report["n_talkers"], report["min_gap"]) == (1, 1, None)


@pytest.mark.parametrize(
    "onsets, message",
    [
        (
            (0.0, 0.3, 0.3),
            r"two talkers begin at the same time \(onsets 0, 0.3, 0.3 s\)",
        ),
        ((0.0, 0.0, 0.3), "two talkers begin at the same time"),
    ],
)
def test_onsets_must_differ(root, onsets, message):
    csv = metadata(root, row(sources=(A, B, C), onsets=onsets))
    with pytest.raises(UserError, match=f"m.csv:2: x_clean_m1: {message}"):
        simulate(root, "--set", "test_x", csv, "clean")


def files_and_times(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.mark.parametrize("name, speed", [("n1sp08", 0.8), ("n1_sp12", 1.2)])
def test_perturbed_noise_is_made_while_it_is_read(root, name, speed):
    before = files_and_times(root / "wham_noise")
    csv = metadata(root, row(noise=f"tt/{name}.wav"))
    data = simulate(root, *with_noise(root), "--set", "test_x", csv, "both")
    noisy = samples_of(data, "test_x_noisy", "x_noisy_m1")
    noise = noisy - samples_of(data, "test_x_clean", "x_clean_m1")
    original = soundfile.read(root / "wham_noise" / "tt" / "n1.wav")[0]
    up, down = {0.8: (5, 4), 1.2: (5, 6)}[speed]
    played = resample_poly(original, up, down)
    # What is perturbed lasts 1 / speed s; its end may be cross-faded.
    kept = int(16000 / speed) - 8001
    assert len(played) == -(-16000 * up // down)
    np.testing.assert_allclose(noise[:kept], 0.5 * played[:kept], atol=2**-14)
    spec = read_specs(data / "test_x_noisy" / "utt2mixture")["x_noisy_m1"]
    path = str(root / "wham_noise" / "tt" / "n1.wav")
    assert spec.noise == Noise(path, 0.5, speed=speed)
    np.testing.assert_array_equal(render(spec), noisy)
    tables = data / "test_x_noisy"
    mixer = read_mixer(tables / "utt2mixture", tables / "text")
    np.testing.assert_allclose(mixer.render(spec), noisy, atol=2**-14)
    # Again: neither the corpus nor the recording changes.
    recordings = files_and_times(root / "audio" / "test_x" / "noisy")
    simulate(root, *with_noise(root), "--set", "test_x", csv, "both")
    assert files_and_times(root / "wham_noise") == before
    assert files_and_times(root / "audio" / "test_x" / "noisy") == recordings


def test_noise_that_librimix_has_perturbed_is_taken(root):
    ready = 0.1 * np.random.default_rng(2).standard_normal(20000)
    path = root / "wham_noise" / "tt" / "n1sp08.wav"
    soundfile.write(path, ready, 16000, subtype="PCM_16")
    csv = metadata(root, row(noise="tt/n1sp08.wav"))
    data = simulate(root, *with_noise(root), "--set", "test_x", csv, "noisy")
    spec = read_specs(data / "test_x_noisy" / "utt2mixture")["x_noisy_m1"]
    assert spec.noise == Noise(str(path), 0.5)


def test_noise_of_which_nothing_is_there(root):
    csv = metadata(root, row(noise="tt/n7sp08.wav"))
    with pytest.raises(UserError, match="m.csv:2: .*n7sp08.wav: no such noise"):
        simulate(root, *with_noise(root), "--set", "test_x", csv, "noisy")


def test_single_talker_sets_stay_where_they_are(root):
    data = simulate(root, "--single", "test_libri1mix", "test-clean")
    tables = read_data_dir(data / "test_libri1mix", [1])
    assert len(tables["text"]) == 9
    assert tables["text"]["libri1mix_12-7-0002"] == "bravo charlie"
    path = root / "LibriSpeech" / B
    assert tables["wav.scp"]["libri1mix_12-7-0002"] == str(path)
    assert tables["onsets"]["libri1mix_12-7-0002"] == "0.0000"
    assert not (root / "audio").exists()
    spec = read_specs(data / "test_libri1mix/utt2mixture")["libri1mix_12-7-0002"]
    np.testing.assert_array_equal(render(spec), soundfile.read(path)[0])


def test_single_talkers_combine_with_mixtures(root):
    data = simulate(
        root,
        *("--set", "train_x", metadata(root, row()), "clean"),
        *("--single", "train_libri1mix", "test-clean"),
        *("--combine", "train", "train_x_clean", "train_libri1mix"),
    )
    counts = read_data_dir(data / "train", [1, 2])["utt2num_spk"]
    assert sorted(counts.values()) == ["1"] * 9 + ["2"]


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "give --set or --single"),
        (["--single", "test_a", "nowhere"], "nowhere: no such folder"),
        (["--single", "test_a", "test-clean", "--rate", "8"], "--rate 8: give Hz"),
        (["--single", "t", "test-clean", "--single", "t", "test-clean"], "two sets"),
    ],
)
def test_bad_options(root, words, message):
    with pytest.raises(UserError, match=message):
        simulate(root, *words)
