"""What AMP does on a GPU, tried on the CPU: autocast to bfloat16 in a whole step."""

import pytest
import torch
from helpers.tiny_models import LORA, make_batch, make_model, make_tiny_llm
from helpers.tiny_whisper import tiny_config

from espnet_mtasr.asr import mtasr_model
from espnet_mtasr.asr.encoder.whisper import RoutedWhisperEncoder
from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher

BATCH = ([2, 3, 2], (12, 15, 20))


@pytest.fixture(autouse=True)
def without_onednn():
    """Its bfloat16 convolution with 16 taps, as the tiny WavLM's, is wrong on CPUs."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return make_tiny_llm(tmp_path_factory.mktemp("llm"))


def make(llm, llm_dtype="float32"):
    """Phase 1's and 2's losses at once, dropout asleep."""
    model = make_model(llm, ctc_weight=0.5, count_weight=1.0).eval()
    torch.manual_seed(1)
    model.teacher = LLMTeacher(16, str(llm), 2, lora=LORA, llm_dtype=llm_dtype)
    for name, parameter in model.teacher.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    model.encoder.trunk.requires_grad_(False)
    model.teacher.eval()
    return model


def step(model, autocast):
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss, stats, _ = model(**make_batch(*BATCH))
    loss.backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return loss, stats, grads


@pytest.mark.parametrize("llm_dtype", ["float32", "bfloat16"])
def test_losses_and_gradients_are_near_those_of_float32(llm, llm_dtype):
    loss, wanted, wanted_grads = step(make(llm), False)
    found_loss, found, found_grads = step(make(llm, llm_dtype), True)
    assert found_loss.dtype == torch.float32
    for name in ("loss", "loss_ctc", "loss_sot", "loss_count"):
        assert float(found[name]) == pytest.approx(float(wanted[name]), rel=5e-3), name
        assert found[name] != wanted[name]
    assert found_grads.keys() == wanted_grads.keys()
    for name, gradient in found_grads.items():
        assert gradient.dtype == torch.float32 and torch.isfinite(gradient).all(), name
        # Below, there is nothing but rounding: the bias of keys, for instance.
        if wanted_grads[name].norm() > 1e-3:
            alike = torch.nn.functional.cosine_similarity(
                gradient.flatten(), wanted_grads[name].flatten(), dim=0
            )
            assert alike > 0.97, name


def test_what_stays_in_float32(llm):
    model = make(llm)
    types = {}

    def note(name):
        def hook(module, inputs, output):
            output = getattr(output, "hidden", output)
            types[name] = (inputs[0].dtype, output.dtype)

        return hook

    for name, module in (
        ("trunk", model.encoder.trunk),
        ("pooling", model.count_head.pooling.score),
        ("classifier", model.count_head.classifier),
        ("ctc", model.ctc["2"].heads[0].ctc_lo),
        # For comparison: this is what autocast does elsewhere.
        ("branch", model.encoder.branches["2"].layers[0].feed_forward.output_dense),
    ):
        module.register_forward_hook(note(name))
    step(model, True)
    full, half = torch.float32, torch.bfloat16
    assert types["trunk"][0] == full
    assert types["pooling"] == types["classifier"] == types["ctc"] == (full, full)
    assert types["branch"][1] == half


def test_trainable_weights_beside_a_bfloat16_llm_are_float32(llm):
    """AdamW's small updates would be lost on them; the LM's own weights are frozen."""
    teacher = make(llm, "bfloat16").teacher
    trained = {n: p.dtype for n, p in teacher.named_parameters() if p.requires_grad}
    assert any("lora_A" in n for n in trained)
    assert any("trainable_tokens" in n for n in trained)
    assert set(trained.values()) == {torch.float32}
    assert {p.dtype for p in teacher.parameters() if not p.requires_grad} == {
        torch.bfloat16
    }


def test_with_gradient_checkpointing(llm):
    """The layers are computed again under the same autocast."""
    grads = []
    for on in (False, True):
        model = make(llm)
        if on:
            from espnet_mtasr.asr.checkpointing import (
                call_checkpointed,
                checkpoint_layers,
            )

            assert checkpoint_layers(model.teacher.llm) == 2
            for branch in model.encoder.branches.values():
                branch._call = call_checkpointed
        grads.append(step(model, True)[2])
    assert grads[0].keys() == grads[1].keys()
    for name, gradient in grads[0].items():
        assert torch.equal(gradient, grads[1][name]), name


def test_on_a_cpu_if_the_model_is_told(llm):
    """`cpu_bfloat16` is autocast around the losses, whatever is around it."""
    wanted, _, grads = step(make(llm), True)
    told = make(llm)
    told.cpu_bfloat16 = True
    found, _, found_grads = step(told, False)
    assert torch.equal(found, wanted)
    assert all(torch.equal(found_grads[name], grads[name]) for name in grads)


@pytest.mark.parametrize("in_hardware", [False, True])
def test_only_with_hardware_for_it(in_hardware, monkeypatch, caplog):
    """Emulated, it is slower than float32."""
    caplog.set_level("INFO")
    monkeypatch.setattr(mtasr_model, "cpu_has_bfloat16", lambda: in_hardware)
    encoder = RoutedWhisperEncoder(
        talker_counts=(2,), load_pretrained=False, whisper_conf=tiny_config().to_dict()
    )
    model = MTASRModel(
        3,
        ["<blank>", "<unk>", "a"],
        encoder,
        ctc_weight=0.0,
        count_weight=0.0,
        cpu_bfloat16=True,
    )
    assert model.cpu_bfloat16 == in_hardware
    assert ("using float32" in caplog.text) != in_hardware


def test_not_with_convolutions_that_are_wrong_in_it(llm):
    with pytest.raises(ValueError, match="cpu_bfloat16: may be wrong"):
        make_model(llm, ctc_weight=0.5, cpu_bfloat16=True)


@torch.no_grad()
def test_whispers_encoder_is_right_in_it():
    """With oneDNN, as in a training: all of a trunk and a branch."""
    encoder = RoutedWhisperEncoder(
        talker_counts=(2,), load_pretrained=False, whisper_conf=tiny_config().to_dict()
    ).eval()
    speech, lengths = torch.randn(2, 16000), torch.tensor([16000, 12000])
    with torch.backends.mkldnn.flags(enabled=True):
        wanted, frames, _ = encoder(speech, lengths)
        with torch.autocast("cpu", torch.bfloat16):
            found, _, _ = encoder(speech, lengths)
    for row, n in enumerate(frames.tolist()):
        error = (found[row, :n] - wanted[row, :n]).norm() / wanted[row, :n].norm()
        assert 0.0 < error < 0.05
