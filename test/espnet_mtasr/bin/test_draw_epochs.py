"""Mixtures of some epochs of dynamic mixing, as a training set."""

import pytest
from helpers.tiny_corpus import make_tiny_corpus
from helpers.tiny_data import write_config

from espnet_mtasr.bin import draw_epochs
from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.dynamic import read_mixer
from espnet_mtasr.mixture.spec import MixtureSpec, Source, parse_spec
from espnet_mtasr.mixture.speech_list import read_speech_list


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory):
    """A data directory of 8 mixtures of 2 talkers, out of 4."""
    root = make_tiny_corpus(tmp_path_factory.mktemp("data"), n_talkers=4)
    paths = sorted((root / "LibriSpeech").rglob("*.flac"))
    specs, texts = {}, {}
    for u in range(8):
        pair = [paths[u], paths[(u + 4) % 12]]
        sources = tuple(Source(str(p), 1.0, p.parts[-3], 1.0) for p in pair)
        specs[f"u{u}"] = MixtureSpec(sources, (0.0, 0.1 + 0.01 * u)).to_line()
        texts[f"u{u}"] = f"alpha{u} <sc> bravo{u}"
    write_table(root / "set" / "utt2mixture", specs)
    write_table(root / "set" / "text", texts)
    return root / "set"


@pytest.fixture
def draw(mixtures, tmp_path):
    """Calls the command with a configuration, and returns the new set's folder."""

    def call(conf, *options, source=mixtures, epochs=3):
        config = {"seed": 5, "preprocessor_conf": {"dynamic_mixing_conf": conf}}
        draw_epochs.main(
            [
                *("--source", str(source), "--target", str(tmp_path / "drawn")),
                *("--config", str(write_config(tmp_path / "train.yaml", config))),
                *("--epochs", str(epochs), "--talker_counts", "2", *options),
            ]
        )
        return tmp_path / "drawn"

    return call


def test_they_are_those_of_dynamic_mixing(mixtures, draw):
    drawn = draw({"speeds": [0.9, 1.1], "cache_megabytes": 3})
    specs, texts = read_table(drawn / "utt2mixture"), read_table(drawn / "text")
    assert len(specs) == 24 and specs.keys() == texts.keys()
    assert set(read_table(drawn / "utt2num_spk").values()) == {"2"}
    mixer = read_mixer(
        mixtures / "utt2mixture", mixtures / "text", seed=0, speeds=[0.9, 1.1]
    )
    for epoch in (1, 3):
        for utt in ("u0", "u7"):
            spec, wanted = mixer.draw(utt, epoch)
            key = f"e{epoch:03d}_{utt}"
            assert parse_spec(specs[key], key) == spec
            assert texts[key] == " <sc> ".join(wanted)


def test_lengths_are_those_of_the_mixtures(draw):
    drawn = draw({"speeds": [0.9, 1.1]}, epochs=1)
    lengths = read_table(drawn / "utt2num_samples")
    for utt, speech in read_speech_list(drawn).items():
        assert len(speech.read()) == int(lengths[utt])


def test_another_origin_is_told(mixtures, draw, tmp_path):
    conf, check = {"speeds": [0.9, 1.1]}, ("--check", "true")
    with pytest.raises(UserError, match="was not drawn .*; run stage 4"):
        draw(conf, *check)
    drawn = draw(conf)
    before = (drawn / "text").read_bytes()
    draw({**conf, "cache_megabytes": 9}, *check)
    for other, options in (
        ({"speeds": [1.0]}, {}),
        (conf, {"epochs": 2}),
        (conf, {"source": drawn}),
    ):
        with pytest.raises(UserError, match="was not drawn .*; run stage 4"):
            draw(other, *check, **options)
    # Trainings with other seeds share them.
    draw(conf, *check, "--seed", "6")
    assert (drawn / "text").read_bytes() == before
    (drawn / "text").unlink()
    with pytest.raises(UserError, match="was not drawn .*; run stage 4"):
        draw(conf, *check)


def test_what_cannot_be_drawn(mixtures, draw, tmp_path):
    with pytest.raises(UserError, match="--epochs 0: give a number from 1"):
        draw({}, epochs=0)
    with pytest.raises(UserError, match="cut_at_pauses needs .* --drawn_epochs 0"):
        draw({"cut_at_pauses": True})
    with pytest.raises(UserError, match="excerpts aren't drawn .* --drawn_epochs 0"):
        draw({"excerpts": 0.5})
    with pytest.raises(UserError, match="has no utt2mixture .*--dynamic_mixing false"):
        draw({}, source=tmp_path)
    assert not (tmp_path / "drawn").exists()
