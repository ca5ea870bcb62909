"""Gradient checkpointing changes neither loss nor gradients, and does recompute."""

import pytest
import torch
from helpers.tiny_models import LORA, WAVLM_CONF, make_batch, make_model, make_tiny_llm

from espnet_mtasr.asr.encoder.wavlm import RoutedWavLMEncoder
from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher
from espnet_mtasr.asr.trunk_cache import trunk_hash
from espnet_mtasr.errors import UserError

KINDS = ["llama", "gpt2"]


@pytest.fixture(scope="module")
def llms(tmp_path_factory):
    root = tmp_path_factory.mktemp("llms")
    return {kind: make_tiny_llm(root / kind, kind) for kind in KINDS}


class Calls:
    """Counts the calls of a module (none late in a layer: recomputing stops early)."""

    def __init__(self, module):
        self.number = 0
        module.register_forward_hook(self.add)

    def add(self, *_):
        self.number += 1


def build_encoder(**options):
    torch.manual_seed(0)
    return RoutedWavLMEncoder(
        num_trunk_layers=1, wavlm_conf=WAVLM_CONF, load_pretrained=False, **options
    )


def build_teacher(folder, width=12, **options):
    lora = {**LORA, "lora_dropout": 0.3}
    if "gpt2" in str(folder):
        lora["target_modules"] = ["c_attn"]
    torch.manual_seed(0)
    teacher = LLMTeacher(width, str(folder), 2, lora=lora, **options)
    for name, parameter in teacher.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return teacher


def attention_of(teacher):
    """The first layer's."""
    names = ("self_attn", "attn")
    return next(m for n, m in teacher.llm.named_modules() if n.endswith(names))


def step(module, run):
    """Output and gradients by name, with the same dropout each time."""
    torch.manual_seed(5)
    module.zero_grad()
    output = run()
    output.sum().backward()
    grads = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    return output.detach(), {n: g.clone() for n, g in grads.items()}


def assert_same(one, other):
    assert torch.equal(one[0], other[0])
    assert one[1].keys() == other[1].keys() and one[1]
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("trunk", ["frozen", "trained"])
def test_encoder(trunk):
    """With dropout awake; a layer that takes gradients is called twice."""
    results, calls = [], []
    audio, lengths = torch.randn(2, 4000), torch.tensor([4000, 3000])
    counts = torch.tensor([2, 3])
    for on in (False, True):
        encoder = build_encoder(gradient_checkpointing=on)
        if trunk == "frozen":
            encoder.trunk.requires_grad_(False)
        encoder.train()
        below = Calls(encoder.trunk.layers[0].attention)
        above = Calls(encoder.branches["3"].layers[1].attention)
        results.append(step(encoder, lambda: encoder(audio, lengths, counts=counts)[0]))
        calls.append((below.number, above.number))
    assert_same(*results)
    assert calls == [(1, 1), (1 if trunk == "frozen" else 2, 2)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", [False, True])
def test_teacher(llms, kind, frozen):
    """Frozen, in evaluation mode, it passes gradients, and so it recomputes."""
    results, calls = [], []
    hidden = torch.nn.Parameter(torch.randn(2, 9, 12))
    text = torch.tensor([[40, 70, 80], [50, -1, -1]])
    lengths, text_lengths = torch.tensor([9, 5]), torch.tensor([3, 1])
    for on in (False, True):
        teacher = build_teacher(llms[kind], gradient_checkpointing=on)
        teacher.train()
        if frozen:
            teacher.requires_grad_(False).eval()
        counted = Calls(attention_of(teacher))
        teacher.register_parameter("input", hidden)
        results.append(
            step(teacher, lambda: teacher(hidden, lengths, text, text_lengths).loss)
        )
        calls.append(counted.number)
    assert_same(*results)
    assert calls == [1, 2]
    assert "input" in results[0][1]
    assert frozen == (len(results[0][1]) == 1)


def test_without_gradients_nothing_is_called_twice(llms):
    teacher = build_teacher(llms["llama"], gradient_checkpointing=True)
    encoder = build_encoder(gradient_checkpointing=True)
    counted = [
        Calls(attention_of(teacher)),
        Calls(encoder.branches["2"].layers[0].attention),
    ]
    text, n = torch.tensor([[40]]), torch.tensor([1])
    with torch.no_grad():
        teacher(torch.randn(1, 8, 12), torch.tensor([8]), text, n)
        encoder(torch.randn(1, 4000), torch.tensor([4000]), counts=torch.tensor([2]))
    assert [c.number for c in counted] == [1, 1]


def test_names_of_weights_and_the_hash_of_the_trunk_stay(llms):
    """So that checkpoints and cached outputs of the trunk serve both ways."""
    teachers = [
        build_teacher(llms["llama"], gradient_checkpointing=on) for on in (False, True)
    ]
    assert list(teachers[0].state_dict()) == list(teachers[1].state_dict())
    hashes = []
    for on in (False, True):
        model = make_model()
        model.encoder = build_encoder(gradient_checkpointing=on)
        hashes.append(trunk_hash(model))
    assert hashes[0] == hashes[1]


def test_a_step_of_phase_2_reaches_the_branch_through_the_frozen_teacher(llms):
    gradients = []
    for on in (False, True):
        model = make_model(llms["llama"], ctc_weight=0.5, count_weight=0.0)
        model.encoder = build_encoder(gradient_checkpointing=on)
        model.teacher = build_teacher(llms["llama"], 16, gradient_checkpointing=on)
        model.teacher.requires_grad_(False)
        model.encoder.trunk.requires_grad_(False)
        model.train()
        batch = make_batch([2, 3], (12, 15))
        gradients.append(step(model, lambda: model(**batch)[0]))
    assert_same(*gradients)
    assert any(n.startswith("encoder.branches.3") for n in gradients[0][1])
    assert not any(n.startswith("teacher") for n in gradients[0][1])


def test_a_model_without_known_layers(llms, monkeypatch):
    from espnet_mtasr.asr.teacher import llm_teacher

    monkeypatch.setattr(llm_teacher, "checkpoint_layers", lambda model: 0)
    with pytest.raises(UserError, match="teacher_conf gradient_checkpointing: "):
        build_teacher(llms["llama"], gradient_checkpointing=True)
