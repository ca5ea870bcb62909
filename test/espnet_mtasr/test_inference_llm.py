"""Speech2TextLLM on saved models of random weights: branches, batches, talkers."""

import shutil

import pytest
import torch
from helpers.tiny_inference import noises, save_tiny_model
from helpers.tiny_models import LLM_VOCAB, make_tiny_llm

from espnet_mtasr.asr.teacher.abs_teacher import Transcript
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.inference_llm import (
    ScoredTranscript,
    Speech2TextLLM,
    more_probable,
)

SC, EOS = LLM_VOCAB, 1
# The last is shorter than WavLM's first frame.
WAVES = noises(9000, 4000, 12345, 7001, 200)
TWO_OR_THREE = [2, 3, None, 3, 3]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """`exp`: a phase-1 model; `phase2`: one with CTC and count head as well."""
    place = tmp_path_factory.mktemp("place")
    llm = make_tiny_llm(place / "llm")
    save_tiny_model(place / "exp", llm=llm, ctc_weight=0.0, count_weight=0.0)
    save_tiny_model(place / "phase2", llm=llm)
    return place


def load(place, folder="exp", **options):
    """A model that likes `<sc>` and the end, so that there is something to see."""
    speech2text = Speech2TextLLM(None, place / folder / "model.pth", **options)

    def add(module, inputs, output):
        output.logits[..., SC] += 2.0
        output.logits[..., EOS] += 3.0

    speech2text.model.teacher.llm.get_base_model().register_forward_hook(add)
    return speech2text


@torch.no_grad()
def by_hand(speech2text, wave, count, limit):
    """What the LM writes after one branch, and its loss per token."""
    model = speech2text.model
    wave = torch.from_numpy(wave)[None]
    trunk = model.encode_trunk(wave, torch.tensor([wave.size(1)]))
    hidden, lengths = model.encoder.encode_branch(trunk, count)
    (written,) = model.teacher.generate(hidden, lengths, [limit])
    text = torch.tensor([written.ids], dtype=torch.long).reshape(1, -1)
    n = torch.tensor([len(written.ids)])
    return written, float(model.teacher(hidden, lengths, text, n).loss)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_batched_and_one_by_one_give_the_same(place, beam_size):
    speech2text = load(place, beam_size=beam_size)
    for counts in (None, TWO_OR_THREE):
        batched = speech2text(WAVES, counts)
        alone = [
            speech2text([w], None if counts is None else [n])[0]
            for w, n in zip(WAVES, counts or TWO_OR_THREE)
        ]
        assert batched == alone
    # The comparison is about something: texts that differ.
    assert len({h.sot_text for h in batched}) >= 4


def test_the_more_probable_branch_is_taken(place):
    speech2text = load(place)
    taken = []
    for wave, hypothesis in zip(WAVES, speech2text(WAVES)):
        # At most 25 tokens per second of 16,000 samples.
        limit = int(25 * len(wave) / 16000) if len(wave) > 360 else 0
        candidates = [by_hand(speech2text, wave, count, limit) for count in (2, 3)]
        (two, loss_two), (three, loss_three) = candidates
        if two.ended == three.ended:
            best = two if loss_two <= loss_three else three
        else:
            best = two if two.ended else three
        tokens = [t for talker in hypothesis.talkers for t in talker.token_ids]
        assert tokens == [t for t in best.ids if t != SC]
        assert hypothesis.count_log_probs is None
        taken.append(2 if best is two else 3)
    assert set(taken[:4]) == {2, 3}


def test_what_ended_goes_before_what_is_more_probable():
    def candidate(name, ended, score):
        return ScoredTranscript(Transcript([name], ended), score)

    cut, loop = candidate(1, False, -0.1), candidate(2, False, -0.05)
    plain, better = candidate(3, True, -2.0), candidate(4, True, -1.0)
    assert more_probable([cut, plain]).ids == [3]
    assert more_probable([plain, loop, better, cut]).ids == [4]
    assert more_probable([cut, loop]).ids == [2]
    assert more_probable([plain, plain._replace(transcript=better[0])]).ids == [3]


def test_a_given_count_picks_the_branch(place):
    free, forced = load(place), load(place, num_talkers=3)
    three = forced(WAVES)
    assert free(WAVES, [3] * 5) == three
    assert free(WAVES, [2, 3, 2, 3, 2])[1] == three[1]
    # A count for one mixture goes before the constructor's.
    mixed = forced(WAVES, TWO_OR_THREE)
    assert mixed[0] == free(WAVES, [2] * 5)[0] != three[0]
    assert mixed[1:] == three[1:]
    with pytest.raises(UserError, match=r"--num_talkers 4: the model knows \[2, 3\]"):
        load(place, num_talkers=4)


@pytest.mark.parametrize("count", [2, 3])
def test_a_count_head_picks_the_branch(place, count):
    speech2text = load(place, "phase2")
    last = speech2text.model.count_head.classifier[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([0.0, 1.0] if count == 3 else [1.0, 0.0])
    predicted = speech2text(WAVES[:4])
    given = load(place, "phase2", num_talkers=count)(WAVES[:4])
    assert [h.talkers for h in predicted] == [h.talkers for h in given]
    assert all(
        h.count_log_probs[count] > h.count_log_probs[5 - count] for h in predicted
    )


def write(speech2text, *ids):
    """Let the LM write these tokens, whatever the audio is."""
    teacher = speech2text.model.teacher
    teacher.generate = lambda hidden, *_: [Transcript(list(ids), True)] * len(hidden)
    (hypothesis,) = speech2text(WAVES[:1], [2])
    return hypothesis


def test_the_talkers_are_those_that_were_written(place):
    speech2text = load(place)
    tokenizer = speech2text.model.teacher.tokenizer
    ids = tokenizer.encode("had had <sc> over the sea <sc> a")
    hypothesis = write(speech2text, *ids)
    assert hypothesis.sot_text == "had had <sc> over the sea <sc> a"
    # The branch was that for 2.
    assert hypothesis.num_talkers == 3
    assert [t.text for t in hypothesis.talkers] == ["had had", "over the sea", "a"]
    for talker in hypothesis.talkers:
        assert talker.token_ids == tokenizer.encode(talker.text)
        assert len(talker.tokens) == len(talker.token_ids)
    assert write(speech2text, SC, *tokenizer.encode("a")).sot_text == "<sc> a"
    silent = write(speech2text)
    assert (silent.sot_text, silent.num_talkers) == ("", 1)


def test_the_separator_in_other_tokens_is_none(place):
    """`<`, `sc` and `>`: the text must not have more talkers than the hypothesis."""
    speech2text = load(place)
    plain = speech2text.model.teacher.tokenizer.tokenizer
    ids = plain.convert_tokens_to_ids(["a", "<", "s", "c", ">", "b"])
    hypothesis = write(speech2text, *ids)
    assert (hypothesis.sot_text, hypothesis.num_talkers) == ("a b", 1)


def test_audio_without_a_frame_gives_no_text(place):
    for beam_size in (1, 2):
        speech2text = load(place, beam_size=beam_size)
        for counts in (None, [2], [3]):
            (hypothesis,) = speech2text(WAVES[4:], counts)
            assert hypothesis.sot_text == ""


def test_length_limit(place):
    for ratio, longest in ((8.0, 4), (0.001, 1)):
        speech2text = Speech2TextLLM(
            None, place / "exp" / "model.pth", maxlen_ratio=ratio, fs=16000
        )
        base = speech2text.model.teacher.llm.get_base_model()

        def never_end(module, inputs, output):
            output.logits[..., [SC, EOS]] = -1e4

        base.register_forward_hook(never_end)
        (hypothesis,) = speech2text(WAVES[:1])
        # 9,000 samples at 8 tokens per second.
        assert len(hypothesis.talkers[0].token_ids) == longest


def test_options_reach_the_search(place):
    speech2text = load(place, beam_size=5, length_penalty=0.3, maxlen_ratio=10, fs=8000)
    seen = []

    def generate(hidden, lengths, limits, beam_size, length_penalty):
        seen.append((limits, beam_size, length_penalty))
        return [Transcript([], True)] * len(limits)

    speech2text.model.teacher.generate = generate
    speech2text(WAVES, [2] * 5)
    # 9000 * 10 / 8000 = 11.25, ...
    assert seen == [([11, 5, 15, 8, 0], 5, 0.3)]


def test_half_precision(place):
    speech2text = load(place, dtype="bfloat16")
    assert {p.dtype for p in speech2text.model.parameters()} == {torch.bfloat16}
    hypotheses = speech2text(WAVES)
    assert [bool(h.sot_text) for h in hypotheses][4] is False
    assert any(h.sot_text for h in hypotheses)


def test_one_known_count_needs_no_comparison(place, tmp_path):
    save_tiny_model(
        tmp_path / "exp",
        llm=place / "llm",
        ctc_weight=0.0,
        count_weight=0.0,
        talker_counts=[2],
    )
    speech2text = load(tmp_path)
    assert speech2text(WAVES) == speech2text(WAVES, [2] * 5)


def test_nothing_to_do(place):
    assert load(place)([]) == []


def test_models_that_cannot(place, tmp_path):
    plain = save_tiny_model(tmp_path / "ctc", ctc_weight=1.0)
    with pytest.raises(
        UserError,
        match="has no teacher; decode it by CTC, or give one that was packed with",
    ):
        Speech2TextLLM(None, plain)
    with pytest.raises(UserError, match="phase-2 model, or with decoder: llm"):
        Speech2Text(None, place / "exp" / "model.pth")
    model_file = save_tiny_model(
        tmp_path / "exp",
        llm=make_tiny_llm(tmp_path / "llm"),
        ctc_weight=0.0,
        count_weight=0.0,
    )
    shutil.rmtree(tmp_path / "llm")
    with pytest.raises(UserError, match="teacher_conf llm: .*run stage 6") as e:
        Speech2TextLLM(None, model_file)
    assert "\n" not in str(e.value)
    # Nor is one fetched that somebody else's configuration names.
    config = model_file.with_name("config.yaml")
    text = config.read_text().replace(str(tmp_path / "llm"), "owner/name")
    config.write_text(text)
    with pytest.raises(
        UserError, match="teacher_conf: llm: owner/name: would read another model"
    ):
        Speech2TextLLM(None, model_file)


def test_from_another_folder(place, tmp_path, monkeypatch):
    """A training names its LLM's folder relative to the recipe."""
    recipe = tmp_path / "recipe"
    shutil.copytree(place / "exp", recipe / "exp")
    shutil.copytree(place / "llm", recipe / "llm")
    config = recipe / "exp" / "config.yaml"
    config.write_text(config.read_text().replace(str(place / "llm"), "llm"))
    monkeypatch.chdir(tmp_path)
    found = Speech2TextLLM(None, recipe / "exp" / "model.pth")
    assert found(WAVES[:1], [2]) == Speech2TextLLM(None, place / "exp" / "model.pth")(
        WAVES[:1], [2]
    )
