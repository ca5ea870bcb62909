"""The six samples and the demo's: which mixtures they are, what lies beside them."""

import sys

import numpy as np
import pytest
import soundfile
from helpers.recipe_copy import MINI

from espnet_mtasr.data.tables import read_table, write_data_dir
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.spec import MixtureSpec, Noise, Source, read_specs
from espnet_mtasr.text.sot import split_sot


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(MINI / "local" / "experiments"))
    import make_samples

    return make_samples


def teardown_module():
    for name in ("make_samples", "make_demo_samples"):
        sys.modules.pop(name, None)


def make_test_sets(recipe, n=6, skip=()):
    """Test sets in `recipe/data`, each mixture of a constant of its own."""
    value = 0
    for talkers in (2, 3):
        for noise in ("clean", "noisy"):
            name = f"test_mini{talkers}mix_{noise}"
            if name in skip:
                continue
            tables = {"wav.scp": {}, "text": {}}
            for k in range(n):
                utt = f"{name}_{k}"
                value += 1
                path = f"data/local/{utt}.wav"
                (recipe / "data" / "local").mkdir(parents=True, exist_ok=True)
                samples = np.full(800 + k, value, dtype=np.int16)
                soundfile.write(recipe / path, samples, 16000, "PCM_16")
                tables["wav.scp"][utt] = path
                words = [f"{noise} {k} {t}" for t in "abc"[:talkers]]
                tables["text"][utt] = " <sc> ".join(words)
            write_data_dir(recipe / "data" / name, tables)
    return ["--data_dir", str(recipe / "data"), "--output-dir", str(recipe / "samples")]


def test_six_samples(script, tmp_path, monkeypatch):
    recipe = tmp_path / "recipe"
    options = make_test_sets(recipe)
    monkeypatch.chdir(tmp_path)
    script.main(options)
    out = recipe / "samples"
    names = [
        "two_talkers_1_clean",
        "two_talkers_2_noisy",
        "two_talkers_3_clean",
        "three_talkers_1_noisy",
        "three_talkers_2_clean",
        "three_talkers_3_noisy",
    ]
    assert sorted(p.name for p in out.iterdir()) == sorted(
        ["README.md", "references", *(f"{name}.flac" for name in names)]
    )
    # Mixtures 1, 3 and 5 of 6: six mixtures a set, numbered through from 1.
    expected = {"two": [2, 10, 6], "three": [20, 16, 24]}
    for name in names:
        count, _, place, _ = name.split("_")
        k = int(place) - 1
        audio, rate = soundfile.read(out / f"{name}.flac", dtype="int16")
        assert rate == 16000 and soundfile.info(out / f"{name}.flac").format == "FLAC"
        assert audio.shape == (800 + 2 * k + 1,)
        assert set(audio.tolist()) == {expected[count][k]}
    lines = (out / "references").read_text().splitlines()
    assert lines[1] == "two_talkers_2_noisy 2 noisy 3 a <sc> noisy 3 b"
    assert [line.split()[0] for line in lines] == names
    for line in lines:
        _, count, text = line.split(maxsplit=2)
        assert len(split_sot(text)) == int(count)
    readme = (out / "README.md").read_text()
    assert (
        "| three_talkers_3_noisy | 3 | test_mini3mix_noisy test_mini3mix_noisy_5 |"
        in readme
    )

    before = {p: p.read_bytes() for p in out.iterdir()}
    script.main(options)
    assert before == {p: p.read_bytes() for p in out.iterdir()}


def test_what_is_missing(script, tmp_path):
    options = make_test_sets(tmp_path / "a", n=2)
    with pytest.raises(UserError, match="has 2 mixtures, 3 are needed; run stage 1 wi"):
        script.main(options)
    options = make_test_sets(tmp_path / "b", n=3, skip=["test_mini3mix_clean"])
    with pytest.raises(
        UserError, match="test_mini3mix_clean/wav.scp: no such file; run"
    ):
        script.main(options)
    options = make_test_sets(tmp_path / "c", n=3)
    (tmp_path / "c/data/local/test_mini2mix_clean_0.wav").unlink()
    with pytest.raises(UserError, match="test_mini2mix_clean_0.wav: can't be read"):
        script.main(options)
    assert not (tmp_path / "c" / "samples" / "references").exists()


def test_what_the_demo_mixes(script, tmp_path):
    import make_demo_samples

    options = make_test_sets(tmp_path)
    noise = np.arange(4000, dtype=np.int16)
    soundfile.write(tmp_path / "noise.wav", noise, 16000, "PCM_16")
    for folder in (tmp_path / "data").glob("test_*"):
        lines = []
        for utt, path in read_table(folder / "wav.scp").items():
            talkers = 2 if "mini2mix" in utt else 3
            source = Source(str(tmp_path / path), 0.5, "a", 0.05)
            hiss = Noise(str(tmp_path / "noise.wav"), 2.0) if "noisy" in utt else None
            onsets = tuple(0.01 * k for k in range(talkers))
            spec = MixtureSpec((source,) * talkers, onsets, hiss)
            lines.append(f"{utt} {spec.to_line()}\n")
        (folder / "utt2mixture").write_text("".join(lines))
    make_demo_samples.main(options)
    out = tmp_path / "samples"
    specs, texts = read_specs(out / "utt2mixture"), read_table(out / "text")
    assert {*specs} == {*texts} == {*make_demo_samples.CHOICE}
    assert texts["two_talkers_2_noisy"] == "noisy 3 a <sc> noisy 3 b"
    assert [len(spec.sources) for spec in specs.values()] == [3, 2, 2]
    for name, spec in specs.items():
        for source in spec.sources:
            samples, _ = soundfile.read(out / source.path, dtype="int16")
            original = tmp_path / "data" / "local" / source.path
            expected, _ = soundfile.read(original.with_suffix(".wav"), dtype="int16")
            assert np.array_equal(samples, expected)
        assert (spec.noise is not None) == name.endswith("noisy")
    # No more of the noise than the mixture needs.
    samples, _ = soundfile.read(out / "noise.flac", dtype="int16")
    assert np.array_equal(samples, noise[: len(samples)])
    assert 0.06 * 16000 <= len(samples) < 0.1 * 16000
