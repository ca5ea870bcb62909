"""mini_librispeech_mix: its corpora, its splits, and all its stages on tones."""

import importlib.util
import json
import math
import os
import re
import sys
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
import yaml
from helpers.recipe_copy import ROOT, call, copy_ready_recipe
from helpers.stand_in_engines import write_engines
from helpers.stand_in_mirror import write_md5sums
from helpers.tiny_data import write_config
from helpers.tiny_models import make_tiny_tokenizer
from helpers.tiny_real_corpora import (
    DEV,
    RATE,
    TEST,
    make_mini_librispeech,
    make_speechocean762,
    tone,
)
from helpers.tiny_whisper import save_whisper, tiny_config, tiny_whisper
from helpers.warm_python import warm_python
from transformers import WhisperForConditionalGeneration

from espnet_mtasr.corpora.librispeech import scan_corpus
from espnet_mtasr.data.tables import read_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference_llm import Speech2TextLLM
from espnet_mtasr.mixture.render import render
from espnet_mtasr.mixture.source_times import read_source_times
from espnet_mtasr.mixture.spec import read_specs
from espnet_mtasr.tasks.trained import read_checkpoint
from espnet_mtasr.transcription.mtasr import MTASR

RECIPE = ROOT / "egs2" / "mini_librispeech_mix" / "mtasr1"
SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    make_mini_librispeech(root)
    make_speechocean762(root / "speechocean762")
    return root


def load(name):
    spec = importlib.util.spec_from_file_location(
        f"{name}_of_test", RECIPE / "local" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    # Its functions go to other processes by this name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return load("lay_out_corpora")


def lay_out(script, out, **options):
    words = ["--out", str(out), "--nj", "1"]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    script.main(words)
    return out


def utterances(out, split):
    return {u.id: u for u in scan_corpus(out, split).utterances}


def test_splits_by_talker(script, corpora, tmp_path, capsys):
    out = lay_out(
        script,
        tmp_path / "c",
        librispeech=corpora,
        speechocean762=corpora / "speechocean762",
    )
    found = {
        f"{split}_{name}": utterances(out, f"{split}_{name}")
        for split in SPLITS
        for name in ("ml", "so")
    }
    talkers = {name: {u.talker for u in utts.values()} for name, utts in found.items()}
    assert talkers["test_ml"] == set(TEST) and talkers["dev_ml"] == set(DEV)
    assert talkers["dev_so"] == {"so0001", "so0013", "so0025"}
    assert talkers["test_so"] == {"so5001", "so5002", "so5003"}
    for name in ("ml", "so"):
        sets = [talkers[f"{split}_{name}"] for split in SPLITS]
        assert sum(map(len, sets)) == len(set.union(*sets))
    assert len(talkers["train_so"]) == 33
    genders = (out / "SPEAKERS.TXT").read_text()
    assert "so5001 | F" in genders and "163 | F" in genders
    said = capsys.readouterr().out
    assert "train_so: 33 talkers, 33 recordings" in said
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    lay_out(
        script,
        out,
        librispeech=corpora / "LibriSpeech",
        speechocean762=corpora / "speechocean762",
    )
    assert "is complete" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*")}


def test_silence_is_left_out(script, corpora, tmp_path):
    out = lay_out(script, tmp_path / "c", speechocean762=corpora / "speechocean762")
    utt = utterances(out, "test_so")["so5001-500100011"]
    samples, rate = soundfile.read(out / utt.path)
    # 1.2 s of sound and a margin of 0.1 s on both sides, of 2.2 s.
    assert rate == RATE and 1.36 <= len(samples) / RATE <= 1.44
    assert utt.text == "bravo alpha test"


def test_speech_span(script):
    loud = tone(300, 1.0)
    sound = np.concatenate([np.zeros(RATE), loud, 1e-4 * loud, loud, np.zeros(RATE)])
    first, last = script.speech_span(sound)
    assert first == RATE - 5 * 320 and last == 4 * RATE + 5 * 320
    assert script.speech_span(loud) == (0, RATE)
    assert script.speech_span(loud[:100]) == (0, 100)


def test_sentences_that_training_has_are_left_out_and_counted(script, tmp_path, capsys):
    root = make_speechocean762(tmp_path / "so")
    lines = (root / "train/text").read_text().splitlines()
    known = lines[5].split("\t")[1]
    text = root / "test" / "text"
    rows = text.read_text().splitlines()
    text.write_text("\n".join([f"500100011\t{known.title()}", *rows[1:]]) + "\n")
    out = lay_out(script, tmp_path / "c", speechocean762=root)
    assert sorted(utterances(out, "test_so")) == [
        "so5002-500200011",
        "so5003-500300011",
    ]
    assert "test_so: left out 1 of 3 recordings" in capsys.readouterr().out
    listed = (tmp_path / "c.known_sentences").read_text()
    assert listed == f"test_so so5001-500100011 {known.lower()}\n"


def test_more_subsets(script, tmp_path):
    """A talker of test stays out of train-clean-100; dev-clean-2 is one more test."""
    root = make_mini_librispeech(tmp_path / "r")
    make_mini_librispeech(root, "train-clean-100", ("163", "900", "118"), n_utts=3)
    make_mini_librispeech(root, "dev-clean-2", ("777", "778", "779"))
    out = lay_out(
        script,
        tmp_path / "c",
        librispeech=root,
        train_subsets="train-clean-5 train-clean-100",
    )
    train, test = utterances(out, "train_ml"), utterances(out, "test_ml")
    assert {u.talker for u in train.values()} >= {"900", "118"}
    assert "163" not in {u.talker for u in train.values()}
    # 118-9-0000 is in both subsets, and counts once.
    assert sum(u.talker == "118" for u in train.values()) == 3
    assert sum(u.talker == "163" for u in test.values()) == 3
    dc = utterances(out, "test_dc")
    assert {u.talker for u in dc.values()} == {"777", "778", "779"}


def test_mistakes(script, corpora, tmp_path):
    out = tmp_path / "c"
    with pytest.raises(UserError, match="give --librispeech or --speechocean762"):
        lay_out(script, out)
    with pytest.raises(
        UserError, match="has no talker 9 in train-clean-5; give others"
    ):
        lay_out(script, out, librispeech=corpora, test_talkers="163 9")
    root = make_speechocean762(tmp_path / "so")
    (root / "WAVE/SPEAKER0003/000300011.WAV").unlink()
    with pytest.raises(UserError, match="SPEAKER0003/000300011.WAV: no such file"):
        lay_out(script, out, speechocean762=root)
    assert not out.exists()


def test_bad_audio(script, tmp_path, capsys):
    root = make_speechocean762(tmp_path / "so")
    (root / "WAVE/SPEAKER0003/000300011.WAV").write_bytes(b"no sound")
    out = lay_out(script, tmp_path / "c", speechocean762=root)
    assert "left out 1 bad recordings of training" in capsys.readouterr().out
    assert "so0003-000300011" not in utterances(out, "train_so")
    (root / "WAVE/SPEAKER5001/500100011.WAV").write_bytes(b"no sound")
    with pytest.raises(UserError, match="test_so is not made with bad audio"):
        lay_out(script, tmp_path / "d", speechocean762=root)
    assert not (tmp_path / "d").exists()


def test_noise_of_a_folder(tmp_path):
    noise = load("split_noise")
    for k in range(12):
        path = tmp_path / "noise" / f"room{k % 3}" / f"{k}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(100 + k, 0.5), RATE)
    noise.main([str(tmp_path / "noise"), str(tmp_path / "out")])
    parts = {s: sorted((tmp_path / "out" / s).iterdir()) for s in ("tr", "cv", "tt")}
    assert [len(files) for files in parts.values()] == [10, 1, 1]
    assert len({f.resolve() for files in parts.values() for f in files}) == 12
    with pytest.raises(UserError, match="2 recordings .* are too few"):
        noise.split_of(["a", "b"])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    recipe = copy_ready_recipe(root, "mini_librispeech_mix")
    # What local/make_mini_noise.py is a link to.
    copy_recipe_part = root / "egs2" / "mini_librimix"
    copy_recipe_part.symlink_to(ROOT / "egs2" / "mini_librimix")
    return recipe


COUNT_HEAD = RECIPE / "conf/tuning/train_count_head_cpu.yaml"
SMALL = "--n_train 4 --n_dev 2 --n_test 2 --nj 1 --inference_nj 1 --nbpe 26".split()


def small_config(path, source=RECIPE / "conf/tuning/train_ctc_cpu.yaml"):
    config = yaml.safe_load(source.read_text())
    config["encoder_conf"]["num_trunk_layers"] = 2
    if "branch_masking" in config["encoder_conf"]:
        config["encoder_conf"]["branch_masking"]["feature_length"] = 4
    if "separator_conf" in config:
        config["separator_conf"].update(hidden_size=8, stream_size=16)
        config["count_head_conf"].update(
            hidden_size=8, attention_size=4, context_lstm_size=4
        )
    # An epoch for each stage that begins with a short flat start, or for the only one.
    stages = [stage for stage in config["curriculum"] if "batches" in stage]
    config["curriculum"] = [
        {**stage, "batches": 3, "from_epoch": epoch}
        for epoch, stage in enumerate(stages or config["curriculum"], start=1)
    ]
    config.update(num_iters_per_epoch=3, max_epoch=3, batch_seconds=6)
    config["scheduler_conf"]["max_steps"] = 9
    return write_config(path, config)


def specs_of(recipe):
    return read_specs(recipe / "data" / "train" / "utt2mixture")


# Of the twelve, so that the test is short.
DECODED = ["test_ml1mix_clean", "test_so2mix_noisy", "test_ml3mix_clean"]


def test_all_stages(recipe, corpora, tmp_path):
    whisper = save_whisper(tiny_whisper(), tmp_path / "whisper")
    config = small_config(tmp_path / "tiny.yaml")
    sentences = tmp_path / "sentences.txt"
    sentences.write_text(
        "Alpha, foxtrot hotel!\nDelta juliet echo.\nIndia golf bravo.\n"
    )
    engines = write_engines(tmp_path / "engines")
    done = call(
        ["env", f"PATH={engines}:{warm_python()}:{os.environ['PATH']}"]
        + ["./run.sh", *SMALL, "--synthetic_share", "0.25", "--synthetic_utts", "9"]
        + ["--synthetic_sentences", sentences]
        + ["--librispeech", corpora, "--speechocean762", corpora / "speechocean762"]
        + ["--encoder", whisper, "--phase2_config", config, "--stop_stage", "14"]
        + ["--skip_packing", "false", "--test_sets", " ".join(DECODED)]
        + ["--aligned_start", "curriculum"],
        recipe,
        timeout=None,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    exp = recipe / "exp" / "mtasr_tiny"
    results = json.loads((exp / "results.json").read_text())
    assert sorted(results["sets"]) == sorted(DECODED)
    assert {path.name for path in (recipe / "data").glob("test_*")} == {
        f"test_{name}{k}mix_{kind}"
        for name in ("ml", "so")
        for k in (1, 2, 3)
        for kind in ("clean", "noisy")
    }
    log = (exp / "train.log").read_text()
    assert "2 talkers start from 1's weights: branch, separator, ctc" in log
    assert "3 talkers start from 2's weights: branch, separator, ctc" in log
    assert list(exp.glob("*.zip"))
    assert "First stage of the curriculum, to epoch 1" in done.stdout
    times = read_source_times(exp / "source_times.jsonl")
    sources = {s.path for spec in specs_of(recipe).values() for s in spec.sources}
    assert times.keys() == sources
    assert all(len(spans) >= 3 for spans in times.values())

    data = recipe / "data"
    specs = specs_of(recipe)
    talkers = {source.talker for spec in specs.values() for source in spec.sources}
    assert not talkers & {*TEST, *DEV}
    assert Counter(len(spec.sources) for spec in specs.values()) == {
        1: 16,
        2: 16,
        3: 16,
    }
    # A quarter, and of training alone.
    assert (data / "train" / "utt2mixture").read_text().count("/train_sy/") == 24
    for path in data.glob("[dt]e[vs]*/utt2mixture"):
        assert "train_sy" not in path.read_text()
    assert {spec.noise is None for spec in specs.values()} == {True, False}
    for line in read_table(data / "test_ml3mix_clean" / "onsets").values():
        first, second, third = map(float, line.split())
        assert first == 0.0 and 0.5 <= second <= 1.5 and 0.5 <= third - second <= 1.5
    mixtures = (data / "mixtures.txt").read_text()
    assert "Mini LibriSpeech" in mixtures
    assert "in training 0.25 of the sources are synthetic voices" in mixtures


def test_an_ngram(recipe, tmp_path):
    """Stages 5 and 12 to 14, with the model that test_all_stages has left."""
    book = tmp_path / "books" / "book.txt"
    book.parent.mkdir()
    book.write_text("Alpha bravo; delta golf. Hotel alpha!\n" * 20)
    decode = [
        *("--test_sets", " ".join(DECODED), "--phase2_config", tmp_path / "tiny.yaml"),
        *("--stage", "12", "--stop_stage", "14", "--skip_packing", "false"),
        *("--inference_config", "conf/decode_ngram.yaml"),
    ]
    small_config(tmp_path / "tiny.yaml")
    command = ["env", f"PATH={warm_python()}:{os.environ['PATH']}", "./run.sh", *SMALL]
    early = call([*command, *decode], recipe, timeout=None)
    assert early.returncode == 2
    assert "need exp/ngram/ngram.safetensors; run stage 5 with" in early.stderr
    done = call(
        [*command, "--use_ngram", "true", "--lm_train_text", book.parent]
        + ["--max_ngrams", "150"]
        + ["--stage", "5", "--stop_stage", "5", "--test_sets", " ".join(DECODED)],
        recipe,
        timeout=None,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "60 sentences of 1 texts" in done.stdout
    assert 26 <= int(re.search(r"(\d+) n-grams of", done.stdout)[1]) <= 150
    done = call([*command, *decode], recipe, timeout=None)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # What a wrong count costs depends on the n-gram, so it is fitted again.
    fitted = re.findall("Fitting on dev (.*?):", done.stdout)
    assert fitted == ["how the n-gram is used", "how to pick a branch"]
    exp = recipe / "exp" / "mtasr_tiny"
    assert "| mixtures of dev |" in (exp / "ngram.md").read_text()
    # Both decodings are in its table, greedy search first.
    table = (exp / "RESULTS.md").read_text()
    assert 0 < table.index("conf/decode.yaml") < table.index("conf/decode_ngram.yaml")
    (archive,) = exp.glob("*.zip")
    assert {"ngram.safetensors", "ngram.md"} <= set(zipfile.ZipFile(archive).namelist())
    assert MTASR.from_pretrained(archive).speech2text.beam_size == 12


def test_whispers_own_decoder_as_teacher(recipe, tmp_path, monkeypatch):
    """Phases 1 and 2 and the count head, of the data that test_all_stages has left."""
    folder = tmp_path / "whisper"
    size = len(make_tiny_tokenizer(folder))
    torch.manual_seed(0)
    changes = dict(vocab_size=size, eos_token_id=1, decoder_start_token_id=7)
    WhisperForConditionalGeneration(tiny_config(**changes)).save_pretrained(folder)
    configs = []
    for phase in (1, 2):
        path = RECIPE / f"conf/tuning/train_phase{phase}_whisper_cpu.yaml"
        configs.append(f"--phase{phase}_config")
        configs.append(small_config(tmp_path / f"train_phase{phase}.yaml", path))
    done = call(
        ["./run.sh", "--encoder", folder, "--llm", "encoder", *configs, *SMALL]
        + ["--expdir", "exp/taught", "--stage", "6", "--stop_stage", "11"],
        recipe,
        timeout=None,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("words, another mixture's speech") == 1
    exp = recipe / "exp" / "taught"
    log = (exp / "mtasr_phase2" / "train.log").read_text()
    assert "3 talkers start from 2's weights: separator, ctc" in log
    first = read_checkpoint(exp / "mtasr_phase1" / "valid.loss_sot.ave.pth", True)
    last = read_checkpoint(exp / "mtasr_phase2" / "3epoch.pth", True)
    taught = [name for name in first if name.startswith("teacher.")]
    assert taught and all(torch.equal(first[name], last[name]) for name in taught)
    head = small_config(tmp_path / "train_head.yaml", COUNT_HEAD)
    done = call(
        ["./run.sh", "--encoder", folder, "--skip_phase1", "true", *SMALL]
        + ["--phase2_config", head, "--expdir", "exp/taught"]
        + ["--pretrained_model"]
        + ["exp/taught/mtasr_phase2/valid.loss_ctc.ave.pth:::teacher"]
        + ["--stage", "10", "--stop_stage", "11"],
        recipe,
        timeout=None,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    before = read_checkpoint(exp / "mtasr_phase2" / "valid.loss_ctc.ave.pth", True)
    after = read_checkpoint(exp / "mtasr_head" / "valid.loss_count.ave.pth", True)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {name for name in after if name.startswith("count_head.")}
    # The configuration names the teacher's folder as the recipe sees it.
    monkeypatch.chdir(recipe)
    decoder = Speech2TextLLM(
        exp / "mtasr_phase1" / "config.yaml",
        exp / "mtasr_phase1" / "valid.loss_sot.ave.pth",
        trust_remote_code=True,
    )
    [found] = decoder([torch.from_numpy(tone(300, 1.0)).float()])
    assert 1 <= found.num_talkers


def test_levels(recipe):
    """Tones are alike, so that gains tell levels; test_all_stages has made them."""
    specs = read_specs(recipe / "data" / "test_ml2mix_clean" / "utt2mixture")
    for spec in specs.values():
        one, two = (source.gain for source in spec.sources)
        assert abs(20 * math.log10(two / one)) <= 5.5


def test_samples(recipe, tmp_path):
    """As in test_levels."""
    make = load("make_samples")
    words = ["--data_dir", str(recipe / "data"), "--output_dir", str(tmp_path / "new")]
    with pytest.raises(UserError, match="--max_seconds 0.1: all mixtures of .* longer"):
        make.main([*words, "--max_seconds", "0.1"])
    assert not (tmp_path / "new").exists()
    make.main([*words, "--max_seconds", "60"])
    references = read_table(tmp_path / "new" / "references")
    for name, corpus in (("two_talkers_1", "ml"), ("two_talkers_2", "so")):
        data = recipe / "data" / f"test_{corpus}2mix_clean"
        specs = read_specs(data / "utt2mixture")
        utt = list(specs)[len(specs) // 2]
        assert references[name] == f"2 {read_table(data / 'text')[utt]}"
        samples, rate = soundfile.read(tmp_path / "new" / f"{name}.flac")
        assert rate == 16000 and np.abs(samples - render(specs[utt])).max() < 1e-4


def test_one_corpus_without_noise(recipe, corpora):
    done = call(
        ["./run.sh", *SMALL, "--librispeech", corpora, "--noise", "none"]
        + ["--talker_counts", "1,2", "--stop_stage", "4", "--skip_train", "true"]
        + ["--encoder", "whisper_tiny_en"],
        recipe,
        timeout=None,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    sets = {p.name for p in (recipe / "dump" / "raw").glob("test_*")}
    assert {"test_ml1mix_clean", "test_ml2mix_clean"} <= sets
    texts = read_table(recipe / "data" / "train" / "text")
    assert len(texts) == 8 and not any("so" in utt for utt in texts)


def test_downloads(recipe, corpora, tmp_path):
    """Mirrors with archives as OpenSLR has them; only missing ones are fetched."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    make_mini_librispeech(tmp_path / "dc", "dev-clean-2", ("777", "778", "779"))
    for folder, name in (
        (corpora, "train-clean-5"),
        (tmp_path / "dc", "dev-clean-2"),
    ):
        with tarfile.open(mirror / f"{name}.tar.gz", "w:gz") as tar:
            tar.add(folder / "LibriSpeech", "LibriSpeech")
    with tarfile.open(mirror / "speechocean762.tar.gz", "w:gz") as tar:
        tar.add(corpora / "speechocean762", "speechocean762")
    write_md5sums(mirror)
    names = ("MINI_LIBRISPEECH_URL", "SPEECHOCEAN762_URL")
    settings = [f"{name}={mirror}" for name in names]
    settings.append(f"CORPORA_MD5SUMS={mirror / 'md5sum.txt'}")
    command = ["env", *settings, "./run.sh", *SMALL, "--stop_stage", "1"]
    done = call([*command, "--noise", "none"], recipe, timeout=None)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (recipe / "downloads/LibriSpeech/train-clean-5/163").is_dir()
    assert len(read_table(recipe / "data/test_dc2mix_clean/utt2num_spk")) == 2


@pytest.mark.parametrize(
    "options, message",
    [
        (["--preset", "tpu"], "--preset tpu: choose cpu or gpu"),
        (["--noise", "nowhere"], "--noise nowhere: no such folder"),
        (["--librispeech", "nowhere"], "--librispeech nowhere: no such folder"),
        (["--level_gap", "5"], "--level_gap '5': give two numbers of dB"),
        (
            ["--synthetic_share", "1.0"],
            "--synthetic_share 1.0: give 0, or a share below",
        ),
        (["--synthetic_sentences", "none"], "--synthetic_sentences none: no such file"),
        (["--n_dev", "0"], "'0' in --talker_counts, --n_train, --n_train_so"),
    ],
)
def test_wrong_options(recipe, corpora, options, message):
    given = [] if "--librispeech" in options else ["--librispeech", corpora]
    done = call(["./run.sh", *given, *options, "--stop_stage", "1"], recipe)
    assert done.returncode == 2
    assert message in done.stderr
