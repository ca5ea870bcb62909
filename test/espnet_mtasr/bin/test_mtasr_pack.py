"""Packing a model: what is in the zip, that it loads anywhere, what is refused."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch
import yaml
from espnet2.main_funcs.pack_funcs import unpack
from espnet_model_zoo.downloader import ModelDownloader
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_models import make_tiny_llm, make_tiny_wavlm
from safetensors.torch import load_file

from espnet_mtasr.bin import mtasr_pack
from espnet_mtasr.bin.make_token_list import main as make_token_list
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.publishing.packing import compressed
from espnet_mtasr.tasks.mtasr import MTASRTask
from espnet_mtasr.transcription.calibration.calibration import Calibration
from espnet_mtasr.transcription.mtasr import MTASR

ROOT = Path(__file__).resolve().parents[3]
WAVES = noises(9000, 4000, 100, 7001, 12000)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe's folder after phase 2: trained with encoder, teacher, sentencepiece."""
    root = tmp_path_factory.mktemp("recipe")
    text = root / "text"
    text.write_text("had lunch good day\n" * 9)
    tokens = root / "data" / "token_list"
    tokens.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(tokens / "bpe"),
        vocab_size=15,
        user_defined_symbols=["/"],
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tokens / "bpe.model"))
    names = [pieces.id_to_piece(n) for n in range(3, pieces.vocab_size())]
    save_tiny_model(
        root / "exp",
        token_list=["<blank>", "<unk>", *names, "<sos/eos>"],
        llm=make_tiny_llm(root / "llm"),
        encoder_conf=dict(
            num_trunk_layers=1, model=str(make_tiny_wavlm(root / "wavlm"))
        ),
        freeze_param=["encoder.trunk", "teacher"],
        lr_scale={"encoder.branches": 0.5, "teacher.llm": 0.1},
        token_type="bpe",
        bpemodel="data/token_list/bpe.model",
        output_dir=str(root / "exp"),
        init_param=[f"{root}/phase1.pth:encoder:encoder"],
        train_data_path_and_name_and_type=[(f"{root}/wav.scp", "speech", "sound")],
    )
    # Weights that half precision can hold: then no text may change.
    path = root / "exp" / "model.pth"
    state = torch.load(path, weights_only=True)
    torch.save({name: w.half().float() for name, w in state.items()}, path)
    (root / "exp" / "RESULTS.md").write_text("# Results\n")
    (root / "exp" / "learning_curve.png").write_bytes(b"a plot")
    Calibration(slope=0.5).write(root / "exp" / "calibration.json")
    return root


def pack(recipe, outpath, *more):
    model = recipe / "exp" / "model.pth"
    words = ["--mtasr_model_file", model, "--outpath", outpath, *more]
    mtasr_pack.main([str(word) for word in words])
    return outpath


@pytest.fixture(scope="module", params=["float32", "float16"])
def archive(request, recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "some" / "model.zip"
    return pack(recipe, out, "--dtype", request.param), request.param


def texts(speech2text):
    return [hypothesis.sot_text for hypothesis in speech2text(WAVES)]


def strings(value):
    if isinstance(value, dict):
        return [s for pair in value.items() for part in pair for s in strings(part)]
    if isinstance(value, (list, tuple)):
        return [s for part in value for s in strings(part)]
    return [value] if isinstance(value, str) else []


def test_unpacked_elsewhere_it_writes_the_same_texts(
    archive, recipe, tmp_path, monkeypatch
):
    path, dtype = archive
    expected = texts(Speech2Text(mtasr_model_file=recipe / "exp" / "model.pth"))
    assert any(re.search("[a-z]", text) for text in expected)
    # Nothing may be read but the archive.
    hidden = recipe.with_name("hidden")
    recipe.rename(hidden)
    try:
        monkeypatch.chdir(tmp_path)
        found = unpack(path, "unpacked")
        assert set(found) == {"mtasr_train_config", "mtasr_model_file"}
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        speech2text = Speech2Text(**{k: tmp_path / v for k, v in found.items()})
        assert texts(speech2text) == expected
        with zipfile.ZipFile(path) as f:
            f.extractall(tmp_path / "by_unzip")
        model = tmp_path / "by_unzip" / "model.safetensors"
        assert texts(Speech2Text(mtasr_model_file=model)) == expected
        found = ModelDownloader(tmp_path / "zoo").download_and_unpack(str(path))
        assert texts(Speech2Text(**found)) == expected
    finally:
        hidden.rename(recipe)
    parameters = [*speech2text.model.parameters(), *speech2text.model.buffers()]
    assert {p.dtype for p in parameters if p.is_floating_point()} == {torch.float32}
    stored = load_file(model)
    assert {w.dtype for w in stored.values()} == {getattr(torch, dtype)}
    trained = torch.load(recipe / "exp" / "model.pth", weights_only=True)
    assert set(stored) == {n for n in trained if not n.startswith("teacher.")}


def test_what_is_in_it(archive, recipe):
    with zipfile.ZipFile(archive[0]) as f:
        assert str(recipe).encode() not in f.read("config.yaml") + f.read("meta.yaml")
        assert sorted(f.namelist()) == sorted(
            "meta.yaml config.yaml model.safetensors bpe.model RESULTS.md "
            "learning_curve.png model_card.yaml README.md calibration.json".split()
        )
        config = yaml.safe_load(f.read("config.yaml"))
        meta = yaml.safe_load(f.read("meta.yaml"))
        assert {i.compress_type for i in f.infolist()} == {zipfile.ZIP_DEFLATED}
    assert meta["files"] == {"mtasr_model_file": "model.safetensors"}
    assert meta["yaml_files"] == {"mtasr_train_config": "config.yaml"}
    tokens = config.pop("token_list")
    assert tokens[:3] == ["<blank>", "<unk>", "/"]
    assert [s for s in strings(config) if s.startswith(("/", "~"))] == []
    assert [s for s in strings(config) if s.startswith("teacher.")] == []
    assert config["teacher"] is None and config["teacher_conf"] == {}
    assert config["freeze_param"] == ["encoder.trunk"]
    assert config["lr_scale"] == {"encoder.branches": 0.5}
    assert config["init_param"] == [] and config["output_dir"] is None
    assert config["bpemodel"] == "bpe.model"
    assert "model" not in config["encoder_conf"]
    assert config["encoder_conf"]["load_pretrained"] is False
    assert config["encoder_conf"]["do_normalize"] is True


def test_half_precision_halves_the_size_and_further_files_come_along(recipe, tmp_path):
    more = tmp_path / "card.md"
    more.write_text("a card\n")
    large = pack(recipe, tmp_path / "large.zip")
    small = pack(recipe, tmp_path / "small.zip", "--dtype", "float16", "--option", more)

    def weights(path):
        with zipfile.ZipFile(path) as f:
            return f.getinfo("model.safetensors").file_size, set(f.namelist())

    assert weights(large)[1] ^ weights(small)[1] == {"card.md"}
    # The rest is the names of the weights.
    numbers = sum(
        w.numel()
        for n, w in torch.load(recipe / "exp/model.pth", weights_only=True).items()
        if not n.startswith("teacher.")
    )
    saved = weights(large)[0] - weights(small)[0]
    assert saved == pytest.approx(2 * numbers, rel=0.15)
    with pytest.raises(UserError, match=r"limit.zip: would have \d.\d+ MB, more than"):
        pack(recipe, tmp_path / "limit.zip", "--max_mb", "0.01")
    assert not (tmp_path / "limit.zip").exists()


def test_half_precision_rounds(recipe, tmp_path):
    folder = spoilt(tmp_path, recipe, lambda s: {k: v * 1.001 for k, v in s.items()})
    found = unpack(
        pack(folder, tmp_path / "x.zip", "--dtype", "float16"), tmp_path / "x"
    )
    loaded = Speech2Text(**found).model.state_dict()
    trained = torch.load(folder / "exp" / "model.pth", weights_only=True)
    assert all(torch.equal(w, trained[n].half().float()) for n, w in loaded.items())
    assert not all(torch.equal(w, trained[n]) for n, w in loaded.items())


@pytest.mark.parametrize("integers, largest", [("int8", 127), ("int7", 63)])
def test_integers(recipe, tmp_path, integers, largest):
    """A quarter of the matrices' size; each weight within half a step of its row."""
    sizes = {}
    for dtype in ("float32", integers):
        path = pack(recipe, tmp_path / f"{dtype}.zip", "--dtype", dtype)
        found = unpack(path, tmp_path / dtype)
        sizes[dtype] = os.path.getsize(found["mtasr_model_file"])
    loaded = Speech2Text(**found).model.state_dict()
    trained = torch.load(recipe / "exp" / "model.pth", weights_only=True)
    rounded = 0
    for name, weight in loaded.items():
        assert weight.dtype == trained[name].dtype
        if weight.ndim < 2 or weight.numel() < 1024:
            assert torch.equal(weight, trained[name].half().float())
            continue
        steps = trained[name].abs().flatten(1).amax(1, keepdim=True) / largest
        difference = (weight - trained[name]).abs().flatten(1)
        assert (difference <= 0.5001 * steps).all()
        rounded += weight.numel()
    total = sum(weight.numel() for weight in loaded.values())
    saved = 3 * rounded + 2 * (total - rounded)
    assert sizes["float32"] - sizes[integers] == pytest.approx(saved, rel=0.15)
    card = (tmp_path / integers / "README.md").read_text()
    assert f"stored as {integers};" in card


def test_statistics_of_features_are_packed(tmp_path):
    """A model of features, normalized by statistics that lie in another folder."""
    stats = tmp_path / "stats" / "feats_stats.npz"
    stats.parent.mkdir()
    ones = np.ones(80, dtype=np.float32)
    np.savez(stats, count=4, sum=ones, sum_square=4 * ones)
    layers = dict(
        output_size=8,
        attention_heads=2,
        linear_units=8,
        num_blocks=1,
        cnn_module_kernel=3,
    )
    model = save_tiny_model(
        tmp_path / "exp",
        input_size=None,
        encoder="routed_espnet",
        encoder_conf=dict(
            trunk_conf=dict(layers), branch_conf={**layers, "input_layer": None}
        ),
        normalize="global_mvn",
        normalize_conf=dict(stats_file=str(stats)),
    )
    expected = texts(Speech2Text(mtasr_model_file=model))
    out = tmp_path / "model.zip"
    mtasr_pack.main(["--mtasr-model-file", str(model), "--outpath", str(out)])
    shutil.rmtree(stats.parent)
    shutil.rmtree(model.parent)
    with zipfile.ZipFile(out) as f:
        f.extractall(tmp_path / "by_unzip")
    model = tmp_path / "by_unzip" / "model.safetensors"
    assert texts(Speech2Text(mtasr_model_file=model)) == expected
    assert texts(Speech2Text(**unpack(out, tmp_path / "unpacked"))) == expected


def spoilt(tmp_path, recipe, spoil):
    """A copy of the training whose weights went through `spoil`."""
    folder = shutil.copytree(recipe / "exp", tmp_path / "exp")
    shutil.copytree(recipe / "data", tmp_path / "data")
    state = torch.load(folder / "model.pth", weights_only=True)
    torch.save(spoil(state), folder / "model.pth")
    return tmp_path


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda s: dict(list(s.items())[1:]), "model.pth: missing weights"),
        (
            lambda s: {**s, "more": torch.ones(1)},
            r"unexpected weights \(1, for example more\)",
        ),
        (lambda s: {k: v[..., :1] for k, v in s.items()}, "doesn't fit the model"),
        (lambda s: {k: v * 3e4 for k, v in s.items()}, "can't be stored as float16"),
        (lambda s: {k: v * 1e9 for k, v in s.items()}, "its training diverged; name"),
        (lambda s: [1], "model.pth: has no model"),
    ],
)
def test_a_checkpoint_that_does_not_fit(recipe, tmp_path, spoil, message):
    folder = spoilt(tmp_path, recipe, spoil)
    with pytest.raises(UserError, match=message):
        pack(folder, tmp_path / "x.zip", "--dtype", "float16")
    assert not (tmp_path / "x.zip").exists()


def test_files_that_are_not_what_they_should_be(recipe, tmp_path):
    folder = spoilt(tmp_path, recipe, dict)
    exp = folder / "exp"
    (exp / "model.pth").write_text("broken")
    with pytest.raises(UserError, match="model.pth: is damaged or not a checkpoint"):
        pack(folder, tmp_path / "x.zip")
    draft = folder / "train.yaml"
    for content in ("optim: adam\n", "a: [\n", "just words\n"):
        draft.write_text(content)
        with pytest.raises(UserError, match="train.yaml: is not the configuration of"):
            pack(folder, tmp_path / "x.zip", "--mtasr_train_config", draft)
    shutil.copy(recipe / "exp" / "model.pth", exp)
    (folder / "data" / "token_list" / "bpe.model").unlink()
    with pytest.raises(UserError, match="bpe.model: no such file; copy it into"):
        pack(folder, tmp_path / "x.zip")
    with pytest.raises(UserError, match="two files are named RESULTS.md"):
        pack(recipe, tmp_path / "x.zip", "--option", recipe / "exp" / "RESULTS.md")


def test_a_language_models_units_are_packed_too(tmp_path, monkeypatch):
    """As one file; the language model itself is gone, and the model not trusted."""
    llm = make_tiny_llm(tmp_path / "llm")
    tokens = tmp_path / "data" / "hugging_face"
    (tmp_path / "text").write_text("u had\n")
    units = ["--token_type", "hugging_face", "--llm", str(llm)]
    make_token_list(["--text", f"{tmp_path}/text", "--output_dir", f"{tokens}", *units])
    model = save_tiny_model(
        tmp_path / "exp",
        token_list=(tokens / "tokens.txt").read_text().splitlines(),
        token_type="hugging_face",
        bpemodel="data/hugging_face/tokenizer.json",
    )
    expected = texts(Speech2Text(mtasr_model_file=model))
    assert any(re.search("[a-z]", text) for text in expected)
    archive = pack(tmp_path, tmp_path / "packed.zip")
    for folder in (tokens, llm):
        shutil.rmtree(folder)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    packed = MTASR.from_pretrained(str(archive))
    assert texts(packed.speech2text) == expected
    for talker in packed.transcribe(WAVES[0], vad_threshold=0).talkers:
        assert [word.text for word in talker.words] == talker.text.split()


@pytest.mark.parametrize("default", [True, False])
def test_the_default_decodings_results_are_packed(recipe, tmp_path, default):
    folder = spoilt(tmp_path, recipe, dict)
    results = {"model": "exp/model.pth", "mixtures": "m", "sets": {}}
    for name in ["decode_beam_model", *["decode_model"] * default]:
        path = folder / "exp" / name
        path.mkdir()
        (path / "results.json").write_text(json.dumps(results))
        (path / "RESULTS.md").write_text(f"of {name}\n")
    archive = pack(folder, tmp_path / "x.zip")
    with zipfile.ZipFile(archive) as f:
        names = set(f.namelist())
        found = {"RESULTS.md", "results.json"} & names
        assert found == ({"RESULTS.md", "results.json"} if default else set())
        if default:
            assert f.read("RESULTS.md") == b"of decode_model\n"
        assert "learning_curve.png" in names
        facts = yaml.safe_load(f.read("model_card.yaml"))
    content = (folder / "exp" / "model.pth").read_bytes()
    assert facts["model_sha256"] == hashlib.sha256(content).hexdigest()


def test_a_model_without_ctc(tmp_path):
    model = save_tiny_model(
        tmp_path / "exp", llm=make_tiny_llm(tmp_path / "llm"), ctc_weight=0.0
    )
    with pytest.raises(UserError, match="has no CTC heads .*; pack a phase-2 model"):
        mtasr_pack.main(["--mtasr_model_file", str(model), "--outpath", "x.zip"])


def test_refused_in_one_line_before_anything_is_loaded(recipe, tmp_path):
    model = recipe / "exp" / "model.pth"
    cases = {
        ("none.pth", "x.zip"): "--mtasr_model_file none.pth: no such file",
        (model, "x.tar"): "--outpath x.tar: must end in .zip",
        (model, "x.zip", "--dtype", "half"): "--dtype half: choose one of float32",
        (model, "x.zip", "--max_mb", "0"): "--max_mb 0.0: give a number above 0",
        (model, "x.zip", "--option", "no.md"): "--option no.md: no such file",
        (model, "x.zip", "--mtasr_train_config", "c.yaml"): "c.yaml: no such file",
    }
    for (file, out, *more), message in cases.items():
        with pytest.raises(UserError, match=re.escape(message)):
            mtasr_pack.main(["--mtasr_model_file", str(file), "--outpath", out, *more])
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "espnet_mtasr.bin.mtasr_pack"]
        + ["--mtasr_model_file", "none.pth", "--outpath", "x.zip"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    said = [x for x in done.stderr.splitlines() if not x.startswith("import time")]
    assert done.returncode == 2
    assert said == [
        "mtasr_pack: error: --mtasr_model_file none.pth: no such file; train first or "
        "name another"
    ]
    assert " torch" not in done.stderr


def test_the_task_loads_it_as_any_training(archive, tmp_path):
    found = unpack(archive[0], tmp_path / "unpacked")
    model, _ = MTASRTask.build_model_from_file(*found.values())
    assert model.teacher is None
    # Fine-tuning reads the packed configuration as a trainer's.
    args = MTASRTask.get_parser().parse_args(["--config", found["mtasr_train_config"]])
    again = MTASRTask.build_model(args)
    again.load_state_dict(model.state_dict())


def test_only_an_ngram_is_in_bzip2(tmp_path):
    contents = {"exp/ngram.safetensors": b"n" * 5000, "exp/a.safetensors": b"a" * 5000}
    with zipfile.ZipFile(tmp_path / "stored.zip", "w") as f:
        for name, content in contents.items():
            f.writestr(name, content)
    with zipfile.ZipFile(compressed(tmp_path / "stored.zip")) as f:
        assert {name: f.read(name) for name in f.namelist()} == contents
        assert [i.compress_type for i in f.infolist()] == [
            zipfile.ZIP_BZIP2,
            zipfile.ZIP_DEFLATED,
        ]
