"""The scripts that make the mini recipe's pretrained models, on next to nothing."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from helpers.tiny_corpus import make_tiny_corpus
from transformers import AutoModelForCausalLM, WavLMModel

from espnet_mtasr.errors import UserError

LOCAL = Path(__file__).resolve().parents[2] / "egs2" / "mini_librimix" / "mtasr1/local"


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
    monkeypatch.syspath_prepend(str(LOCAL))
    return tmp_path


def encoder_options(corpus, steps):
    return [
        *("--librispeech", f"{corpus}/LibriSpeech"),
        *("--wham_noise", f"{corpus}/wham_noise"),
        *("--output_dir", f"{corpus}/encoder", "--hidden_size", "16"),
        *("--num_layers", "2", "--batch_size", "2", "--save_every", "1"),
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


def test_the_language_model_is_a_llama(corpus):
    import make_lm

    make_lm.main(
        [
            *("--librispeech", f"{corpus}/LibriSpeech"),
            *("--output_dir", f"{corpus}/lm", "--steps", "2", "--hidden_size", "16"),
        ]
    )
    assert AutoModelForCausalLM.from_pretrained(corpus / "lm").config.model_type == (
        "llama"
    )


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
    for name in ("pretrain_encoder", "make_lm", "train_split"):
        sys.modules.pop(name, None)
