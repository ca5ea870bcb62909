"""Whisper on mixtures: its search by hand, resuming, scores and their table."""

import json

import numpy as np
import pytest
import soundfile
import torch
from helpers.tiny_models import make_tiny_tokenizer
from helpers.tiny_whisper import tiny_config
from transformers import AutoTokenizer, WhisperForConditionalGeneration

from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError
from tools import whisper_baseline as baseline

NAME = baseline.SETS[2]
UTTS = ("u1", "u2", "u3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A multilingual Whisper with random weights."""
    folder = tmp_path_factory.mktemp("whisper")
    make_tiny_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": names})
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = tiny_config(
        vocab_size=51865,
        decoder_layers=2,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.convert_tokens_to_ids(names[0]),
    )
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        # Tokens that the tokenizer doesn't know are never the best.
        model.model.decoder.embed_tokens.weight[len(tokenizer) :] = 0.0
    model.tie_weights()
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def transcriber(folder, monkeypatch):
    monkeypatch.setattr(baseline, "MAX_TOKENS", 6)
    return baseline.Transcriber(folder)


@pytest.fixture
def data(tmp_path):
    """Data directory of three mixtures of two talkers."""
    rng = np.random.default_rng(0)
    specs = {}
    for utt in UTTS:
        sources = []
        for talker in "ab":
            path = tmp_path / f"{utt}{talker}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(4000), 16000)
            sources.append(
                {"path": str(path), "gain": 1.0, "talker": talker, "seconds": 0.25}
            )
        spec = {"sources": sources, "onsets": [0.0, 0.1], "rate": 16000}
        specs[utt] = json.dumps(spec)
    data = tmp_path / "data" / NAME
    write_table(data / "utt2mixture", specs)
    write_table(data / "text", {utt: "don't go <sc> chapter seven" for utt in UTTS})
    write_table(data / "utt2num_spk", {utt: 2 for utt in UTTS})
    return data


def test_the_search_is_greedy_after_the_english_prompt(transcriber):
    wave = np.random.default_rng(1).standard_normal(8000).astype(np.float32)
    model, words = transcriber.model, transcriber.tokenizer.tokenizer
    known = words.get_vocab()
    prompt = [model.config.decoder_start_token_id]
    prompt += [known[f"<|{n}|>"] for n in ("en", "transcribe", "notimestamps")]
    features = transcriber.features(wave, sampling_rate=16000, return_tensors="pt")
    settings, ids = model.generation_config, list(prompt)
    with torch.no_grad():
        for place in range(6):
            logits = model(
                features.input_features, decoder_input_ids=torch.tensor([ids])
            ).logits[0, -1]
            logits[settings.suppress_tokens] = -torch.inf
            if place == 0:
                logits[settings.begin_suppress_tokens] = -torch.inf
            ids.append(int(logits.argmax()))
    expected = " ".join(words.decode(ids, skip_special_tokens=True).split())
    assert expected
    assert transcriber([wave]) == [expected]
    assert known["("] in settings.suppress_tokens
    assert not {known[sign] for sign in "a7.,'"} & set(settings.suppress_tokens)


def test_a_stopped_decoding_goes_on(transcriber, data, tmp_path, monkeypatch):
    monkeypatch.setattr(baseline, "BATCH", 2)
    seen = []

    def halves(samples):
        seen.append(len(samples))
        return [samples[:2000], samples[2000:]]

    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    for number in (2, 3):
        baseline.decode(data, stopped, transcriber, halves, number)
    assert len(seen) == 3
    baseline.decode(data, whole, transcriber, halves, 3)
    for name in ("text", "utt2num_spk"):
        assert read_table(stopped / name) == read_table(whole / name)
    assert read_table(whole / "utt2num_spk") == dict.fromkeys(UTTS, "2")


def test_scores_are_of_the_sample_in_both_ways(data, tmp_path):
    decoded = tmp_path / "decoded"
    text = "Don't go. Chapter 7!"
    *two, third = baseline.sample(UTTS, 3)
    for name, value in (("text", text), ("utt2num_spk", 1)):
        write_table(decoded / "whisper" / NAME / name, dict.fromkeys(two, value))
    options = ["--data", str(data.parent), "--decoded", str(decoded)]
    output = tmp_path / "kept.json"
    baseline.main(["keep", *options, "--mixtures", "2", "--output", str(output)])
    kept = json.loads(output.read_text())
    assert [*kept] == ["whisper"] and [*kept["whisper"]] == [NAME]
    ours, whispers = (kept["whisper"][NAME][way] for way in baseline.WAYS)
    assert ours["n_utt"] == 2 and ours["n_words"] == 8
    # All words are the first talker's: "chapter 7" too many, "chapter seven" missing.
    assert (ours["sub"], ours["del"], ours["ins"]) == (0, 4, 4)
    assert ours["cpwer"] == 100.0 and ours["orc_wer"] == 25.0
    # "don't" is two words there, "seven" is 7.
    assert whispers["n_words"] == 10 and whispers["orc_wer"] == 0.0
    assert ours["count_accuracy"] == 0.0
    recipe = {"sets": {NAME: {"cpwer": 62.9, "cpwer_ci95": [61.2, 64.6]}}}
    row = (
        baseline.table(kept, {"ours": recipe}).splitlines()[-1].strip("| ").split(" | ")
    )
    assert row[:4] == [NAME, "2", "62.9 (61.2 to 64.6)", "100.0 (100.0 to 100.0)"]
    assert row[4] == "0 / 4 / 4" and row[6:] == ["-"] * 4
    diarized = baseline.table({"diarized": kept["whisper"]}, {"ours": recipe})
    other = diarized.splitlines()[-1].strip("| ").split(" | ")
    assert other[:3] == row[:3] and other[3:6] == ["-"] * 3
    assert other[6:9] == row[3:6]
    with pytest.raises(
        UserError, match=f"text: lacks 1 mixtures, such as {third}; run"
    ):
        baseline.main(["keep", *options, "--output", str(output)])


def test_a_sample_has_more_than_a_sets_first_mixtures():
    utts = [f"ml1mix_{talker}-{n}" for talker in range(6) for n in range(30)]
    some = baseline.sample(utts, 30)
    assert some == baseline.sample(reversed(utts), 60)[:30]
    assert len({utt.split("-")[0] for utt in some}) == 6


def test_what_is_missing_is_said(transcriber, tmp_path):
    with pytest.raises(UserError, match="config.json; run stage 6"):
        baseline.Transcriber(tmp_path)
    with pytest.raises(UserError, match="has no utt2mixture; run the recipe's stages"):
        baseline.decode(tmp_path, tmp_path, transcriber, lambda wave: [wave], 1)
    with pytest.raises(UserError, match="nothing is decoded; run decode first"):
        baseline.main(["keep", "--decoded", str(tmp_path)])
    with pytest.raises(UserError, match="--mixtures 0: give at least 1"):
        baseline.main(["keep", "--mixtures", "0"])


def test_what_whisper_cannot_hear_is_said(data, transcriber, tmp_path, monkeypatch):
    monkeypatch.setattr(baseline, "LONGEST", 0.3)
    with pytest.raises(UserError, match="u1 has 0.3 s, and Whisper hears 0.3"):
        baseline.decode(data, tmp_path, transcriber, lambda wave: [wave], 1)


def test_the_command_decodes_what_is_there(folder, data, tmp_path, monkeypatch):
    monkeypatch.setattr(baseline, "MAX_TOKENS", 3)
    options = ["--data", str(data.parent), "--output", str(tmp_path / "out")]
    options += ["--whisper", str(folder), "--sets", NAME, "--mixtures", "1"]
    baseline.main(["decode", *options])
    assert [*read_table(tmp_path / "out" / "whisper" / NAME / "text")] == (
        baseline.sample(UTTS, 1)
    )


def test_the_page_shows_the_kept_figures(tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    page.write_text(baseline.PAGE.read_text())
    monkeypatch.setattr(baseline, "PAGE", page)
    baseline.main(["show"])
    shown = baseline.RECIPE / "README.md"
    assert (
        page.read_text() == shown.read_text()
    ), "run: python -m tools.whisper_baseline show"
