"""The scripts that make the mini recipe's pretrained models, on next to nothing."""

import itertools
import math
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.recipe_copy import MINI
from helpers.tiny_corpus import make_tiny_corpus
from transformers import AutoModelForCausalLM, AutoTokenizer, WavLMModel

from espnet_mtasr.errors import UserError

SCRIPTS = MINI / "local" / "pretraining"


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Training talkers 11 and 12; dev and test have one talker and sentence each."""
    for subset, talkers in (
        ("train-clean-100", 2),
        ("dev-clean", 3),
        ("test-clean", 4),
    ):
        make_tiny_corpus(tmp_path, subset, n_talkers=talkers, n_utts=2)
        for talker in range(11, 11 + talkers - 1) if talkers > 2 else ():
            shutil.rmtree(tmp_path / "LibriSpeech" / subset / str(talker))
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return tmp_path


def encoder_options(corpus, steps):
    return [
        *("--librispeech", f"{corpus}/LibriSpeech"),
        *("--wham_noise", f"{corpus}/wham_noise"),
        *("--output_dir", f"{corpus}/encoder", "--hidden_size", "16"),
        *("--num_layers", "2", "--num_lower_layers", "1"),
        *("--batch_size", "2", "--save_every", "1"),
        *("--steps", str(steps)),
    ]


def weights(folder):
    return WavLMModel.from_pretrained(folder, dtype=torch.float32).state_dict()


def test_the_encoder_goes_on_where_it_was_stopped(corpus, monkeypatch):
    import pretrain_encoder

    options = encoder_options(corpus, steps=3)
    pretrain_encoder.main(options)
    expected = weights(corpus / "encoder")
    assert not (corpus / "encoder.checkpoint.pth").exists()
    shutil.rmtree(corpus / "encoder")

    draws = []
    draw = pretrain_encoder.Mixer.draw

    def stop_in_the_last_step(mixer):
        draws.append(mixer)
        if len(draws) > 4:
            raise KeyboardInterrupt
        return draw(mixer)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pretrain_encoder.Mixer, "draw", stop_in_the_last_step)
        pretrain_encoder.main(options)
    with pytest.raises(UserError, match="encoder.checkpoint.pth: has other settings"):
        pretrain_encoder.main(encoder_options(corpus, steps=4))
    pretrain_encoder.main(options)
    resumed = weights(corpus / "encoder")
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_the_second_round_goes_on_from_the_first(corpus):
    """Its units need no transcripts: other words give the same encoder."""
    import pretrain_encoder

    pretrain_encoder.main(encoder_options(corpus, steps=1))
    (corpus / "encoder").rename(corpus / "round1")
    options = encoder_options(corpus, steps=2)
    options += ["--first_round", f"{corpus}/round1", "--num_units", "4"]
    options += ["--units_layer", "1"]
    pretrain_encoder.main(options)
    second = weights(corpus / "encoder")
    first = weights(corpus / "round1")
    name = "feature_extractor.conv_layers.0.conv.weight"
    assert first.keys() == second.keys()
    assert not torch.equal(first[name], second[name])
    torch.testing.assert_close(first[name], second[name], atol=0.01, rtol=0)
    shutil.rmtree(corpus / "encoder")
    train = corpus / "LibriSpeech" / "train-clean-100"
    for path in train.rglob("*.trans.txt"):
        path.write_text(path.read_text().replace("ALPHA", "ZULU"))
    pretrain_encoder.main(options)
    again = weights(corpus / "encoder")
    assert all(torch.equal(second[name], again[name]) for name in second)
    assert sorted(p.name for p in corpus.glob("encoder*")) == ["encoder"]
    deeper = [*encoder_options(corpus, steps=1), "--output_dir", f"{corpus}/deeper"]
    pretrain_encoder.main([*deeper, "--num_layers", "3"])
    with pytest.raises(UserError, match="--num_layers 2: the first round has more"):
        pretrain_encoder.main([*options, "--first_round", f"{corpus}/deeper"])
    with pytest.raises(UserError, match="--first_round .*none: has no encoder"):
        pretrain_encoder.main([*options, "--first_round", f"{corpus}/none"])


def test_pseudo_units(corpus, monkeypatch):
    """Each talker's units stand where it talks, as if it were alone; else silence."""
    import pretrain_encoder
    from pseudo_units import PseudoUnits

    torch.manual_seed(0)
    model = make_pretraining(pretrain_encoder)
    model.wavlm.save_pretrained(corpus / "first")
    units = PseudoUnits(corpus / "first", layer=1, num_units=3)
    rng = np.random.default_rng(0)
    noises = [rng.standard_normal(16000).astype(np.float32) for _ in range(6)]
    units.fit(noises, seed=0)
    late = torch.from_numpy(np.concatenate([np.zeros(16000, "f"), noises[0]]))
    labels = units.label([late, torch.from_numpy(noises[1])], frames=24)
    assert labels.shape == (2, 24)
    heard = [(row != units.silence).nonzero()[:, 0].tolist() for row in labels]
    # Frame t is about samples 1280 t + 1240 to 1280 t + 2520.
    assert heard[0] == list(range(11, 23)) and heard[1] == list(range(12))
    assert labels.max() == units.silence == 3

    logits = torch.zeros(1, 24, 3 * 4)
    example = pretrain_encoder.Example(
        late.numpy(), [noises[1], late.numpy()], "never read"
    )
    objective = pretrain_encoder.EveryTalkersUnits(units)
    frames = torch.tensor([24])
    loss = objective(logits, frames, [example])
    assert loss.item() == pytest.approx(math.log(4))
    wanted = units.label(
        [torch.from_numpy(s) for s in example.sources] + [torch.zeros(16000)], 24
    )
    right = torch.nn.functional.one_hot(wanted.T, 4).flatten(1)[None] * 50.0
    right[0, :, 8:] = 0.0
    right[0, :, 11] = 50.0  # nobody is third
    assert objective(right, frames, [example]).item() < 1e-6


def make_pretraining(pretrain_encoder):
    torch.manual_seed(0)
    config = pretrain_encoder.wavlm_config(16, 2)
    return pretrain_encoder.Pretraining(config, num_outputs=3, num_lower_layers=1)


def test_spectra_are_those_around_the_centre_of_each_frame(corpus):
    """A click in the middle of what frame 5 sees is loudest there, and symmetric."""
    import pretrain_encoder

    model = make_pretraining(pretrain_encoder)
    centre = 5 * 1280 + 3760 // 2
    sources = torch.zeros(1, 2, 32000)
    sources[0, 1, centre] = 100.0
    spectra = model.spectra_of(sources, frames=12).view(12, 2, 32, 4)
    assert torch.equal(spectra[:, 0], torch.full((12, 32, 4), math.log(1e-2) / 3))
    level = spectra[:, 1].mean(1).flatten()
    loud = (level > level.min() + 1e-3).nonzero()[:, 0].tolist()
    # The two middle ones of the four spectra of frame 5 hear it.
    assert loud == [21, 22]
    assert level[21].item() == pytest.approx(level[22].item(), rel=1e-3)


def test_the_first_convolutions_start_as_a_filterbank(corpus):
    """The envelope of a tone is largest in the band that is tuned to it."""
    import pretrain_encoder

    model = make_pretraining(pretrain_encoder)
    pretrain_encoder.start_as_filterbank(model.wavlm)
    weights = model.wavlm.feature_extractor.conv_layers[0].conv.weight[:, 0]
    assert weights.shape == (160, 400)
    for band, hertz in ((10, 712.0), (30, 3929.0)):
        tone = torch.sin(2 * math.pi * hertz * torch.arange(400) / 16000)
        envelopes = torch.relu(weights @ tone).view(40, 4).sum(1)
        gains = weights.view(40, 4, 400).norm(dim=2).mean(1)
        assert (envelopes / gains).argmax().item() == band


def test_examples(corpus):
    from mixtures_for_pretraining import Mixer
    from train_split import read_train_split

    utterances = read_train_split(corpus / "LibriSpeech")
    noise = corpus / "wham_noise" / "tr"
    texts = {u.text for u in utterances}
    counts = set()
    mixer = Mixer(utterances, noise, seed=0, shares=(1, 1, 1))
    for _ in range(20):
        example = mixer.draw()
        counts.add(len(example.sources))
        assert example.text in texts
        assert all(len(s) == len(example.mixture) for s in example.sources)
        starts = [int((s != 0).nonzero()[0][0]) for s in example.sources]
        assert starts == sorted(starts) and starts[0] < 100
    assert counts == {1, 2}  # there are two talkers
    with pytest.raises(UserError, match="has no \\*.wav"):
        Mixer(utterances, corpus / "LibriSpeech", seed=0, shares=(1, 1, 1))


def test_sentences_held_out_of_another_corpus_are_left_out(corpus, tmp_path):
    from train_split import read_train_split

    other = make_tiny_corpus(tmp_path / "other", "dev-clean", n_talkers=1, n_utts=1)
    make_tiny_corpus(tmp_path / "other", "test-clean", n_talkers=1, n_utts=1)
    for split in ("dev-clean", "test-clean"):
        folder = other / "LibriSpeech" / split
        (folder / "11").rename(folder / "99")
    seen = read_train_split(
        corpus / "LibriSpeech", held_out_corpus=other / "LibriSpeech"
    )
    texts = [u.text for u in read_train_split(corpus / "LibriSpeech")]
    assert [u.text for u in seen] == [t for t in texts if t != "alpha alpha"]
    assert len(seen) == len(texts) - 1


def make_lm_options(corpus, steps=2):
    return [
        *("--librispeech", f"{corpus}/LibriSpeech", "--output_dir", f"{corpus}/lm"),
        *("--steps", str(steps), "--hidden_size", "16", "--sentences", "200"),
    ]


def test_the_language_model_is_a_llama(corpus, capsys):
    import make_lm

    make_lm.main(make_lm_options(corpus))
    assert AutoModelForCausalLM.from_pretrained(corpus / "lm").config.model_type == (
        "llama"
    )
    said = capsys.readouterr().out
    assert "unseen sentences, 3 talkers: right report" in said
    tokenizer = AutoTokenizer.from_pretrained(corpus / "lm")
    assert all(
        len(tokenizer(word.lower()).input_ids) == 1 for word in make_lm.VOCABULARY
    )
    ids = tokenizer("peter kept zwei blue desks").input_ids
    assert tokenizer.decode(ids) == "peter kept zwei blue desks"


def test_the_shipped_language_model_is_small():
    lm = MINI / "pretrained" / "lm"
    assert sum(path.stat().st_size for path in lm.iterdir()) < 3e6
    weights = AutoModelForCausalLM.from_pretrained(lm).state_dict()
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_reports_tell_who_says_what_when(corpus, monkeypatch):
    import noisy_reports

    monkeypatch.setattr(noisy_reports, "LOST", 0.0)
    monkeypatch.setattr(noisy_reports, "MISTAKEN", 0.0)
    texts = ["peter kept nine large desks", "ready tiger go to blue four now"]
    words = sorted({word for text in texts for word in text.split()})
    ids = {word: 100 + k for k, word in enumerate(words)}
    rng = random.Random(0)
    for _ in range(20):
        report = noisy_reports.tell(rng, texts, ids)
        assert report.words.shape == report.levels.shape == (len(report.words), 3)
        assert (report.words[:, 2] == -1).all()
        silent = report.words == -1
        assert (report.levels[silent] == 0).all() and (report.levels[~silent] > 0).all()
        for talker, text in enumerate(texts):
            told = [i for i in report.words[:, talker].tolist() if i >= 0]
            in_order = [i for i, _ in itertools.groupby(told)]
            # A word may be shorter than a frame; none comes out of its order.
            spoken = iter([ids[word] for word in text.split()])
            assert all(word in spoken for word in in_order)
            assert len(in_order) >= len(text.split()) - 2
        first, second = (int(np.argmax(~silent[:, k])) for k in (0, 1))
        assert first <= 1 and 2 <= second <= 11  # 0.5 to 1.0 s of 0.1 to 0.2 s


def test_no_sentence_of_the_corpus_is_drawn():
    from noisy_reports import draw_texts

    rng = random.Random(0)
    drawn = [draw_texts(rng, ["a b"], ["c"], {"c c c"}, 0.5) for _ in range(500)]
    assert {len(texts) for texts in drawn} == {1, 2, 3}
    said = {text for texts in drawn for text in texts}
    assert "a b" in said and "c c c c" in said and "c c c" not in said


def test_a_language_model_learns_to_read(corpus):
    """Perplexity after the right report falls below that after another one."""
    import make_lm

    torch.manual_seed(0)
    words = ["red", "blue", "nine"]
    tokenizer = make_lm.train_tokenizer(words)
    config = make_lm.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=True,
    )
    lm = make_lm.LlamaForCausalLM(config)
    model = make_lm.ReadingLM(lm, tokenizer.bos_token_id, tokenizer.eos_token_id)
    ids = {word: tokenizer(word).input_ids[0] for word in words}
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)

    def frames(word):
        told = np.full((4, 3), -1)
        told[:, 0] = ids[word]
        return make_lm.Report(told, np.where(told < 0, 0, 1).astype(np.float32))

    reports = [frames(word) for word in words]
    texts = [[ids[word]] for word in words]
    for _ in range(60):
        loss, tokens = model(reports, texts, [0.1] * 3)
        optimizer.zero_grad()
        (loss / tokens).backward()
        optimizer.step()
    with torch.no_grad():
        right, _ = model(reports, texts, [0.1] * 3)
        other, _ = model(reports[1:] + reports[:1], texts, [0.1] * 3)
    assert float(other) > 3 * float(right)


def test_the_training_split_alone_is_read(corpus):
    from train_split import read_train_split

    seen = read_train_split(corpus / "LibriSpeech")
    assert {u.talker for u in seen} == {"11", "12"}
    assert [u.text for u in seen][:2] == ["alpha alpha", "alpha bravo"]
    assert all(Path(u.path).is_file() for u in seen)


@pytest.mark.parametrize("shared", ["talker", "sentence"])
def test_nothing_of_dev_and_test_may_be_seen(corpus, shared):
    from train_split import read_train_split

    split = corpus / "LibriSpeech" / "test-clean"
    if shared == "talker":
        (split / "14").rename(split / "11")
    else:
        (split / "14" / "7" / "14-7.trans.txt").write_text("14-7-0000 ALPHA BRAVO\n")
    with pytest.raises(AssertionError, match="is in test-clean"):
        read_train_split(corpus / "LibriSpeech")


def teardown_module():
    for name in (
        *("pretrain_encoder", "make_lm", "noisy_reports", "grammar", "train_split"),
        "mixtures_for_pretraining",
        *("pseudo_units", "small_wavlm"),
    ):
        sys.modules.pop(name, None)
