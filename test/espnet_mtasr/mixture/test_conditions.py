"""Conditions of mixtures: by hand, beside what render.py mixes, and as a table."""

import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from espnet_mtasr.bin.measure_conditions import main
from espnet_mtasr.corpora.librispeech import gender_of
from espnet_mtasr.data.audio import read_recording
from espnet_mtasr.data.tables import read_data_dir, write_data_dir, write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.conditions import measure, talking_times
from espnet_mtasr.mixture.render import mix_spec
from espnet_mtasr.mixture.spec import MixtureSpec, Noise, Source, at_speed
from espnet_mtasr.scoring.conditions import Conditions, read_conditions

RATE = 16000
SPEAKERS = """; a comment | F | of the head
;ID  |SEX| SUBSET           |MINUTES| NAME
1    | M | test-clean       | 8.05  | A | with a bar
2    | F | test-clean       | 8.05  | B
3    | M | test-clean       | 8.05  | C
4    | ? | test-clean       | 8.05  | D
"""


def level(value):
    """Power of (N,) samples in dB."""
    return 10 * np.log10(np.mean(np.square(value, dtype=np.float64)))


@pytest.fixture
def root(tmp_path):
    """Talkers 1 to 4 at constant values, 1 s long, and noise."""
    for talker, value in enumerate((0.25, 0.125, 0.25, 0.25), 1):
        folder = tmp_path / "test-clean" / str(talker) / "7"
        folder.mkdir(parents=True)
        samples = np.full(RATE, value)
        soundfile.write(folder / "a.wav", samples, RATE, subtype="PCM_16")
    noise = np.random.default_rng(0).standard_normal(3 * RATE) * 0.1
    soundfile.write(tmp_path / "noise.wav", noise, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "flat.wav", np.full(RATE // 2, 0.0625), RATE)
    return tmp_path


def spec(root, *talkers, gap=0.5, gains=None, **fields):
    gains = gains or [1.0] * len(talkers)
    sources = [
        Source(str(root / f"test-clean/{t}/7/a.wav"), gain, str(t), 1.0)
        for t, gain in zip(talkers, gains)
    ]
    onsets = [gap * k for k in range(len(talkers))]
    return MixtureSpec(tuple(sources), tuple(onsets), **fields)


def flat(root, **fields):
    return Noise(str(root / "flat.wav"), **fields)


def test_by_hand(root):
    """1 s at 0.25, from the middle on 0.125 more: 0.375 for half a second."""
    (root / "SPEAKERS.TXT").write_text(SPEAKERS)
    energy = 0.5 * (0.25**2 + 0.375**2 + 0.125**2)
    # Noise is repeated with a cross-fade: flat noise of 2 s would stay flat.
    noise = Noise(str(root / "long.wav"), 0.5)
    soundfile.write(root / "long.wav", np.full(2 * RATE, 0.125), RATE)
    snr = 10 * np.log10(energy / (1.5 * 0.0625**2))
    found = measure(spec(root, 1, 2, noise=noise))
    assert found == Conditions(0.5, round(snr, 4), 6.0206, "mixed")
    # Clean: no ratio; the gains even the levels out.
    assert measure(spec(root, 1, 2, gains=[0.5, 1.0])) == Conditions(
        0.5, None, 0.0, "mixed"
    )
    # In mode min the recording has the first second alone; levels stay.
    snr = 10 * np.log10(0.5 * (0.25**2 + 0.375**2) / 0.0625**2)
    found = measure(spec(root, 1, 2, noise=noise, mode="min"))
    assert (found.snr, found.level_difference) == (round(snr, 4), 6.0206)


def test_one_talker_in_the_length_of_all(root):
    """LibriMix's mix_single: noise goes on to the end of those who aren't heard."""
    noise = Noise(str(root / "long.wav"), 1.0)
    soundfile.write(root / "long.wav", np.full(2 * RATE, 0.125), RATE)
    found = measure(spec(root, 1, noise=noise, left_out=(1.5,)))
    snr = 10 * np.log10(0.25**2 / (1.5 * 0.125**2))
    assert found == Conditions(None, round(snr, 4), None, None)


@pytest.mark.parametrize("speed", [1.0, 0.9])
@pytest.mark.parametrize("rate", [16000, 8000])
@pytest.mark.parametrize("fields", [{}, {"mode": "min"}, {"left_out": (4.5,)}])
@pytest.mark.parametrize("noise", ["noise.wav", "flat.wav"])
@pytest.mark.parametrize("start", [0.0, 0.2])
def test_ratio_is_that_of_the_mixture(root, speed, rate, fields, noise, start):
    """What render.py mixes, less the talkers alone, is the noise."""
    recipe = spec(
        root, 1, 2, 3, noise=Noise(str(root / noise), 0.7, start), rate=rate, **fields
    )
    recipe = at_speed(recipe, speed)
    talkers = mix_spec(replace(recipe, noise=None))
    rest = mix_spec(recipe) - talkers
    assert measure(recipe).snr == pytest.approx(level(talkers) - level(rest), abs=1e-3)


def test_level_of_a_talker_at_another_speed(root):
    recipe = at_speed(spec(root, 1, 2, gains=[1.0, 0.1]), 1.1)
    levels = [
        level(read_recording(s.path, s.speed)[0] * s.gain) for s in recipe.sources
    ]
    expected = max(levels) - min(levels)
    assert measure(recipe).level_difference == pytest.approx(expected, abs=1e-3)


def test_silence_has_no_level(root):
    found = measure(spec(root, 1, 2, gains=[1.0, 0.0], noise=flat(root, gain=0.0)))
    assert (found.snr, found.level_difference) == (None, None)


def test_smallest_of_the_gaps(root):
    recipe = replace(spec(root, 1, 2, 3), onsets=(0.0, 1.0, 1.3))
    assert measure(recipe).onset_gap == 0.3


@pytest.mark.parametrize(
    "talkers, expected",
    [((1, 3), "same"), ((1, 2, 3), "mixed"), ((1, 4), None), ((2,), None)],
)
def test_genders(root, talkers, expected):
    (root / "test-clean" / "SPEAKERS.TXT").write_text(SPEAKERS)
    assert measure(spec(root, *talkers)).genders == expected


def test_without_a_list_of_speakers(root):
    assert gender_of(str(root / "test-clean/1/7/a.wav"), "1") is None
    assert measure(spec(root, 1, 2)).genders is None


def test_times_of_talkers(root):
    recipe = at_speed(spec(root, 1, 2), 2.0)
    assert talking_times(recipe) == [(0.0, 0.5), (0.25, 0.75)]
    assert talking_times(spec(root, 1, 2, mode="min")) == [(0.0, 1.0), (0.5, 1.0)]


@pytest.fixture
def directory(root):
    specs = {
        f"u{k}": spec(root, 1, 2, gap=0.5 + k, noise=flat(root, gain=1.0))
        for k in range(20)
    }
    folder = root / "dump" / "test_x"
    write_table(folder / "utt2mixture", {u: s.to_line() for u, s in specs.items()})
    return folder


@pytest.mark.parametrize("nj", [1, 2])
def test_table(directory, nj, capsys):
    main([str(directory), "--nj", str(nj)])
    assert "test_x/utt2conditions: 20 mixtures" in capsys.readouterr().out
    table = read_conditions(directory / "utt2conditions")
    assert {u: c.onset_gap for u, c in table.items()} == {
        f"u{k}": 0.5 + k for k in range(20)
    }
    assert sorted(p.name for p in directory.iterdir()) == [
        "utt2conditions",
        "utt2mixture",
    ]


def test_a_finished_set_is_left_alone(directory, capsys):
    main([str(directory)])
    table = directory / "utt2conditions"
    table.write_text("u0 {}\n")
    capsys.readouterr()
    main([str(directory)])
    assert table.read_text() == "u0 {}\n"
    assert capsys.readouterr().out == ""
    # Other mixtures need another table.
    later = table.stat().st_mtime + 10
    os.utime(directory / "utt2mixture", (later, later))
    main([str(directory)])
    assert len(read_conditions(table)) == 20


def test_mixtures_of_unknown_parts(tmp_path, capsys):
    main([str(tmp_path)])
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("nj", [1, 2])
def test_a_missing_recording_is_a_warning(root, directory, nj, caplog):
    """And an old table goes, which may be of other mixtures."""
    (directory / "utt2conditions").write_text("u0 {}\n")
    os.utime(directory / "utt2conditions", (1, 1))
    (root / "flat.wav").unlink()
    main([str(directory), "--nj", str(nj)])
    (record,) = caplog.records
    assert "test_x: no breakdowns by onset gap, SNR" in record.getMessage()
    assert "flat.wav: no such audio file" in record.getMessage()
    assert "\n" not in record.getMessage()
    assert [p.name for p in directory.iterdir()] == ["utt2mixture"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--nj", "0"], "--nj 0: give a number from 1"),
        (["nowhere"], "nowhere: no such folder"),
    ],
)
def test_bad_options(directory, words, message):
    with pytest.raises(UserError, match=message):
        main([str(directory), *words])


def test_a_damaged_line(directory):
    (directory / "utt2mixture").write_text("u0 {\n")
    with pytest.raises(UserError, match="utt2mixture: u0: is not JSON"):
        main([str(directory)])


def test_the_table_goes_with_what_it_was_computed_of(directory):
    """Stages 3 and 4 write the set anew: the table isn't copied, nor does it stay."""
    main([str(directory)])

    write_table(directory / "wav.scp", {f"u{k}": f"{k}.wav" for k in range(20)})
    write_table(directory / "text", {f"u{k}": "a <sc> b" for k in range(20)})
    tables = read_data_dir(directory)
    assert "utt2conditions" not in tables
    write_data_dir(directory, tables)
    assert not (directory / "utt2conditions").exists()
