"""Speech2Text on saved models of random weights: routes, batches, searches."""

import itertools
import math
import shutil

import numpy as np
import pytest
import torch
from helpers.tiny_inference import WORDS, noises, save_tiny_model
from helpers.tiny_models import make_tiny_llm

from espnet_mtasr.asr.mtasr_model import Streams
from espnet_mtasr.asr.serialized_ctc import collapse
from espnet_mtasr.bin.make_token_list import main as make_token_list
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text

# The last is shorter than WavLM's first frame.
WAVES = noises(9000, 4000, 12345, 7001, 200)
TWO_OR_THREE = [2, 3, None, 3, 3]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "exp")


@pytest.fixture(scope="module")
def word_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words") / "exp"
    conf = dict(hidden_size=8, num_layers=1, stream_size=len(WORDS))
    return save_tiny_model(folder, WORDS, separator_conf=conf)


def hear(speech2text, *streams):
    """Let the separator put out these `(T, V)` scores, whatever the audio is.

    The CTC heads become the identity, so they are the log probabilities' logits.
    """
    model = speech2text.model
    for heads in model.ctc.values():
        for head in heads.heads:
            torch.nn.init.eye_(head.ctc_lo.weight)
            torch.nn.init.zeros_(head.ctc_lo.bias)

    def separate(trunk, counts):
        rows = torch.arange(1)
        tensors = [torch.as_tensor(s, dtype=torch.float32)[None] for s in streams]
        lengths = torch.tensor([len(streams[0])])
        return [Streams(len(streams), rows, tensors, lengths)]

    model.separate = separate
    (hypothesis,) = speech2text([np.zeros(4000)], [len(streams)])
    return hypothesis


def one_hot(ids, size):
    return 10.0 * np.eye(size)[list(ids)]


def test_batches_are_of_like_length(model_file, monkeypatch):
    speech2text = Speech2Text(None, model_file)
    encode, shapes = speech2text.model.encode_trunk, []

    def note(padded, lengths):
        shapes.append((padded.size(1), lengths.tolist()))
        return encode(padded, lengths)

    monkeypatch.setattr(speech2text.model, "encode_trunk", note)
    found = speech2text.in_batches(WAVES, 2, TWO_OR_THREE)
    assert shapes == [(12345, [12345, 9000]), (7001, [7001, 4000]), (200, [200])]
    # The order is that of the waveforms, whose counts stay with them.
    assert [h.talkers for h in found] == [
        speech2text([w], [n])[0].talkers for w, n in zip(WAVES, TWO_OR_THREE)
    ]
    shapes.clear()
    assert len(speech2text.in_batches(WAVES, 5)) == 5 == len(shapes[0][1])
    assert speech2text.in_batches([], 2) == []
    with pytest.raises(ValueError, match="1 counts, 5 waveforms"):
        speech2text.in_batches(WAVES, 2, [2])


@pytest.mark.parametrize("beam_size", [1, 4])
def test_batched_and_one_by_one_give_the_same(model_file, beam_size):
    speech2text = Speech2Text(None, model_file, beam_size=beam_size)
    batched = speech2text(WAVES, TWO_OR_THREE)
    alone = [speech2text([w], [n])[0] for w, n in zip(WAVES, TWO_OR_THREE)]
    assert [h.talkers for h in batched] == [h.talkers for h in alone]
    for one, other in zip(batched, alone):
        assert one.count_log_probs == pytest.approx(other.count_log_probs, abs=1e-4)
    # The comparison is about something: texts that differ.
    texts = [t.text for h in batched[:-1] for t in h.talkers]
    assert all(len(text) > 2 for text in texts)
    assert len(set(texts)) == len(texts)


def test_a_hypothesis_agrees_with_itself(model_file):
    for hypothesis in Speech2Text(None, model_file)(WAVES, TWO_OR_THREE):
        assert hypothesis.num_talkers == len(hypothesis.sot_text.split("<sc>"))
        for talker in hypothesis.talkers:
            assert len(talker.tokens) == len(talker.token_ids)
            letters = [" " if t == "<space>" else t for t in talker.tokens]
            assert talker.text == "".join(letters)


def test_arrays_and_tensors_give_the_same(model_file):
    speech2text = Speech2Text(None, model_file)
    arrays = speech2text([wave.astype(np.float64) for wave in WAVES])
    assert arrays == speech2text([torch.from_numpy(wave) for wave in WAVES])


def test_nothing_to_do(model_file):
    assert Speech2Text(None, model_file)([]) == []


def test_given_counts(model_file):
    free, forced = (Speech2Text(None, model_file, num_talkers=n) for n in (None, 3))
    three = forced(WAVES)
    assert [h.num_talkers for h in three] == [3] * 5
    assert free(WAVES, [3] * 5) == three
    assert free(WAVES, [2, 3, 2, 3, 2])[1] == three[1]
    # A count for one mixture goes before the constructor's.
    assert [h.num_talkers for h in forced(WAVES, TWO_OR_THREE)] == [2, 3, 3, 3, 3]
    # They are different branches, not the same one cut off.
    assert free(WAVES, [2] * 5)[0].talkers != three[0].talkers[:2]


@pytest.mark.parametrize("count", [2, 3])
def test_the_predicted_count_routes(model_file, count):
    speech2text = Speech2Text(None, model_file)
    last = speech2text.model.count_head.classifier[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([0.0, 1.0] if count == 3 else [1.0, 0.0])
    predicted = speech2text(WAVES[:4])
    expected = math.log(math.e / (1 + math.e))
    for hypothesis in predicted:
        assert hypothesis.num_talkers == count
        assert hypothesis.count_log_probs[count] == pytest.approx(expected)
        assert hypothesis.count_log_probs[5 - count] == pytest.approx(expected - 1)
    given = Speech2Text(None, model_file, num_talkers=count)(WAVES[:4])
    assert [h.talkers for h in given] == [h.talkers for h in predicted]


def test_unknown_counts(model_file):
    with pytest.raises(UserError, match=r"--num_talkers 4: the model knows \[2, 3\]"):
        Speech2Text(None, model_file, num_talkers=4)
    speech2text = Speech2Text(None, model_file)
    with pytest.raises(UserError, match="--num_talkers 1"):
        speech2text(WAVES[:2], [2, 1])
    with pytest.raises(ValueError, match="1 counts, 2 waveforms"):
        speech2text(WAVES[:2], [2])


def test_without_a_count_head(tmp_path):
    path = save_tiny_model(tmp_path / "both", count_weight=0.0)
    with pytest.raises(UserError, match="no talker-count head: give --num_talkers"):
        Speech2Text(None, path)(WAVES[:1])
    (hypothesis,) = Speech2Text(None, path, num_talkers=2)(WAVES[:1])
    assert hypothesis.num_talkers == 2
    assert hypothesis.count_log_probs is None
    # One branch leaves nothing to predict.
    path = save_tiny_model(tmp_path / "one", count_weight=0.0, talker_counts=[1])
    (hypothesis,) = Speech2Text(None, path)(WAVES[:1])
    assert hypothesis.num_talkers == 1


@pytest.mark.parametrize("beam_size", [1, 3])
def test_too_short_audio_gives_empty_texts(model_file, beam_size):
    speech2text = Speech2Text(None, model_file, beam_size=beam_size)
    last = speech2text.model.count_head.classifier[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([0.0, 9.0])
    for wave in noises(339, 1, 0):
        (hypothesis,) = speech2text([wave])
        assert [t.text for t in hypothesis.talkers] == ["", ""]
        assert hypothesis.sot_text == "<sc>"
        (hypothesis,) = speech2text([wave], [3])
        assert [t.token_ids for t in hypothesis.talkers] == [[], [], []]
    # 340 samples are a frame: the head is asked.
    (hypothesis,) = speech2text(noises(340))
    assert hypothesis.num_talkers == 3


@pytest.mark.parametrize("beam_size", [1, 2, 50])
def test_weakness_1_a_repeated_word_stays(word_model, beam_size):
    """Weakness 1: a token that comes again after a blank was said twice."""
    speech2text = Speech2Text(None, word_model, beam_size=beam_size)
    had, lunch, good, day = range(2, 6)
    hypothesis = hear(
        speech2text,
        one_hot([had, had, 0, had, lunch, 0, 0], len(WORDS)),
        one_hot([0, good, good, day, 0, day, day], len(WORDS)),
    )
    assert hypothesis.sot_text == "had had lunch <sc> good day day"


def sum_over_alignments(logits):
    """Log probability of every token sequence, by writing down every path."""
    log_probs = torch.tensor(logits).log_softmax(-1).numpy()
    frames, size = log_probs.shape
    totals = {}
    for path in itertools.product(range(size), repeat=frames):
        score = sum(log_probs[t, c] for t, c in enumerate(path))
        sequence = tuple(collapse(path))
        totals[sequence] = np.logaddexp(totals.get(sequence, -np.inf), score)
    return totals


def test_beam_search_is_exact_when_nothing_is_pruned(tmp_path):
    tokens = ["<blank>", "a", "b", "<unk>"]
    conf = dict(hidden_size=4, num_layers=1)
    path = save_tiny_model(tmp_path / "exp", tokens, separator_conf=conf)
    wide, greedy = (Speech2Text(None, path, beam_size=n) for n in (1000, 1))
    rng = np.random.default_rng(0)
    differ = 0
    for _ in range(30):
        streams = 2.0 * rng.standard_normal((2, 5, len(tokens)))
        # It would be left out of the text.
        streams[..., tokens.index("<unk>")] = -50.0
        found = [tuple(t.token_ids) for t in hear(wide, *streams).talkers]
        for sequence, stream in zip(found, streams):
            totals = sum_over_alignments(stream)
            assert totals[sequence] == max(totals.values())
        best_paths = [collapse(stream.argmax(-1)) for stream in streams]
        greedily = [t.token_ids for t in hear(greedy, *streams).talkers]
        assert greedily == best_paths
        differ += found != [tuple(p) for p in best_paths]
    # Else a beam search that is greedy would pass.
    assert differ > 3


@pytest.mark.parametrize("beam_size", [1, 3])
def test_special_tokens_are_in_no_text(word_model, beam_size):
    speech2text = Speech2Text(None, word_model, beam_size=beam_size, align=True)
    unk, had, eos = map(WORDS.index, ("<unk>", "had", "<sos/eos>"))
    said = one_hot([eos, had, unk, had, 0, eos], len(WORDS))
    talker, other = hear(speech2text, said, said).talkers
    assert (talker.text, talker.tokens) == ("had had", ["had", "had"])
    assert [span.start for span in talker.spans] == [1, 3]
    assert other == talker


def test_narrow_beam_needs_no_blank_among_the_best_tokens(word_model):
    """Two words are surer than the blank: the sequence must survive all the same."""
    p = np.full((3, len(WORDS)), 0.01)
    p[:, 2], p[:, 3], p[:, 4] = 0.8, 0.1, 0.05
    speech2text = Speech2Text(None, word_model, beam_size=2)
    assert hear(speech2text, np.log(p), np.log(p)).sot_text == "had <sc> had"


def test_no_language_model_is_loaded(tmp_path):
    llm = make_tiny_llm(tmp_path / "llm")
    path = save_tiny_model(tmp_path / "exp", llm=llm)
    saved = torch.load(path, weights_only=True)
    assert any(name.startswith("teacher.") for name in saved)
    shutil.rmtree(llm)
    model = Speech2Text(None, path).model
    assert model.teacher is None
    homes = {type(module).__module__ for module in model.modules()}
    assert not [h for h in homes if "llama" in h or "peft" in h or "teacher" in h]
    size = sum(v.numel() for k, v in saved.items() if not k.startswith("teacher."))
    assert sum(v.numel() for v in model.state_dict().values()) == size


@pytest.fixture
def recipe(tmp_path):
    """A recipe folder with sentencepiece units and a model trained with them."""
    recipe = tmp_path / "recipe"
    (recipe / "dump").mkdir(parents=True)
    text = recipe / "dump" / "text"
    text.write_text("u1 had had lunch <sc> good day\nu2 good lunch <sc> had a day\n")
    tokens = recipe / "data" / "token_list" / "bpe"
    make_token_list(["--text", f"{text}", "--output_dir", f"{tokens}", "--nbpe", "25"])
    save_tiny_model(
        recipe / "exp" / "mtasr_phase2",
        (tokens / "tokens.txt").read_text().splitlines(),
        token_type="bpe",
        bpemodel="data/token_list/bpe/bpe.model",
    )
    return recipe


def test_a_recipes_model_loads_from_any_folder(recipe, tmp_path, monkeypatch):
    exp = recipe / "exp" / "mtasr_phase2"
    monkeypatch.chdir(recipe)
    expected = Speech2Text(None, "exp/mtasr_phase2/model.pth")(WAVES)
    assert any(h.talkers[0].text for h in expected)
    # In another recipe, which has a file of the same name.
    other = tmp_path / "other"
    (other / "data" / "token_list" / "bpe").mkdir(parents=True)
    (other / "data" / "token_list" / "bpe" / "bpe.model").write_text("not this one")
    monkeypatch.chdir(other)
    assert Speech2Text(exp / "config.yaml", exp / "model.pth")(WAVES) == expected
    assert Speech2Text(None, "../recipe/exp/mtasr_phase2/model.pth")(WAVES) == expected


def test_a_copied_model_loads_with_its_units_beside_it(recipe, tmp_path, monkeypatch):
    exp = recipe / "exp" / "mtasr_phase2"
    monkeypatch.chdir(recipe)
    expected = Speech2Text(None, exp / "model.pth")(WAVES)
    copy = tmp_path / "elsewhere" / "model"
    shutil.copytree(exp, copy)
    units = recipe / "data" / "token_list" / "bpe" / "bpe.model"
    monkeypatch.chdir(copy.parent)
    with pytest.raises(
        UserError, match=f"bpe.model: no such file; copy it into {copy}"
    ):
        Speech2Text(None, copy / "model.pth")
    shutil.move(units, copy)
    assert Speech2Text(None, copy / "model.pth")(WAVES) == expected


def test_missing_and_unfit_files(model_file, tmp_path):
    with pytest.raises(UserError, match="nothing.pth: no such file"):
        Speech2Text(model_file.parent / "config.yaml", tmp_path / "nothing.pth")
    alone = shutil.copy(model_file, tmp_path / "alone.pth")
    with pytest.raises(UserError, match="config.yaml: no such file"):
        Speech2Text(None, alone)
    state = torch.load(model_file, weights_only=True)
    del state["ctc.2.heads.0.ctc_lo.bias"]
    torch.save(state, tmp_path / "part.pth")
    config = model_file.parent / "config.yaml"
    with pytest.raises(UserError, match="part.pth: missing weights .*ctc.2.heads.0"):
        Speech2Text(config, tmp_path / "part.pth")
    phase_1 = save_tiny_model(tmp_path / "one", ctc_weight=0.0, count_weight=0.0)
    with pytest.raises(UserError, match="has no CTC heads .*phase-2 model"):
        Speech2Text(None, phase_1)


@pytest.mark.parametrize("beam_size", [1, 2])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(model_file, dtype, beam_size):
    full = Speech2Text(None, model_file, num_talkers=2, beam_size=beam_size)
    half = Speech2Text(
        None, model_file, dtype=dtype, num_talkers=2, beam_size=beam_size
    )
    assert next(half.model.encoder.parameters()).dtype == getattr(torch, dtype)
    for one, other in zip(full(WAVES), half(WAVES)):
        assert other.num_talkers == 2
        assert other.count_log_probs == pytest.approx(one.count_log_probs, abs=1.0)


def test_float16_with_a_conformer_on_a_cpu(tmp_path):
    """It may never end."""
    half = dict(output_size=8, attention_heads=2, linear_units=8, num_blocks=1)
    conf = dict(trunk_conf=half, branch_conf=dict(half, input_layer=None))
    options = dict(frontend="default", encoder="routed_espnet", input_size=None)
    model_file = save_tiny_model(tmp_path / "exp", encoder_conf=conf, **options)
    with pytest.raises(UserError, match="--dtype float16: this model's encoder may ne"):
        Speech2Text(None, model_file, dtype="float16")


@pytest.mark.parametrize("beam_size", [1, 3])
def test_spans_of_tokens(word_model, beam_size):
    speech2text = Speech2Text(None, word_model, beam_size=beam_size, align=True)
    ids = [0, 2, 2, 0, 2, 3, 0, 0]
    said = one_hot(ids, len(WORDS))
    hypothesis = hear(speech2text, said, one_hot([0] * 8, len(WORDS)))
    first, second = hypothesis.talkers
    assert first.text == "had had lunch"
    assert [(s.start, s.end) for s in first.spans] == [(1, 3), (4, 5), (5, 6)]
    sure = math.exp(10) / (math.exp(10) + len(WORDS) - 1)
    assert [s.probability for s in first.spans] == pytest.approx([sure] * 3)
    assert (second.text, second.spans) == ("", [])
    assert hypothesis.num_frames == 8


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_one_waveform_as_espnet_has_it(model_file, kind):
    speech2text = Speech2Text.from_pretrained(model_file, align=True)
    (expected,) = speech2text(WAVES[:1], [3])
    results = speech2text(kind(WAVES[0]), 3)
    assert len(results) == 3
    for nbest, talker in zip(results, expected.talkers):
        [(text, tokens, token_ids, hypothesis)] = nbest
        assert (text, tokens, token_ids) == (
            talker.text,
            talker.tokens,
            talker.token_ids,
        )
        assert hypothesis == talker
    counted = speech2text(WAVES[:1])[0].num_talkers
    assert len(speech2text(kind(WAVES[0]))) == counted


def test_from_pretrained(model_file):
    loaded = Speech2Text.from_pretrained(model_file.parent, num_talkers=2)
    assert loaded(WAVES) == Speech2Text(None, model_file, num_talkers=2)(WAVES)
    with pytest.raises(UserError, match="model nowhere: is not a folder"):
        Speech2Text.from_pretrained("nowhere")


def test_spans_do_not_depend_on_the_batch(model_file):
    speech2text = Speech2Text(None, model_file, align=True)
    batched = speech2text(WAVES, TWO_OR_THREE)
    for wave, count, together in zip(WAVES, TWO_OR_THREE, batched):
        (alone,) = speech2text([wave], [count])
        assert alone.num_frames == together.num_frames
        for one, other in zip(alone.talkers, together.talkers):
            assert [s[:2] for s in one.spans] == [s[:2] for s in other.spans]
            assert len(one.spans) == len(one.tokens)
    assert batched[0].num_frames > batched[1].num_frames > 0
    assert batched[-1].num_frames == 0
    # Without `align` all else is the same.
    plain = Speech2Text(None, model_file)(WAVES, TWO_OR_THREE)
    assert [h.sot_text for h in plain] == [h.sot_text for h in batched]
    assert plain[0].talkers[0].spans is None
