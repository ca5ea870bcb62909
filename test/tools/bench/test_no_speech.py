"""The benchmark of counts from 0 on: material, figures, and a whole small run."""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_mtasr.abs_inference import MixtureHypothesis, TalkerHypothesis
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.spec import MixtureSpec, Noise, Source
from espnet_mtasr.model_zoo.model_files import fetch_model
from espnet_mtasr.transcription.calibration import non_speech, rule_fitting
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.calibration.rule_fitting import Clip, one_more, quieter
from espnet_mtasr.transcription.calibration.rules import Evidence, Rule
from tools.bench.no_speech import (
    Judge,
    calibration_error,
    count_rates,
    flag_rates,
    found_rates,
    main,
    name_of,
    speech_rates,
)

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "egs2" / "mini_librimix" / "samples"
# Passes clips with a token evidence of 0 or more.
RULE = Rule({"token": 1.0}, 0.0, 0.5)
WAYS = ("model alone", "silero-vad", "with the rule")


def clip(texts, reference=(), vad=5.0, token=1.0, sure=0.9, count=None):
    talkers = [TalkerHypothesis(text, [], []) for text in texts]
    log_probs = {len(texts): math.log(sure), 9: math.log(1 - sure)}
    evidence = Evidence(vad, 0.0, token, 0.5, math.log(sure / (1 - sure)))
    return Clip(list(reference), evidence, MixtureHypothesis(talkers, log_probs, 10))


def test_sounds():
    judge = Judge(Calibration(speech=RULE))
    clips = [
        clip(["a", ""], vad=-5.0),
        clip(["", ""]),
        clip(["a", ""]),
        clip(["a", ""], token=-1.0),
    ]
    found = found_rates(judge, clips)
    words, talkers = ([found[way][k] for way in WAYS] for k in ("words", "talkers"))
    assert found["clips"] == 4
    assert words == [75.0, 50.0, 25.0]
    assert talkers == [100.0, 75.0, 50.0]
    assert found_rates(Judge(Calibration()), clips)[WAYS[2]] == found[WAYS[1]]


def test_speech():
    judge = Judge(Calibration(speech=RULE))
    clips = [
        clip(["a b", "c"], ["a b", "c"]),
        clip(["a b", "c"], ["a b", "d"], token=-1.0),
        clip(["a b", "c"], ["a b", "c"], vad=-5.0),
        clip(["", ""], ["a", "b"]),
    ]
    found = speech_rates(judge, clips)
    assert [found[way]["no_words"] for way in WAYS] == [25.0, 50.0, 75.0]
    errors = [found[way]["cpwer"] for way in WAYS]
    assert errors == pytest.approx([100 * n / 11 for n in (3, 6, 8)])


def test_counts():
    judge = Judge(Calibration(speech=RULE))
    clips = [
        clip(["a", ""], token=-1.0),
        clip(["a", ""]),
        clip(["a", "b"], ["a", "b"]),
        clip(["a", "b"], ["a", "b"], token=-1.0),
        clip(["a", "b"], ["a", "b"]),
        clip(["a", "b"], ["a", "b", "c"]),
    ]
    found = count_rates(judge, clips)
    assert found["silero-vad"] == {"0": 0.0, "2": 100.0, "3": 0.0, "mean": 100 / 3}
    by_rule = pytest.approx({"0": 50.0, "2": 200 / 3, "3": 0.0, "mean": 350 / 9})
    assert found["with the rule"] == by_rule


def test_probabilities_of_counts():
    judge = Judge(Calibration(speech=RULE))
    speech = 1 / (1 + math.exp(-1.0))
    found, rejected = clip(["a", "b"], ["a", "b"]), clip(["a"], token=-1.0)
    assert judge.sure(found, WAYS[1]) == pytest.approx(0.9)
    assert judge.sure(found, WAYS[2]) == pytest.approx(0.9 * speech)
    assert judge.sure(rejected, WAYS[2]) == pytest.approx(speech)
    # What silero-vad doesn't hear the rule may find, unless it is sure.
    quiet = clip(["a", "b"], ["a", "b"], vad=-1.5)
    assert (judge.texts(quiet, WAYS[1]), judge.sure(quiet, WAYS[1])) == ([], None)
    assert judge.texts(quiet, WAYS[2]) == ["a", "b"]
    assert judge.sure(quiet, WAYS[2]) == pytest.approx(0.9 * speech)
    unheard = clip(["a"], vad=-5.0)
    assert judge.sure(unheard, WAYS[2]) is None
    error = calibration_error(judge, [found, rejected, unheard], WAYS[2])
    assert error["clips"] == 2
    gaps = [1 - 0.9 * speech, 1 - speech]
    assert error["ece"] == pytest.approx(100 * sum(gaps) / 2, abs=0.01)
    assert sum(row["n"] for row in error["reliability"]) == 2
    assert calibration_error(judge, [unheard], WAYS[2]) == dict(clips=0)


def test_flags():
    """The count's probability says nothing here, the tokens' does."""
    rng = np.random.default_rng(0)

    def clips(n, token, *counts):
        return [
            clip(
                ["a"] * 3,
                ["a"] * counts[k % len(counts)],
                token=token + rng.normal(),
                sure=rng.uniform(0.5, 0.9),
            )
            for k in range(n)
        ]

    some = [clips(300, token, *c) for token, c in ((0, (2, 3)), (-6, (4,))) * 2]
    found = flag_rates(*some)
    assert found["fitted rule"]["auc"] > 0.99
    assert found["fitted rule"]["flagged"] > 99
    assert found["fitted rule"]["false_flags"] == pytest.approx(5, abs=4)
    assert set(found["fitted rule"]["false_flags_by_count"]) == {"2", "3"}
    assert found["count probability"]["auc"] == pytest.approx(0.5, abs=0.1)


def spec(*talkers, onsets):
    sources = tuple(Source(f"{t}.wav", 0.5, t, 2.0) for t in talkers)
    return MixtureSpec(sources, onsets, Noise("n.wav", 1.0))


def test_a_talker_more():
    specs = {
        "x": spec("a", "b", onsets=(0.0, 0.7)),
        "y": spec("c", "d", onsets=(0.0, 0.9)),
        "z": spec("e", onsets=(0.0,)),
    }
    texts = {"x": ["A", "B"], "y": ["C", "D"], "z": ["E"]}
    found = one_more(specs, texts, 2, np.random.default_rng(0))
    assert len(found) == 2
    for (larger, said), before in zip(found, "xy"):
        old = specs[before]
        assert larger.sources[:2] == old.sources and larger.noise == old.noise
        names = [source.talker for source in larger.sources]
        assert len(set(names)) == 3 and said == [name.upper() for name in names]
        gap = larger.onsets[2] - larger.onsets[1]
        assert min(abs(gap - 0.7), abs(gap - 0.9)) < 1e-6
    alone = {"x": specs["x"]}
    for some, most in ((alone, 2), (specs, 3)):
        assert one_more(some, texts, most, np.random.default_rng(0)) == []


def test_quieter():
    wave = (0.5 * np.sin(np.arange(16000))).astype(np.float32)
    rng = np.random.default_rng(0)
    soft = quieter(wave, 40.0, None, rng)
    assert np.abs(soft - wave / 100).max() <= 1 / 32768
    noisy = quieter(wave, 20.0, 10.0, rng)
    noise = noisy - wave / 10
    ratio = 10 * np.log10(((wave / 10) ** 2).mean() / (noise**2).mean())
    assert ratio == pytest.approx(10.0, abs=0.3)
    assert name_of((20, 10.0)) == "-20 dB, noise at 10 dB SNR"
    assert name_of((0, None)) == "as it is"


@pytest.fixture
def recipe(tmp_path):
    """One mixture of two talkers in dev, in test, and of an unknown count."""
    source = SAMPLES / "two_talkers_1_clean.flac"
    wave, rate = soundfile.read(source)
    soundfile.write(tmp_path / "a.wav", wave, rate)
    for name, text in (("dev", "a <sc> b"), ("test_x", "a <sc> b"), ("other", "a")):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        (folder / "wav.scp").write_text(f"u {tmp_path / 'a.wav'}\n")
        (folder / "text").write_text(f"u {text}\n")
        (folder / "utt2num_spk").write_text(f"u {text.count('<sc>') + 1}\n")
    return tmp_path


def test_a_small_run(recipe, tmp_path, monkeypatch, capsys):
    kinds = {name: non_speech.KINDS[name] for name in ("silence", "white noise")}
    monkeypatch.setattr(rule_fitting, "KINDS", kinds)
    monkeypatch.setattr(non_speech, "SECONDS", (0.5, 1.0))
    output = tmp_path / "found.json"
    main(
        ["--recipe", str(recipe), "--clips", "1", "--json", str(output)]
        + ["--other_speech", str(recipe / "data" / "other")]
    )
    figures = json.loads(output.read_text())["figures"]
    assert figures["calibration"]["speech"] is None
    assert figures["fitted on dev"]["clips"] == 2
    assert figures["sounds"]["all"]["clips"] == 2
    assert figures["sounds"]["all"]["silero-vad"]["talkers"] == 0.0
    assert figures["speech"]["as it is"]["silero-vad"]["no_words"] == 0.0
    assert figures["speech"]["other speech"]["mixtures"] == 1
    assert figures["counts"]["silero-vad"] == {"0": 100.0, "2": 100.0, "mean": 100.0}
    assert "a talker too many" not in figures
    printed = capsys.readouterr().out
    assert "\nsounds:\n  silence: clips 1, model alone words" in printed
    assert "reliability lo 0.9333, hi 1, n 1, confidence" in printed


def test_the_rule_that_a_model_has_is_measured(recipe, tmp_path, monkeypatch):
    files = fetch_model("mini")
    top = Path(os.path.commonpath([files.mtasr_train_config, files.mtasr_model_file]))
    shutil.copytree(top, tmp_path / "model")
    beside = tmp_path / "model" / files.mtasr_model_file.relative_to(top)
    nothing = Rule({"token": 0.0}, 0.0, threshold=2.0)
    known = Calibration.beside(files.mtasr_model_file)
    replace(known, speech=nothing).write(beside.with_name("calibration.json"))
    kinds = {"silence": non_speech.KINDS["silence"]}
    monkeypatch.setattr(rule_fitting, "KINDS", kinds)
    output = tmp_path / "found.json"
    words = ["--recipe", str(recipe), "--model", str(tmp_path / "model")]
    main([*words, "--clips", "1", "--json", str(output)])
    figures = json.loads(output.read_text())["figures"]
    assert "fitted on dev" not in figures
    assert figures["calibration"]["speech"]["threshold"] == 2.0
    # This rule finds no speech anywhere.
    assert figures["counts"]["with the rule"] == {"0": 100.0, "2": 0.0, "mean": 50.0}


def test_a_recipe_that_was_not_run(tmp_path):
    with pytest.raises(UserError, match="has no test sets; run the recipe's stages"):
        main(["--recipe", str(tmp_path)])


def test_another_rate(recipe):
    wave, rate = soundfile.read(recipe / "a.wav")
    soundfile.write(recipe / "a.wav", wave, rate // 2)
    with pytest.raises(UserError, match="dev: u has 8000 Hz, but the model needs 1600"):
        main(["--recipe", str(recipe), "--clips", "1"])
