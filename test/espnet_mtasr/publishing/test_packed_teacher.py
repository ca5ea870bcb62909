"""Packing the teacher: what it writes elsewhere, what is stored, what is refused."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_models import LORA, make_tiny_llm
from helpers.tiny_whisper import make_tiny_whisper
from safetensors.torch import load_file

from espnet_mtasr.asr.teacher import whisper_tokenizer
from espnet_mtasr.bin import mtasr_pack
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference_llm import Speech2TextLLM
from espnet_mtasr.tasks.mtasr import MTASRTask
from espnet_mtasr.transcription.mtasr import MTASR

WAVES = noises(9000, 4000, 12345)
# Prints what the teachers of packed models write, and reads nothing else.
ELSEWHERE = """
import json, sys
from helpers.tiny_inference import noises
from espnet_mtasr.inference_llm import Speech2TextLLM

found = {}
for name in sys.argv[1:]:
    model = Speech2TextLLM.from_pretrained(name)
    found[name] = [h.sot_text for h in model(noises(9000, 4000, 12345))]
print(json.dumps(found))
"""
TEACHERS = {
    "llama": ("llm", dict(downsample=2, lora=LORA)),
    "llama_untied": ("llm", dict(downsample=2, lora=LORA)),
    "llama_half": ("llm", dict(downsample=2, lora=LORA, llm_dtype="bfloat16")),
    "gpt2": ("llm", dict(downsample=2, lora={**LORA, "target_modules": ["c_attn"]})),
    "whisper": ("whisper", dict()),
    "whisper_lora": ("whisper", dict(lora={**LORA, "target_modules": ["q_proj"]})),
}


def make_pretrained(name, folder):
    if "whisper" in name:
        return make_tiny_whisper(folder)
    kind = name.partition("_")[0]
    return make_tiny_llm(folder, kind, tied="untied" not in name)


def train(root, name):
    """What phase 2 with this teacher leaves: a checkpoint, whose LoRA isn't zero."""
    kind, conf = TEACHERS[name]
    llm = make_pretrained(name, root / f"{name}_llm")
    path = save_tiny_model(
        root / name, teacher=kind, teacher_conf=dict(conf, llm=str(llm))
    )
    state = torch.load(path, weights_only=True)
    torch.manual_seed(1)
    for key, weight in state.items():
        if "lora_B" in key or "trainable_tokens" in key:
            torch.nn.init.normal_(weight, std=0.3)
    torch.save(state, path)
    return path


def pack(model, outpath, *more):
    words = [
        "--mtasr_model_file",
        model,
        "--outpath",
        outpath,
        "--pack_teacher",
        "true",
    ]
    mtasr_pack.main([*map(str, words), *more])
    return outpath


def texts(speech2text):
    return [hypothesis.sot_text for hypothesis in speech2text(WAVES)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """For each teacher, the archive and what its checkpoint wrote; those are gone."""
    root = tmp_path_factory.mktemp("recipe")
    out = tmp_path_factory.mktemp("packed")
    found = {}
    for name in TEACHERS:
        model = train(root, name)
        expected = texts(Speech2TextLLM(None, model))
        found[name] = pack(model, out / f"{name}.zip"), expected
    root.rename(root.with_name(f"{root.name}_hidden"))
    return found


def test_elsewhere_the_teacher_writes_the_same(packed, tmp_path):
    archives = {name: str(archive) for name, (archive, _) in packed.items()}
    tests = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *archives.values()],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tests}:{tests.parent}", "HF_HUB_OFFLINE": "1"}
        | {"ESPNET_MTASR_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name, (archive, expected) in packed.items():
        assert found[str(archive)] == expected, name
        # The comparison is about something.
        assert len(set(expected)) == len(WAVES) and all(expected), name


@pytest.mark.parametrize("name", TEACHERS)
def test_what_is_stored(packed, name, tmp_path):
    archive, _ = packed[name]
    with zipfile.ZipFile(archive) as f:
        f.extractall(tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    assert str(archive.parent.parent) not in text
    config = yaml.safe_load(text)
    assert config["teacher"] == TEACHERS[name][0]
    assert config["teacher_conf"]["llm"] == "teacher_tokenizer.json"
    stored = load_file(tmp_path / "model.safetensors")
    own = {n: weight for n, weight in stored.items() if n.startswith("teacher.")}
    # Tied tables are stored once.
    size = max(weight.numel() for weight in own.values())
    tables = [n for n, weight in own.items() if weight.numel() == size]
    assert len(tables) == (2 if "untied" in name else 1)
    half = {weight.dtype for weight in own.values()} == {torch.bfloat16, torch.float32}
    assert half == ("half" in name)
    # Decoding by CTC has no teacher.
    assert MTASR.from_pretrained(tmp_path).speech2text.model.teacher is None


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_smaller_types(tmp_path, dtype, capsys):
    """The teacher is rounded like the rest; the printed size is that of its weights."""
    sizes = {}
    for name in ("float32", dtype):
        archive = tmp_path / f"{name}.zip"
        model = tmp_path / "llama" / "model.pth"
        pack(
            model if model.exists() else train(tmp_path, "llama"),
            archive,
            "--dtype",
            name,
        )
        said = capsys.readouterr().out.splitlines()[-1]
        sizes[name] = float(said.split()[1])
        assert said == f"teacher: {sizes[name]:.2f} MB of its weights"
        with zipfile.ZipFile(archive) as f:
            f.extractall(tmp_path / f"{name}_files")
    assert sizes[dtype] < 0.6 * sizes["float32"]
    stored = load_file(tmp_path / "float32_files" / "model.safetensors")
    config, weights = tmp_path / f"{dtype}_files" / "config.yaml", "model.safetensors"
    model, _ = MTASRTask.build_model_from_file(
        config, config.with_name(weights), with_teacher=True
    )
    loaded = model.state_dict()
    teachers = [n for n in stored if n.startswith("teacher.")]
    assert teachers
    for key in teachers:
        step = stored[key].abs().max() / (127 if dtype == "int8" else 1024)
        assert (loaded[key] - stored[key]).abs().max() <= 1.001 * step, key


def test_an_english_whisper_stays_one(tmp_path, monkeypatch):
    """With `<sc>`, its vocabulary has the size at which multilingual ones begin."""
    marks = ("<|en|>", "<|transcribe|>", "<|notimestamps|>")
    llm = make_tiny_whisper(tmp_path / "llm", *marks)
    model = save_tiny_model(
        tmp_path / "exp", teacher="whisper", teacher_conf=dict(llm=str(llm))
    )
    trained = Speech2TextLLM(None, model).model.teacher
    monkeypatch.setattr(
        whisper_tokenizer, "MULTILINGUAL", trained.whisper.config.vocab_size
    )
    expected = Speech2TextLLM(None, model).model.teacher.prompt
    archive = pack(model, tmp_path / "x.zip")
    assert len(expected) == 2
    assert Speech2TextLLM.from_pretrained(archive).model.teacher.prompt == expected


def test_the_card_names_the_teacher(tmp_path):
    model = train(tmp_path, "llama")
    pins = {
        role: dict(source=f"a/{role}", revision="1f") for role in ("encoder", "llm")
    }
    (tmp_path / "models.json").write_text(json.dumps(pins))
    card = tmp_path / "card.yaml"
    card.write_text("license: mit\npretrained: {a/llm: Llama 3.2 Community License}\n")
    options = ["--pretrained", str(tmp_path / "models.json"), "--model_card", str(card)]
    with zipfile.ZipFile(pack(model, tmp_path / "x.zip", *options)) as f:
        text = f.read("README.md").decode()
    assert "The teacher that trained it, a/llm (" in text
    assert (
        "| teacher in training, included: a/llm | Llama 3.2 Community License | "
        "revision 1f |"
    ) in text
    assert (
        "licence applies to its weights" in text and "contains no language" not in text
    )


def test_without_a_teacher(tmp_path):
    model = save_tiny_model(tmp_path / "exp", ctc_weight=1.0)
    with pytest.raises(UserError, match="--pack_teacher true: .*config.yaml has no te"):
        pack(model, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def spoilt(packed, tmp_path, spoil):
    """An unpacked model, whose `teacher_conf: llm_conf` and tokenizer were changed."""
    with zipfile.ZipFile(packed["llama"][0]) as f:
        f.extractall(tmp_path)
    paths = tmp_path / "config.yaml", tmp_path / "teacher_tokenizer.json"
    config, tokenizer = (yaml.safe_load(path.read_text()) for path in paths)
    spoil(config["teacher_conf"]["llm_conf"], tokenizer)
    paths[0].write_text(yaml.safe_dump(config))
    paths[1].write_text(json.dumps(tokenizer))
    return tmp_path


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda conf, tokenizer: conf.update(attn_implementation="a/kernel"),
            "llm_conf: attn_implementation: a/kernel: would download code",
        ),
        (
            lambda conf, tokenizer: conf.update(
                model_type="theirs", auto_map={"AutoModelForCausalLM": "theirs.Model"}
            ),
            "teacher_conf llm_conf: is not a causal LM's",
        ),
        (
            lambda conf, tokenizer: tokenizer.update({"class": "TheirTokenizer"}),
            "teacher_tokenizer.json: is damaged or not a teacher's tokenizer",
        ),
        (
            lambda conf, tokenizer: tokenizer.update(eos_token={"a": 1}),
            "teacher_tokenizer.json: is damaged or not a teacher's tokenizer",
        ),
    ],
)
def test_what_an_untrusted_model_may_not(packed, tmp_path, spoil, message):
    folder = spoilt(packed, tmp_path, spoil)
    (folder / "theirs.py").write_text("raise SystemExit('ran their code')\n")
    with pytest.raises(UserError, match=message) as e:
        Speech2TextLLM.from_pretrained(folder)
    assert "\n" not in str(e.value)


def test_a_lost_tokenizer(packed, tmp_path):
    folder = spoilt(packed, tmp_path, lambda conf, tokenizer: None)
    (folder / "teacher_tokenizer.json").unlink()
    with pytest.raises(UserError, match="teacher_tokenizer.json: no such file; copy"):
        Speech2TextLLM.from_pretrained(folder)
    assert MTASR.from_pretrained(folder).transcribe(WAVES[0], vad_threshold=0).talkers
