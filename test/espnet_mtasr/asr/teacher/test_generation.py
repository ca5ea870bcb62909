"""The teacher writes: against a plain loop, padding, limits, `<sc>`, beams."""

import json
from contextlib import contextmanager

import pytest
import torch
from helpers.tiny_models import LLM_VOCAB, LORA, make_tiny_llm, make_tiny_tokenizer

from espnet_mtasr.asr.teacher.generation import MAX_TALKERS, SOTRules, looping_tokens
from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher
from espnet_mtasr.scoring.error_counts import MAX_STREAMS

WIDTH = 12
SC, EOS = LLM_VOCAB, 1
KINDS = ["llama_tied", "llama_untied", "gpt2_tied"]
LENGTHS = torch.tensor([4, 9, 6, 0, 1])
LIMITS = [9, 5, 12, 3, 1]


@pytest.fixture(scope="module")
def llms(tmp_path_factory):
    root = tmp_path_factory.mktemp("llms")
    return {
        name: make_tiny_llm(root / name, kind, tied == "tied")
        for name in KINDS
        for kind, tied in [name.split("_")]
    }


def build(folder, **options):
    lora = dict(LORA)
    if "gpt2" in str(folder):
        lora["target_modules"] = ["c_attn"]
    torch.manual_seed(0)
    teacher = LLMTeacher(WIDTH, str(folder), downsample=2, lora=lora, **options).eval()
    # LoRA starts at zero, where half of it changes nothing.
    for name, parameter in teacher.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return teacher


def hidden_states():
    generator = torch.Generator().manual_seed(7)
    return torch.randn(len(LENGTHS), 9, WIDTH, generator=generator)


@contextmanager
def favoured(teacher, amounts):
    """Add to the LM's logits; `amounts`: token to summand."""

    def add(module, inputs, output):
        for token, amount in amounts.items():
            output.logits[..., token] += amount

    handle = teacher.llm.get_base_model().register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def by_hand(teacher, hidden, limit):
    """Greedy search that reads all again for every token; no padding, no cache."""
    speech = hidden[None]
    if len(hidden) > 0:
        speech, _ = teacher.adaptor(speech, torch.tensor([len(hidden)]))
    table = teacher.llm.get_input_embeddings()
    begin = torch.tensor([teacher.tokenizer.tokenizer.bos_token_id])
    rows = torch.cat([table(begin), teacher.projection(speech[0])])
    ids = []
    while len(ids) < limit:
        logits = teacher.llm(inputs_embeds=rows[None], use_cache=False).logits[0, -1]
        token = int(logits[: SC + 1].argmax())
        if token == EOS:
            break
        ids.append(token)
        rows = torch.cat([rows, table(torch.tensor([token]))])
    return ids


def average(teacher, hidden, length, transcripts, power=1.0):
    """Log probability of each transcript and its end / tokens to a power."""
    rows = [torch.tensor(ids, dtype=torch.long) for ids in transcripts]
    text = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
    n = torch.tensor([len(row) for row in rows])
    hidden = hidden.expand(len(rows), -1, -1)
    loss = teacher(hidden, length.expand(len(rows)), text, n).loss
    return (-loss * (n + 1) / (n + 1) ** power).tolist()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_greedy_search_is_a_plain_loop(llms, kind):
    teacher, hidden = build(llms[kind]), hidden_states()
    ends = set()
    for amount in (0.0, 2.0, 4.0):
        with favoured(teacher, {EOS: amount, SC: amount}):
            written = teacher.generate(hidden, LENGTHS, LIMITS)
            for row, n, limit, got in zip(hidden, LENGTHS, LIMITS, written):
                wanted = by_hand(teacher, row[:n], limit)
                assert got.ids == wanted
                assert got.ended == (len(wanted) < limit)
                ends.add(got.ended)
    # Else half of it would be about nothing.
    assert ends == {True, False}
    assert len({tuple(t.ids) for t in written}) > 1


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("kind", ["llama_tied", "gpt2_tied"])
def test_weakness_3_a_row_alone_and_in_a_batch(llms, kind, beam_size):
    teacher, hidden = build(llms[kind]), hidden_states()
    with favoured(teacher, {EOS: 3.0}):
        together = teacher.generate(hidden, LENGTHS, LIMITS, beam_size)
        for k, n in enumerate(LENGTHS):
            cut = hidden[k : k + 1, : max(1, n)]
            (alone,) = teacher.generate(cut, LENGTHS[k : k + 1], [LIMITS[k]], beam_size)
            assert alone == together[k]
        for row, n in zip(hidden, LENGTHS):
            row[n:] = 1e4
        assert teacher.generate(hidden, LENGTHS, LIMITS, beam_size) == together


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_guard_against_loops(llms, beam_size):
    """Only if it is wanted; rows that have ended don't disturb those that haven't."""
    teacher, hidden = build(llms["llama_tied"]), hidden_states()
    limits = [30, 9, 0, 30, 1]
    with favoured(teacher, {70: 40.0, EOS: 15.0}):
        loop, *_ = teacher.generate(hidden, LENGTHS, limits, beam_size)
        assert loop.ids == 30 * [70]
        teacher.guards_loops = True
        together = teacher.generate(hidden, LENGTHS, limits, beam_size)
        for k, n in enumerate(LENGTHS):
            cut = hidden[k : k + 1, : max(1, n)]
            (alone,) = teacher.generate(cut, LENGTHS[k : k + 1], [limits[k]], beam_size)
            assert alone == together[k]
    assert together[0].ids[:4] == 4 * [70]
    assert all(5 * [70] != t.ids[n : n + 5] for t in together for n in range(30))


def test_no_more_than_the_limit(llms):
    teacher, hidden = build(llms["llama_tied"]), hidden_states()
    limits = [9, 0, 12, 3, 1]
    for beam_size in (1, 3):
        with favoured(teacher, {EOS: -1e4}):
            written = teacher.generate(hidden, LENGTHS, limits, beam_size)
        assert [len(t.ids) for t in written] == limits
        # Nothing to write is no text that was cut off.
        assert [t.ended for t in written] == [False, True, False, False, False]


def test_the_end_at_once(llms):
    teacher, hidden = build(llms["llama_tied"]), hidden_states()
    for beam_size in (1, 3):
        with favoured(teacher, {EOS: 1e4}):
            written = teacher.generate(hidden, LENGTHS, LIMITS, beam_size)
        assert [tuple(t) for t in written] == [([], True)] * len(LENGTHS)


def test_as_many_talkers_as_can_be_scored(llms):
    assert MAX_TALKERS == MAX_STREAMS
    teacher = build(llms["llama_tied"])
    for beam_size in (1, 2):
        with favoured(teacher, {SC: 1e4, EOS: -1e4}):
            (written,) = teacher.generate(
                hidden_states()[:1], LENGTHS[:1], [30], beam_size
            )
        assert len(written.ids) == 30
        assert len(teacher.tokenizer.split(written.ids)) == MAX_STREAMS


def test_rules_by_hand(llms):
    """Two rows in two beams; 271 tokens, and two rows of the table that are none."""
    tokenizer = build(llms["llama_tied"]).tokenizer
    rules = SOTRules(torch.tensor([2, 3]), tokenizer, beam_size=2)
    scores = torch.arange(4.0 * (SC + 3)).reshape(4, SC + 3)
    kept = rules(torch.tensor([[5, 6]] * 4), scores) != -torch.inf
    assert kept.sum(1).tolist() == [1, 1, SC + 1, SC + 1]
    assert kept[:, EOS].all() and kept[2:, : SC + 1].all()
    got = rules(torch.tensor([[5, 6]] * 4), scores)
    torch.testing.assert_close(got[kept], scores[kept])


@torch.no_grad()
def test_rows_of_the_table_that_are_no_token_are_never_written(tmp_path):
    """As Qwen's: the table is larger than the vocabulary, for the hardware's sake."""
    from transformers import AutoModelForCausalLM

    folder = make_tiny_llm(tmp_path / "llm", tied=False)
    llm = AutoModelForCausalLM.from_pretrained(folder)
    llm.resize_token_embeddings(SC + 500)
    llm.lm_head.weight[SC + 1 :] *= 100.0
    llm.save_pretrained(folder)
    teacher, hidden = build(folder), hidden_states()
    assert teacher.tokenizer.sc_id == SC
    text = torch.zeros(len(LENGTHS), 0, dtype=torch.long)
    first = teacher._text_logits(hidden, LENGTHS, text, torch.zeros_like(LENGTHS))
    assert (first[:, 0].argmax(-1) > SC).all()
    for beam_size in (1, 3):
        for written in teacher.generate(hidden, LENGTHS, LIMITS, beam_size):
            assert written.ids and max(written.ids) <= SC


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 3.0])
@torch.no_grad()
def test_a_beam_of_everything_finds_the_best(llms, length_penalty):
    """With at most one token there are 271 transcripts; all of them are scored."""
    teacher, hidden = build(llms["llama_tied"]), hidden_states()
    every = [[], *([t] for t in range(SC + 1) if t != EOS)]
    best = []
    with favoured(teacher, {EOS: 4.0}):
        for row, n in zip(hidden, LENGTHS):
            averages = average(teacher, row, n, every, length_penalty)
            best.append(every[averages.index(max(averages))])
        limits = [1] * len(LENGTHS)
        found = teacher.generate(hidden, LENGTHS, limits, 280, length_penalty)
        assert [t.ids for t in found] == best
    # The penalty decides between the two lengths.
    assert {0.0: [] in best, 1.0: True, 3.0: [] not in best}[length_penalty]


@torch.no_grad()
def test_a_beam_finds_what_is_more_probable(llms):
    """Never less per token than greedy search on these rows; somewhere more."""
    teacher, hidden = build(llms["llama_tied"]), hidden_states()
    gains = []
    with favoured(teacher, {EOS: 3.0}):
        greedy = teacher.generate(hidden, LENGTHS, LIMITS)
        wide = teacher.generate(hidden, LENGTHS, LIMITS, beam_size=6)
        for row, n, one, other in zip(hidden, LENGTHS, greedy, wide):
            narrow, broad = average(teacher, row, n, [one.ids, other.ids])
            gains.append(broad - narrow)
    assert min(gains) > -1e-4 and max(gains) > 0.1


@pytest.mark.parametrize("beam_size", [1, 2])
def test_what_comes_with_the_lm_does_not_count(llms, tmp_path, beam_size):
    """Llama's folder asks for sampling; others punish words that come again."""
    folder = make_tiny_llm(tmp_path / "llm")
    wanted = build(folder).generate(hidden_states(), LENGTHS, LIMITS, beam_size)
    settings = dict(
        do_sample=True, temperature=9.0, top_p=0.9, eos_token_id=[40, 41, EOS]
    )
    settings.update(repetition_penalty=50.0, no_repeat_ngram_size=1, min_new_tokens=5)
    (folder / "generation_config.json").write_text(json.dumps(settings))
    teacher = build(folder)
    assert teacher.llm.get_base_model().generation_config.repetition_penalty == 50.0
    assert teacher.generate(hidden_states(), LENGTHS, LIMITS, beam_size) == wanted


@pytest.mark.parametrize("beam_size", [1, 2])
def test_half_precision(llms, beam_size):
    """An LM in half precision below a float32 projection, and all of it in half."""
    below = build(llms["llama_tied"], llm_dtype="bfloat16")
    half = build(llms["llama_tied"]).to(torch.bfloat16)
    for teacher, hidden in (
        (below, hidden_states()),
        (half, hidden_states().to(torch.bfloat16)),
    ):
        caches = set()

        def note(module, inputs, output, caches=caches):
            caches.add(output.past_key_values.layers[0].keys.dtype)

        handle = teacher.llm.get_base_model().register_forward_hook(note)
        written = teacher.generate(hidden, LENGTHS, LIMITS, beam_size)
        handle.remove()
        assert caches == {torch.bfloat16}
        assert all(len(t.ids) <= n for t, n in zip(written, LIMITS))
        assert all(t.ids for t in written)


def test_the_cache_spares_reading_again(llms):
    teacher, lengths = build(llms["llama_tied"]), []
    layers = teacher.llm.get_base_model().model.layers
    handle = layers[0].register_forward_hook(
        lambda module, inputs, output: lengths.append(inputs[0].size(1))
    )
    with favoured(teacher, {EOS: -1e4}):
        teacher.generate(hidden_states()[:2], LENGTHS[:2], [4, 2])
    handle.remove()
    # `<bos>` and 9 frames at half the rate; then a token at a time.
    assert lengths == [6, 1, 1, 1, 1]


def test_a_tokenizers_spare_tokens(tmp_path):
    """Their rows are the mean embedding, and they may be written as any token."""
    folder = make_tiny_llm(tmp_path / "llm")
    tokenizer = make_tiny_tokenizer(folder)
    tokenizer.add_tokens(["<pad>"])
    tokenizer.save_pretrained(folder)
    teacher = build(folder)
    with favoured(teacher, {SC: 1e4, EOS: -1e4}):
        (written,) = teacher.generate(hidden_states()[:1], LENGTHS[:1], [2])
    assert written.ids == [SC, SC]
    assert teacher.tokenizer.split(written.ids) == [[SC, SC]]


@pytest.mark.parametrize("size", [4, 40, 41, 100])
def test_passages_of_any_length_loop(size):
    passage = list(range(size))
    assert looping_tokens(2 * passage + passage[:-1]) == {size - 1}
    assert looping_tokens(2 * passage + passage[:-2]) == set()
