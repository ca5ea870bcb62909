"""The LLM teacher: its loss by hand, padding, gradients, checkpoints, data types."""

import copy

import pytest
import torch
from helpers.tiny_models import LLM_VOCAB, LORA, make_tiny_llm, make_tiny_tokenizer

from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher
from espnet_mtasr.errors import UserError

WIDTH = 12
SC = LLM_VOCAB
KINDS = ["llama_tied", "llama_untied", "gpt2_tied"]
TEXT = torch.tensor([[40, 70, SC, 80, 90], [50, 60, SC, -1, -1], [41, -1, -1, -1, -1]])
TEXT_LENGTHS = torch.tensor([5, 3, 1])
LENGTHS = torch.tensor([4, 9, 6])


@pytest.fixture(scope="module")
def llms(tmp_path_factory):
    root = tmp_path_factory.mktemp("llms")
    return {
        name: make_tiny_llm(root / name, kind, tied == "tied")
        for name in KINDS
        for kind, tied in [name.split("_")]
    }


def build(folder, seed=0, **options):
    lora = dict(LORA)
    if "gpt2" in str(folder):
        lora["target_modules"] = ["c_attn"]
    torch.manual_seed(seed)
    teacher = LLMTeacher(WIDTH, str(folder), downsample=2, lora=lora, **options).eval()
    # LoRA starts at zero, where half of it changes nothing.
    for name, parameter in teacher.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return teacher


def hidden_states(seed=7):
    return torch.randn(3, 9, WIDTH, generator=torch.Generator().manual_seed(seed))


def by_hand(teacher, hidden, ids):
    """Loss and correct tokens of one utterance by an unpadded call of the LM."""
    speech = hidden[None]
    if len(hidden) > 0:
        speech, _ = teacher.adaptor(hidden[None], torch.tensor([len(hidden)]))
    table = teacher.llm.get_input_embeddings()
    tokenizer = teacher.tokenizer.tokenizer
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    inputs = torch.cat(
        [table(torch.tensor([begin])), teacher.projection(speech[0]), table(ids)]
    )
    logits = teacher.llm(inputs_embeds=inputs[None].to(table(ids).dtype)).logits[0]
    wanted = [*ids.tolist(), end]
    log_probs = logits.float().log_softmax(-1)[-len(wanted) :]
    total = -sum(log_probs[k, token] for k, token in enumerate(wanted))
    correct = sum(int(log_probs[k].argmax()) == t for k, t in enumerate(wanted))
    return total / len(wanted), correct


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_weakness_2_and_3_loss_of_a_padded_batch_equals_the_lm_on_each_alone(
    llms, kind
):
    """No last target token is lost, padding changes nothing, whatever the padding is.

    `by_hand` calls the LM without any padding, so rows are compared with that.
    """
    teacher, hidden = build(llms[kind]), hidden_states()
    assert teacher.tokenizer.sc_id == SC
    output = teacher(hidden, LENGTHS, TEXT, TEXT_LENGTHS)
    for k in range(3):
        ids = TEXT[k, : TEXT_LENGTHS[k]]
        loss, correct = by_hand(teacher, hidden[k, : LENGTHS[k]], ids)
        torch.testing.assert_close(output.loss[k], loss, rtol=1e-4, atol=1e-4)
        assert output.num_correct[k] == correct
    assert output.num_tokens.tolist() == [6, 4, 2]
    for row, length in zip(hidden, LENGTHS):
        row[length:] = 1e4
    padded = TEXT.masked_fill(TEXT < 0, 99)
    again = teacher(hidden, LENGTHS, padded, TEXT_LENGTHS)
    torch.testing.assert_close(again.loss, output.loss, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_accuracy_counts_right_tokens(llms):
    teacher, hidden = build(llms["llama_tied"]), hidden_states()
    ids = TEXT[0]
    # Make token 90 the most probable one everywhere: one of six targets is that.
    teacher._text_logits = lambda *_: torch.nn.functional.one_hot(
        torch.full((1, 6), 90), SC + 1
    ).float()
    output = teacher(hidden[:1, :4], LENGTHS[:1], ids[None], TEXT_LENGTHS[:1])
    assert output.num_correct.tolist() == [1]


@torch.no_grad()
def test_masked_tokens_are_hidden_in_training_alone(llms):
    """With all but none visible, the prediction doesn't depend on the words before."""
    teacher = build(llms["llama_tied"], text_mask_prob=0.999999)
    plain = build(llms["llama_tied"])
    other = TEXT.clone()
    other[0, 0] = 41
    hidden = hidden_states()

    def last_losses(part, text):
        logits = part._text_logits(hidden, LENGTHS, text, TEXT_LENGTHS)
        return logits[0, -1]

    torch.testing.assert_close(last_losses(teacher, TEXT), last_losses(plain, TEXT))
    teacher.train()
    for module in teacher.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    masked = last_losses(teacher, TEXT)
    torch.testing.assert_close(masked, last_losses(teacher, other))
    assert not torch.allclose(masked, last_losses(plain, TEXT))
    assert not torch.allclose(last_losses(plain, other), last_losses(plain, TEXT))


def test_a_row_without_frames_gives_a_finite_loss(llms):
    teacher = build(llms["llama_tied"])
    output = teacher(hidden_states(), torch.tensor([0, 9, 1]), TEXT, TEXT_LENGTHS)
    loss, _ = by_hand(teacher, torch.zeros(0, WIDTH), TEXT[0])
    torch.testing.assert_close(output.loss[0], loss, rtol=1e-4, atol=1e-4)
    assert torch.isfinite(output.loss).all()


@pytest.mark.parametrize("frozen", [False, True])
def test_gradient_reaches_the_valid_frames_and_the_parts_that_are_trained(llms, frozen):
    teacher = build(llms["llama_tied"]).train()
    hidden = hidden_states().requires_grad_()
    if frozen:
        teacher.requires_grad_(False)
    teacher(hidden, LENGTHS, TEXT, TEXT_LENGTHS).loss.sum().backward()
    for row, length in zip(hidden.grad, LENGTHS):
        assert (row[:length].abs().sum(1) > 0).all()
        assert (row[length:] == 0).all()
    got = {n for n, p in teacher.named_parameters() if p.grad is not None}
    if frozen:
        assert not got
        return
    for part in ("adaptor", "projection", "lora_A", "lora_B", "trainable_tokens"):
        assert any(part in name for name in got), part
    assert not got & teacher._base_names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", [False, True])
def test_checkpoint_holds_everything_but_the_lms_own_weights(llms, kind, frozen):
    """Also LoRA that was frozen; a fresh teacher then gives the same loss."""
    teacher = stirred(build(llms[kind]))
    teacher.requires_grad_(not frozen)
    state = copy.deepcopy(teacher.state_dict())
    own = ("adaptor.", "projection.", "lora_A", "lora_B", "trainable_tokens_delta")
    for name in state:
        assert any(part in name for part in own), name
    for part in own:
        assert any(part in name for name in state), part
    # No table over the vocabulary in disguise.
    assert all(value.size(0) < LLM_VOCAB for value in state.values())

    fresh = build(llms[kind], seed=99)
    batch = (hidden_states(), LENGTHS, TEXT, TEXT_LENGTHS)
    with torch.no_grad():
        wanted = teacher(*batch).loss
        assert not torch.allclose(fresh(*batch).loss, wanted)
        missing, unexpected = fresh.load_state_dict(state, strict=True)
        torch.testing.assert_close(fresh(*batch).loss, wanted)
    assert not missing and not unexpected


def test_checkpoint_as_a_part_of_a_larger_model(llms):
    """State-dict hooks know their prefix; a missing LoRA weight is still an error."""
    outer = torch.nn.ModuleDict({"teacher": build(llms["llama_untied"])})
    state = outer.state_dict()
    assert all(name.startswith("teacher.") for name in state)
    assert not any("base_layer" in name for name in state)
    outer.load_state_dict(state, strict=True)
    name = next(name for name in state if "lora_A" in name)
    del state[name]
    with pytest.raises(RuntimeError, match="lora_A"):
        outer.load_state_dict(state, strict=True)


def adapters_at_work(teacher):
    return [m for m in teacher.llm.modules() if getattr(m, "merged", None) is False]


def loss_and_gradient(teacher):
    hidden = hidden_states().requires_grad_()
    loss = teacher(hidden, LENGTHS, TEXT, TEXT_LENGTHS).loss
    loss.sum().backward()
    return loss.detach(), hidden.grad


def stirred(teacher, by=0.1):
    """The row of <sc> differs from the LM's too."""
    with torch.no_grad():
        for name, parameter in teacher.named_parameters():
            if name not in teacher._base_names:
                parameter.add_(by)
    return teacher


@pytest.mark.parametrize("kind", KINDS)
def test_folded_lora_changes_neither_loss_nor_gradient_nor_checkpoint(llms, kind):
    teacher = stirred(build(llms[kind]))
    assert adapters_at_work(teacher)
    state = copy.deepcopy(teacher.state_dict())
    wanted = loss_and_gradient(teacher)

    teacher.requires_grad_(False).eval()
    assert not adapters_at_work(teacher)
    torch.testing.assert_close(loss_and_gradient(teacher), wanted)
    torch.testing.assert_close(dict(teacher.state_dict()), dict(state), rtol=0, atol=0)

    teacher.requires_grad_(True).eval()
    assert adapters_at_work(teacher)
    torch.testing.assert_close(loss_and_gradient(teacher), wanted)


def test_folded_lora_makes_room_for_what_is_loaded(llms):
    other = stirred(build(llms["llama_tied"], seed=5), by=-0.2)
    teacher = stirred(build(llms["llama_tied"])).requires_grad_(False).eval()
    teacher.load_state_dict(other.state_dict())
    for _ in range(2):
        torch.testing.assert_close(loss_and_gradient(teacher), loss_and_gradient(other))
        assert adapters_at_work(other)
        teacher.eval()
    assert not adapters_at_work(teacher)


def test_lora_beside_half_precision_is_not_folded(llms):
    teacher = build(llms["llama_tied"], llm_dtype="bfloat16")
    teacher.requires_grad_(False).eval()
    assert adapters_at_work(teacher)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_row_of_sc_is_trained(llms, kind):
    teacher = build(llms[kind])
    table_before = {
        name: module.weight.detach().clone() for name, module in tables(teacher)
    }
    optimizer = torch.optim.SGD(
        [p for p in teacher.parameters() if p.requires_grad], lr=1.0
    )
    for _ in range(2):
        optimizer.zero_grad()
        teacher(hidden_states(), LENGTHS, TEXT, TEXT_LENGTHS).loss.sum().backward()
        optimizer.step()
    every_id = torch.arange(SC + 1)
    with torch.no_grad():
        inputs = teacher.llm.get_input_embeddings()(every_id)
        # A linear layer of one-hot rows shows its weight.
        outputs = teacher.llm.get_output_embeddings()(torch.eye(16)).T
    changed = {}
    for side, now in (("input", inputs), ("output", outputs)):
        before = table_before[side]
        rows = (now - before).abs().amax(1) > 1e-4
        changed[side] = rows.nonzero()[:, 0].tolist()
    assert changed == {"input": [SC], "output": [SC]}
    if kind != "llama_untied":
        torch.testing.assert_close(inputs[SC], outputs[SC])
    else:
        assert not torch.allclose(inputs[SC], outputs[SC])


def tables(teacher):
    """`input` and `output` embedding, as peft's wrappers show the base weights."""
    for side, module in (
        ("input", teacher.llm.get_input_embeddings()),
        ("output", teacher.llm.get_output_embeddings()),
    ):
        yield side, getattr(module, "original_module", module)


@pytest.mark.parametrize("kind", KINDS)
def test_sc_starts_as_the_mean_embedding(llms, kind):
    from transformers import AutoModelForCausalLM

    teacher = build(llms[kind])
    base = AutoModelForCausalLM.from_pretrained(llms[kind])
    with torch.no_grad():
        row = teacher.llm.get_input_embeddings()(torch.tensor([SC]))[0]
        mean = base.get_input_embeddings().weight.mean(0)
        torch.testing.assert_close(row, mean)
        column = teacher.llm.get_output_embeddings()(torch.eye(16)).T[SC]
        mean = base.get_output_embeddings().weight.mean(0)
        torch.testing.assert_close(column, mean)


def test_a_tokenizer_with_more_tokens_than_the_lm_gives_the_same_teacher_twice(
    tmp_path,
):
    """Rows that no checkpoint holds must not be drawn at random."""
    folder = make_tiny_llm(tmp_path / "llm")
    tokenizer = make_tiny_tokenizer(tmp_path / "llm")
    tokenizer.add_tokens(["<pad>", "<mask>"])
    tokenizer.save_pretrained(folder)
    first, second = build(folder, seed=0), build(folder, seed=1)
    second.load_state_dict(first.state_dict())
    assert first.tokenizer.sc_id == SC + 2
    text = TEXT.masked_fill(TEXT == SC, SC + 2)
    batch = (hidden_states(), LENGTHS, text, TEXT_LENGTHS)
    with torch.no_grad():
        torch.testing.assert_close(second(*batch).loss, first(*batch).loss)


def test_half_precision_lm_stays_so_and_what_is_trained_is_float32(llms):
    """The trainer calls `model.to(dtype=float32)`."""
    teacher = build(llms["llama_tied"], llm_dtype="bfloat16")
    outer = torch.nn.ModuleDict({"teacher": teacher, "other": torch.nn.Linear(2, 2)})
    outer = outer.to(dtype=torch.float32, device="cpu")
    base = {p.dtype for n, p in teacher.named_parameters() if n in teacher._base_names}
    own = {p.dtype for p in teacher.parameters() if p.requires_grad}
    assert base == {torch.bfloat16}
    assert own == {torch.float32}
    hidden = hidden_states().requires_grad_()
    output = teacher(hidden, LENGTHS, TEXT, TEXT_LENGTHS)
    assert output.loss.dtype == torch.float32
    output.loss.sum().backward()
    assert torch.isfinite(hidden.grad).all() and hidden.grad.abs().sum() > 0
    precise = build(llms["llama_tied"])
    precise.load_state_dict(teacher.state_dict())
    wanted = precise(hidden, LENGTHS, TEXT, TEXT_LENGTHS).loss
    torch.testing.assert_close(output.loss, wanted, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    "options, named",
    [
        (dict(downsample=3), "downsample: 3"),
        (dict(llm_dtype="int8"), "llm_dtype: int8"),
        (dict(text_mask_prob=1.0), "text_mask_prob: 1.0"),
        (dict(lora=dict(rank=4)), "rank"),
        (dict(lora=dict(target_modules=["query"])), "query"),
        (dict(lora=dict(task_type="CAUSAL_LM")), "task_type"),
        (dict(llm="no/such/folder"), "no/such/folder"),
    ],
)
def test_wrong_options(llms, options, named):
    options = {"llm": str(llms["llama_tied"]), "downsample": 2, **options}
    with pytest.raises(UserError, match=named) as e:
        LLMTeacher(WIDTH, **options)
    assert "\n" not in str(e.value)


def test_folder_with_a_tokenizer_but_no_lm(tmp_path):
    make_tiny_tokenizer(tmp_path)
    with pytest.raises(UserError, match="teacher_conf llm"):
        LLMTeacher(WIDTH, str(tmp_path))
