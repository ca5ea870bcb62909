"""Dynamic mixing: what is exchanged, what stays, and what it depends on."""

from collections import Counter
from statistics import mean

import numpy as np
import pytest
import soundfile

from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.dynamic import DynamicMixer, read_mixer
from espnet_mtasr.mixture.spec import MixtureSpec, Noise, Source, read_specs

RATE = 16000


def make_set(n=60, noisy=True):
    """Specs of 2 and 3 talkers by turns, and texts; lengths rise from 1 to 4 s."""
    specs, texts = {}, {}
    for u in range(n):
        count = 2 + u % 2
        sources = tuple(
            Source(f"/{u}-{k}.flac", 0.5 + 0.01 * u, f"t{(u + k) % 7}", 1 + 3 * u / n)
            for k in range(count)
        )
        onsets = tuple(round(k * (0.5 + 0.005 * u), 4) for k in range(count))
        noise = Noise(f"/n{u}.wav", 0.1) if noisy and u % 2 else None
        specs[f"u{u:03d}"] = MixtureSpec(sources, onsets, noise)
        texts[f"u{u:03d}"] = [f"text {u} {k}" for k in range(count)]
    return specs, texts


def test_every_epoch_has_other_mixtures_of_the_same_kind():
    specs, texts = make_set()
    mixer = DynamicMixer(specs, texts, seed=3)
    known = {
        (source.path, source.gain): text
        for utt, spec in specs.items()
        for source, text in zip(spec.sources, texts[utt])
    }
    seen = set()
    for epoch in range(1, 6):
        for utt, original in specs.items():
            drawn, drawn_texts = mixer.draw(utt, epoch)
            assert len(drawn.sources) == len(original.sources) == len(drawn_texts)
            assert len({source.talker for source in drawn.sources}) == len(drawn_texts)
            assert len(set(drawn_texts)) == len(drawn_texts)
            for source, text in zip(drawn.sources, drawn_texts):
                assert known[source.path, source.gain] == text
            assert drawn.onsets in {r.onsets for r in specs.values()}
            for source, before in zip(drawn.sources, original.sources):
                assert source.seconds == pytest.approx(before.seconds, abs=1.2)
            seen.add(drawn)
    assert len(seen) > 295
    noisy = sum(spec.noise is not None for spec in seen) / len(seen)
    assert 0.35 < noisy < 0.65


def test_clean_sets_stay_clean():
    specs, texts = make_set(noisy=False)
    mixer = DynamicMixer(specs, texts)
    assert all(mixer.draw(utt, 1)[0].noise is None for utt in specs)


def test_a_mixture_depends_on_seed_epoch_and_id_alone():
    specs, texts = make_set()
    mixer, again = (DynamicMixer(specs, texts, seed=1) for _ in range(2))
    wanted = mixer.draw("u007", 4)
    for utt in reversed(specs):
        again.draw(utt, 2)
    assert again.draw("u007", 4) == wanted
    assert again.draw("u007", 5) != wanted
    assert DynamicMixer(specs, texts, seed=2).draw("u007", 4) != wanted


def test_speeds_are_drawn_per_talker():
    specs, texts = make_set()
    mixer = DynamicMixer(specs, texts, speeds=[0.9, 1.1])
    speeds = [s.speed for utt in specs for s in mixer.draw(utt, 1)[0].sources]
    assert set(speeds) == {0.9, 1.1}
    for wrong in ([3], [], 1.0, ["fast"]):
        with pytest.raises(UserError, match="speeds: .*: give a list of numbers"):
            DynamicMixer(specs, texts, speeds=wrong)


def test_too_few_talkers():
    sources = (Source("/a.flac", 1.0, "t", 1.0), Source("/b.flac", 1.0, "t", 1.0))
    specs = {"u": MixtureSpec(sources, (0.0, 0.5))}
    with pytest.raises(UserError, match="the set has too few talkers"):
        DynamicMixer(specs, {"u": ["a", "b"]}).draw("u", 1)


@pytest.fixture
def recordings(tmp_path):
    """Two talkers, 1 s at 0.25 and 0.5 s at -0.5, and noise that rises in steps."""
    for name, samples in (
        ("a", np.full(RATE, 0.25)),
        ("b", np.full(RATE // 2, -0.5)),
        ("n", np.repeat([0.0, 0.125, 0.25, 0.375], RATE)),
    ):
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE, "PCM_16")
    return tmp_path


def test_render(recordings):
    spec = MixtureSpec(
        (
            Source(f"{recordings}/a.wav", 2.0, "a", 1.0),
            Source(f"{recordings}/b.wav", 0.5, "b", 0.5),
        ),
        (0.0, 0.75),
        Noise(f"{recordings}/n.wav", 1.0, start=1.5),
    )
    mixture = DynamicMixer({"u": spec}, {"u": ["x", "y"]}).render(spec)
    assert mixture.dtype == np.float32
    # 0.5 to 1 s, -0.25 from 0.75 s on, noise of 0.125 and from 0.5 s on of 0.25.
    quarters = [0.625, 0.625, 0.75, 0.5, 0.0]
    wanted = np.repeat(quarters, RATE // 4)
    assert mixture == pytest.approx(wanted, abs=1e-6)


def test_every_recording_is_drawn_about_as_often(epochs=40):
    """The shortest and the longest too, which have neighbours on one side only."""
    specs, texts = make_set(200)
    mixer = DynamicMixer(specs, texts, seed=1)
    drawn = Counter(
        source.path
        for epoch in range(epochs)
        for utt in specs
        for source in mixer.draw(utt, epoch)[0].sources
    )
    by_length = sorted(
        (source.seconds, drawn[source.path])
        for spec in specs.values()
        for source in spec.sources
    )
    counts = [count for _, count in by_length]
    assert sum(counts) == epochs * len(counts)
    # 40 are expected, with a standard deviation of 6.3: none is 5 of them off. Talkers
    # that are there already are not drawn again, which shifts them a little.
    assert min(counts) > 8 and max(counts) < 72
    tenth = len(counts) // 10
    for part in (counts[:tenth], counts[-tenth:], counts[tenth:-tenth]):
        assert 0.85 * epochs < mean(part) < 1.15 * epochs


def test_peaks_are_held_under_0_9(recordings):
    source = Source(f"{recordings}/a.wav", 40.0, "a", 1.0)
    spec = MixtureSpec((source,), (0.0,))
    mixture = DynamicMixer({"u": spec}, {"u": ["x"]}).render(spec)
    assert np.abs(mixture).max() == pytest.approx(0.9)


def test_specs_survive_being_written(tmp_path):
    specs, texts = make_set(4)
    write_table(tmp_path / "m", {utt: r.to_line() for utt, r in specs.items()})
    assert read_specs(tmp_path / "m") == specs
    write_table(tmp_path / "text", {u: " <sc> ".join(t) for u, t in texts.items()})
    mixer = read_mixer(tmp_path / "m", tmp_path / "text", seed=5)
    assert mixer.draw("u001", 1) == DynamicMixer(specs, texts, seed=5).draw("u001", 1)
    texts["u001"] = ["only one"]
    write_table(tmp_path / "text", {u: " <sc> ".join(t) for u, t in texts.items()})
    with pytest.raises(UserError, match="u001 has 1 texts, .* has 3 sources"):
        read_mixer(tmp_path / "m", tmp_path / "text")
