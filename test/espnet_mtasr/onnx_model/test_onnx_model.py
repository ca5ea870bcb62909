"""Exported models beside torch's: same texts and spans, in batches; what is damaged."""

import json
import os
import shutil

import pytest
import torch
import yaml
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_models import WAVLM_CONF
from helpers.tiny_wavlm import BASE_FORM
from helpers.tiny_whisper import tiny_config

from espnet_mtasr.bin.export_onnx import main
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.onnx_model.manifest import Manifest, is_onnx
from espnet_mtasr.publishing import onnx_export as export

for package in export.VERSIONS:
    pytest.importorskip(package)

# The last is shorter than WavLM's first frame.
WAVES = noises(9000, 4000, 12345, 7001, 200)
TWO_OR_THREE = [2, 3, None, 3, 3]
GRAPHS = ["trunk.onnx", "branch_2.onnx", "branch_3.onnx"]


def export_tiny(folder, **options):
    model_file = save_tiny_model(folder / "exp", **options)
    main(["--mtasr_model_file", f"{model_file}", "--output_dir", f"{folder}/onnx"])
    return model_file, folder / "onnx" / "onnx.json"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Checkpoint and onnx.json."""
    return export_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def copied(exported, tmp_path):
    """A copy to spoil."""
    shutil.copytree(exported[1].parent, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def no_exporter(exported, monkeypatch):
    """Take the graphs that are there already, in place of exporting again."""

    def copy_graphs(model, graphs, folder):
        for name in graphs:
            shutil.copyfile(exported[1].with_name(name), folder / name)
        return 20

    monkeypatch.setattr(export, "_write_graphs", copy_graphs)


def assert_same(model_file, manifest, waves, counts, beam_size=1):
    wanted, got = (
        Speech2Text(None, file, beam_size=beam_size, align=True)(waves, counts)
        for file in (model_file, manifest)
    )
    for one, other in zip(wanted, got, strict=True):
        assert other.sot_text == one.sot_text
        assert other.num_frames == one.num_frames
        assert other.count_log_probs == pytest.approx(one.count_log_probs, abs=1e-4)
        for a, b in zip(one.talkers, other.talkers, strict=True):
            assert b.token_ids == a.token_ids
            assert [s[:2] for s in b.spans] == [s[:2] for s in a.spans]
            for s, t in zip(a.spans, b.spans):
                assert t.probability == pytest.approx(s.probability, abs=1e-3)
    # The comparison is about something.
    texts = [t.text for h in got for t in h.talkers]
    assert len(set(texts)) > len(texts) // 2


@pytest.mark.parametrize("beam_size", [1, 4])
def test_texts_and_spans_are_torchs(exported, beam_size):
    assert_same(*exported, WAVES, TWO_OR_THREE, beam_size)


@pytest.mark.parametrize("samples", [0, 1, 200])
def test_too_short_audio(exported, samples):
    """Alone, where no longer row fills the batch."""
    for file in exported:
        (hypothesis,) = Speech2Text(None, file, align=True)(noises(samples))
        assert hypothesis.sot_text.split() == ["<sc>"]
        assert hypothesis.num_frames == 0


def test_the_folder(exported):
    model_file, manifest = exported
    folder = manifest.parent
    assert is_onnx(manifest) and not is_onnx(model_file) and not is_onnx(None)
    told = json.loads(manifest.read_text())
    assert told["format"] == 1 and told["quantization"] == "none"
    assert [told["trunk"], *told["branches"].values()] == GRAPHS
    assert told["sizes"] == {name: os.path.getsize(folder / name) for name in GRAPHS}
    names = {path.name for path in folder.iterdir()}
    assert names == {*GRAPHS, "onnx.json", "config.yaml", "meta.yaml"}
    assert not any(path.name.endswith(".part") for path in folder.parent.iterdir())


def test_no_torch_model_is_built(exported, monkeypatch):
    from espnet_mtasr.tasks.building import ModelBuilder

    monkeypatch.setattr(ModelBuilder, "build_model", None)
    (hypothesis,) = Speech2Text(None, exported[1])(WAVES[:1])
    assert hypothesis.num_talkers in (2, 3)


def test_threads_are_torchs(exported):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        model = Speech2Text(None, exported[1]).model
        options = model.trunk.get_session_options()
        assert options.intra_op_num_threads == 2
    finally:
        torch.set_num_threads(threads)


def test_int8(exported, no_exporter, tmp_path, capsys):
    model_file, manifest = exported
    output_dir = tmp_path / "int8"
    words = ["--mtasr_model_file", model_file, "--output_dir", output_dir]
    main([*map(str, words), "--quantize", "int8"])
    assert Manifest.read(output_dir / "onnx.json").quantization == "int8"
    told = capsys.readouterr().out
    for name in GRAPHS:
        size = os.path.getsize(output_dir / name)
        assert f"{output_dir / name}: {size / 1e6:.2f} MB" in told
        assert b"MatMulInteger" in (output_dir / name).read_bytes()
        assert b"MatMulInteger" not in manifest.with_name(name).read_bytes()
    assert b"DynamicQuantizeLSTM" in (output_dir / "branch_3.onnx").read_bytes()
    int8 = Speech2Text(None, output_dir / "onnx.json", align=True)
    hypotheses = int8(WAVES, TWO_OR_THREE)
    assert [h.num_talkers for h in hypotheses][:2] == [2, 3]
    # To the bit what each recording has alone; float32 depends on the batch by 1e-7.
    for wave, count, hypothesis in zip(WAVES, TWO_OR_THREE, hypotheses, strict=True):
        assert int8([wave], [count]) == [hypothesis]


def mel_products(graph):
    """Operators that multiply by mel filters."""
    nodes = pytest.importorskip("onnx").load(graph).graph.node
    return [n.op_type for n in nodes if any(i.endswith(".filters") for i in n.input)]


def assert_mel_filters_stay(trunk):
    """In 8 bits, quiet parts of a power spectrum would be 0."""
    assert mel_products(trunk) == ["MatMul"]
    export.quantize_int8(trunk)
    assert mel_products(trunk) == ["MatMul"]
    assert b"MatMulInteger" in trunk.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["base", "conformer", "whisper", "whisper, pooled", "wav2vec2"]
)
def test_other_trunks(kind, tmp_path):
    half = dict(output_size=16, attention_heads=2, linear_units=16, num_blocks=1)
    base = dict(num_trunk_layers=1, load_pretrained=False)
    whisper = dict(num_trunk_layers=1, load_pretrained=False)
    whisper["whisper_conf"] = tiny_config(encoder_layers=2).to_dict()
    wav2vec2 = dict(num_trunk_layers=1, load_pretrained=False)
    wav2vec2["wav2vec2_conf"] = {**WAVLM_CONF, **BASE_FORM, "model_type": "hubert"}
    options = {
        "wav2vec2": dict(encoder="routed_wav2vec2", encoder_conf=wav2vec2),
        "whisper": dict(encoder="routed_whisper", encoder_conf=whisper),
        "whisper, pooled": dict(
            encoder="routed_whisper",
            encoder_conf=dict(whisper, pool_before=2, pool_behind=2),
        ),
    } | dict(
        base=dict(encoder_conf=dict(base, wavlm_conf={**WAVLM_CONF, **BASE_FORM})),
        conformer=dict(
            input_size=None,
            frontend="default",
            frontend_conf=dict(n_fft=512, hop_length=160, n_mels=20),
            normalize="utterance_mvn",
            encoder="routed_espnet",
            encoder_conf=dict(
                trunk="conformer",
                trunk_conf=half,
                branch="transformer",
                branch_conf=dict(half, input_layer=None),
            ),
        ),
    )
    options = options[kind]
    files = export_tiny(tmp_path, **options)
    assert_same(*files, WAVES[:4], TWO_OR_THREE[:4])
    if kind.startswith("whisper"):
        for file in files:
            with pytest.raises(UserError, match="31.0 s of audio: .* at most 30 s"):
                Speech2Text(None, file)(noises(31 * 16000))
    if kind.startswith(("whisper", "conformer")):
        assert_mel_filters_stay(files[1].with_name("trunk.onnx"))


def remove(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def scramble(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    "name, spoil, words",
    [
        ("trunk.onnx", remove, "no such file, though onnx.json names it"),
        ("branch_3.onnx", cut, "is damaged, it has"),
        ("branch_2.onnx", scramble, "can't load it"),
        ("onnx.json", remove, "no such file"),
        ("onnx.json", cut, "is damaged or doesn't describe"),
        ("config.yaml", remove, "no such file"),
    ],
)
def test_damaged_or_missing_files(copied, name, spoil, words):
    spoil(copied / name)
    with pytest.raises(UserError) as caught:
        Speech2Text(None, copied / "onnx.json")
    message = str(caught.value)
    assert message.startswith(f"{copied / name}: ") and words in message
    assert "\n" not in message


def test_another_format(copied):
    path = copied / "onnx.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(UserError, match="has format 99, this version reads 1"):
        Speech2Text(None, path)


def test_a_class_of_its_own(copied):
    """Decoding would build the preprocessor that config.yaml names."""
    path = copied / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**config, "preprocessor": "evil:X"}))
    with pytest.raises(UserError, match="^preprocessor: evil:X: .*--trust_remote_code"):
        Speech2Text(None, copied / "onnx.json")
    Speech2Text(None, copied / "onnx.json", trust_remote_code=True)


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(device="cuda"), "decodes on the CPU, not on cuda"),
        (dict(dtype="bfloat16"), "--dtype bfloat16: .* only supports float32"),
        (dict(num_talkers=4), r"the model knows \[2, 3\]"),
    ],
)
def test_what_onnxruntime_cannot_do(exported, options, words):
    with pytest.raises(UserError, match=words):
        Speech2Text(None, exported[1], **options)


def test_no_language_model(exported):
    from espnet_mtasr.inference_llm import Speech2TextLLM

    with pytest.raises(UserError, match="exported model has no teacher; give"):
        Speech2TextLLM(None, exported[1])


def test_a_package_is_missing(exported, monkeypatch, tmp_path):
    model_file, manifest = exported
    monkeypatch.setattr(
        "espnet_mtasr.onnx_model.manifest.find_spec",
        lambda name: None if name == "onnxruntime" else True,
    )
    wanted = r"^onnxruntime: not installed; run pip install 'espnet_mtasr\[onnx\]'$"
    with pytest.raises(UserError, match=wanted):
        Speech2Text(None, manifest)
    words = ["--mtasr_model_file", model_file, "--output_dir", tmp_path / "x"]
    with pytest.raises(UserError, match=wanted):
        main([*map(str, words)])


def test_results_that_are_not_torchs(exported, no_exporter, monkeypatch, tmp_path):
    """A graph that computes something else is not kept."""
    monkeypatch.setattr(export, "ABSOLUTE", 0.0)
    monkeypatch.setattr(export, "RELATIVE", 0.0)
    config = exported[0].with_name("config.yaml")
    with pytest.raises(UserError, match="differ from torch's by"):
        export.export_model(config, exported[0], tmp_path / "x")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words, message",
    [
        ("--mtasr_model_file {there} --quantize int4", "--quantize int4: choose"),
        ("", "give either --model or --mtasr_model_file"),
        ("--model x --mtasr_model_file {there}", "give either"),
        ("--mtasr_model_file {there}.not", "no such file"),
        ("--mtasr_model_file {there} --mtasr_train_config x", "no such file"),
    ],
)
def test_bad_options(exported, tmp_path, words, message):
    words = words.format(there=exported[0]).split()
    with pytest.raises(UserError, match=message):
        main([*words, "--output_dir", str(tmp_path / "x")])


def test_a_folder_that_is_there_is_left_alone(exported):
    folder = exported[1].parent
    words = ["--mtasr_model_file", exported[0], "--output_dir", folder]
    with pytest.raises(UserError, match="already exists"):
        main([*map(str, words)])
    assert exported[1].exists()


def test_parts_that_cannot_be_exported(tmp_path):
    """They say so before anything is exported."""
    half = dict(output_size=16, attention_heads=2, linear_units=16, num_blocks=1)
    model_file = save_tiny_model(
        tmp_path / "exp",
        input_size=None,
        frontend="default",
        frontend_conf=dict(n_fft=512, hop_length=160, n_mels=20),
        encoder="routed_espnet",
        encoder_conf=dict(
            trunk="transformer", trunk_conf=half, branch="transformer", branch_conf=half
        ),
    )
    words = ["--mtasr_model_file", model_file, "--output_dir", tmp_path / "x"]
    with pytest.raises(UserError, match="a branch that shortens its input"):
        main([*map(str, words)])
    assert [path.name for path in tmp_path.iterdir()] == ["exp"]


def test_a_model_without_ctc(tmp_path):
    model_file = save_tiny_model(tmp_path / "exp", ctc_weight=0.0, count_weight=0.0)
    words = ["--mtasr_model_file", model_file, "--output_dir", tmp_path / "x"]
    with pytest.raises(UserError, match="has no CTC heads"):
        main([*map(str, words)])
