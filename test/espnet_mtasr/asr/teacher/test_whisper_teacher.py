"""Whisper as a teacher: its loss by hand, padding, search, and what is trained."""

import pytest
import torch
from helpers.tiny_models import LLM_VOCAB, LORA
from helpers.tiny_whisper import make_tiny_whisper
from transformers.modeling_outputs import BaseModelOutput

from espnet_mtasr.asr.teacher.generation import LoopGuard
from espnet_mtasr.asr.teacher.whisper_teacher import WhisperTeacher
from espnet_mtasr.errors import UserError

WIDTH, SC, EOS = 16, LLM_VOCAB, 1
TEXT = torch.tensor([[40, 70, SC, 80, 90], [50, 60, SC, -1, -1], [41, -1, -1, -1, -1]])
TEXT_LENGTHS = torch.tensor([5, 3, 1])
LENGTHS = torch.tensor([4, 9, 6])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(make_tiny_whisper(tmp_path_factory.mktemp("whisper")))


def build(folder, **options):
    torch.manual_seed(0)
    return WhisperTeacher(WIDTH, folder, **options).eval()


def frames(seed=7):
    return torch.randn(3, 9, WIDTH, generator=torch.Generator().manual_seed(seed))


def plain_logits(teacher, hidden, ids):
    """Of transformers' own decoder, for one row without padding."""
    output = teacher.whisper(
        encoder_outputs=BaseModelOutput(last_hidden_state=hidden[None]),
        decoder_input_ids=torch.tensor([ids]),
    )
    return output.logits[0]


@torch.no_grad()
def test_the_loss_of_a_padded_batch_is_that_of_each_row_alone(folder):
    teacher, hidden = build(folder), frames()
    found = teacher(hidden, LENGTHS, TEXT, TEXT_LENGTHS)
    for k in range(3):
        ids = TEXT[k, : TEXT_LENGTHS[k]].tolist()
        logits = plain_logits(teacher, hidden[k, : LENGTHS[k]], [*teacher.prompt, *ids])
        wanted = torch.tensor([*ids, EOS])
        log_probs = logits[-len(wanted) :].log_softmax(-1)
        losses = -log_probs.gather(1, wanted[:, None])[:, 0]
        assert found.loss[k] == pytest.approx(losses.mean().item(), abs=1e-5)
        assert found.num_correct[k] == (log_probs.argmax(-1) == wanted).sum()
        words = (wanted != SC) & (wanted != EOS)
        assert found.word_loss[k] == pytest.approx(losses[words].sum().item(), abs=1e-4)
        assert found.num_word_tokens[k] == words.sum()
    hidden[0, 4:], hidden[2, 6:] = 1e3, -1e3
    again = teacher(hidden, LENGTHS, TEXT, TEXT_LENGTHS)
    assert torch.equal(found.loss, again.loss)


def test_gradient_reaches_the_valid_frames_alone(folder):
    teacher, hidden = build(folder), frames().requires_grad_()
    teacher.requires_grad_(False)
    teacher(hidden, LENGTHS, TEXT, TEXT_LENGTHS).loss.sum().backward()
    heard = hidden.grad.abs().sum(-1) > 0
    assert torch.equal(heard, torch.arange(9)[None] < LENGTHS[:, None])


def test_a_row_without_frames_is_finite(folder):
    teacher = build(folder)
    found = teacher(frames(), torch.tensor([0, 9, 6]), TEXT, TEXT_LENGTHS)
    assert found.loss.isfinite().all()


@torch.no_grad()
def test_greedy_search_is_a_plain_loop(folder):
    teacher, hidden = build(folder), frames()
    limits = [6, 3, 0]
    for row, n, limit, got in zip(
        hidden, LENGTHS, limits, teacher.generate(hidden, LENGTHS, limits)
    ):
        ids = [*teacher.prompt]
        while len(ids) < limit + len(teacher.prompt):
            token = int(plain_logits(teacher, row[:n], ids)[-1].argmax())
            if token == EOS:
                break
            ids.append(token)
        assert got.ids == ids[len(teacher.prompt) :]
        assert len(got.ids) <= limit
    (cut,) = teacher.generate(hidden[:1, :4], LENGTHS[:1], [6])
    assert cut == teacher.generate(hidden, LENGTHS, limits)[0]


@torch.no_grad()
def test_a_beam_finds_what_is_at_least_as_probable(folder):
    teacher, hidden = build(folder), frames()

    def log_prob(written):
        ids = torch.tensor([written.ids])
        n = torch.tensor([len(written.ids)])
        return float(-teacher(hidden[:1], LENGTHS[:1], ids, n).loss * (n + 1))

    def write(beam_size):
        return teacher.generate(hidden[:1], LENGTHS[:1], [5], beam_size, 0.0)[0]

    assert log_prob(write(8)) >= log_prob(write(1)) - 1e-4


def test_loops_are_cut():
    guard = LoopGuard(begin=1)

    def forbidden(*ids):
        scores = guard(torch.tensor([ids]), torch.zeros(1, 12))
        return scores.isinf().nonzero()[:, 1].tolist()

    # The prompt doesn't count.
    assert forbidden(5, 5, 5, 5, 5) == [5]
    assert forbidden(5, 5, 5, 5) == []
    passage = [1, 2, 3, 4]
    assert forbidden(0, *passage, *passage, 1, 2, 3) == [4]
    assert forbidden(0, *passage, *passage, 1, 2) == []
    assert forbidden(0, *passage, 9, *passage, 1, 2, 3) == []
    # Two words by turns may come four times.
    assert forbidden(0, *(4 * [6, 7]), 6) == [7]
    assert forbidden(0, *(3 * [6, 7]), 6) == []


def test_what_is_trained(folder):
    everything = build(folder)
    trained = {n for n, p in everything.named_parameters() if p.requires_grad}
    assert "whisper.model.decoder.embed_tokens.weight" in trained
    assert not any("embed_positions" in name for name in trained)
    lora = build(folder, lora={**LORA, "target_modules": ["q_proj", "v_proj"]})
    names = {n for n, p in lora.named_parameters() if p.requires_grad}
    assert names and all("lora_" in n or "trainable_tokens" in n for n in names)
    optimizer = torch.optim.SGD([p for p in lora.parameters() if p.requires_grad], 1.0)
    before = lora.whisper.get_input_embeddings()(torch.arange(SC + 1)).detach().clone()
    lora(frames(), LENGTHS, TEXT, TEXT_LENGTHS).loss.sum().backward()
    optimizer.step()
    after = lora.whisper.get_input_embeddings()(torch.arange(SC + 1))
    assert ((before != after).any(-1)).nonzero()[:, 0].tolist() == [SC]


@pytest.mark.parametrize("lora", [None, {**LORA, "target_modules": ["q_proj"]}])
def test_a_checkpoint_gives_the_same_teacher(folder, lora):
    teacher, other = build(folder, lora=lora), build(folder, lora=lora)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    other.load_state_dict(teacher.state_dict())
    one, two = (t(frames(), LENGTHS, TEXT, TEXT_LENGTHS).loss for t in (teacher, other))
    assert torch.equal(one, two)


def test_words_begin_with_a_blank(folder):
    """As Whisper has read them; decoding takes it away."""
    tokenizer = build(folder).tokenizer
    ids = tokenizer.encode("had <sc> sea b")
    assert ids == [
        *tokenizer.tokenizer(" had", add_special_tokens=False)["input_ids"],
        tokenizer.sc_id,
        *tokenizer.tokenizer(" sea b", add_special_tokens=False)["input_ids"],
    ]
    assert tokenizer.decode(ids) == "had <sc> sea b"


def test_mistakes(folder, tmp_path):
    with pytest.raises(UserError, match="is 16 wide, the encoder 12"):
        WhisperTeacher(12, folder)
    with pytest.raises(UserError, match="neither a folder"):
        WhisperTeacher(WIDTH, str(tmp_path))
    with pytest.raises(UserError, match="lora: q is not a LoraConfig option"):
        build(folder, lora={"q": 1})
    teacher = build(folder)
    text = torch.full((1, 448), 40)
    with pytest.raises(UserError, match="has 448 tokens, and Whisper reads 447"):
        teacher(frames()[:1], LENGTHS[:1], text, torch.tensor([448]))
