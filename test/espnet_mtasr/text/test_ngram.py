"""N-gram models: probabilities, pruning, files."""

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from espnet_mtasr.errors import UserError
from espnet_mtasr.text.ngram import Fit, Ngram, Order, pack
from espnet_mtasr.text.ngram_training import _discounts, train_ngram

TOKENS = ["<blank>", "a", "b", "c", "d"]
END = len(TOKENS)


def random_texts(number=300, seed=0):
    """Texts in which a unit depends on the two before it."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(number):
        text = [1]
        while len(text) < 20 and rng.random() > 0.1:
            text.append(1 + (sum(text[-2:]) + int(rng.random() > 0.8)) % 4)
        texts.append(np.array(text))
    return texts


def perplexity(ngram, texts):
    scores = []
    for text in texts:
        ids = [END, *text, END]
        scores += [ngram.log_probs(tuple(ids[:k]))[ids[k]] for k in range(1, len(ids))]
    return np.exp(-np.mean(scores))


@pytest.mark.parametrize("least", [(1,), (1, 1), (1, 1, 1, 1), (1, 1, 2, 3)])
def test_probabilities_sum_to_one(least):
    ngram = train_ngram(random_texts(), TOKENS, least)
    for context in [(END,), (END, 1), (1, 2, 3), (4, 4, 4), (0, 0), (2, 0, 1)]:
        assert np.exp(ngram.log_probs(context)).sum() == pytest.approx(1.0, abs=1e-5)


def test_longer_contexts_know_more():
    texts, others = random_texts(), random_texts(50, seed=1)
    by_length = [
        perplexity(train_ngram(texts, TOKENS, (1,) * n), others) for n in (1, 2, 3)
    ]
    # The units depend on two before them.
    assert by_length[0] > by_length[1] > by_length[2] + 0.5
    assert by_length[2] < 2.5


def test_kneser_ney_by_hand():
    """a b, a b, c b, c d: b follows two different units, d one."""
    texts = [np.array(text) for text in ([1, 2], [1, 2], [3, 2], [3, 4])]
    ngram = train_ngram(texts, TOKENS, (1, 1))
    # Different units before: b 2 (a, c), d 1 (c), a 1 and c 1 (the start), the end 2
    # (b, d): 7 in all, each discounted (0.5, 0.75); 3.5 of 7 go to 6 units evenly.
    lower = {2: 1.25 / 7, 4: 0.5 / 7, END: 1.25 / 7, 1: 0.5 / 7, 3: 0.5 / 7, 0: 0.0}
    rest = (1 - sum(lower.values())) / 6
    after_nothing = np.exp(ngram.log_probs((0,)))
    for unit, prob in lower.items():
        assert after_nothing[unit] == pytest.approx(prob + rest, abs=1e-6)
    # After c, b and d occur once each, discounted by 0.5: too little text for others.
    after_c = np.exp(ngram.log_probs((3,)))
    assert after_c[2] == pytest.approx(0.25 + after_nothing[2] / 2, abs=1e-6)
    assert after_c[4] == pytest.approx(0.25 + after_nothing[4] / 2, abs=1e-6)


def test_pruned():
    texts = random_texts()
    whole = train_ngram(texts, TOKENS, (1, 1, 1))
    pruned = train_ngram(texts, TOKENS, (1, 1, 50))
    assert len(pruned) < len(whole)
    assert pruned.orders[0].probs.tolist() == whole.orders[0].probs.tolist()
    with pytest.raises(UserError, match="--ngram_num 22: give 1 to 21, with 5 units"):
        train_ngram(texts, TOKENS, (1,) * 22)
    with pytest.raises(UserError, match="has no sentences"):
        train_ngram([], TOKENS, (1,))


def test_longer_ones_outlive_their_parts():
    """d c always follows a: as a part of a longer one it counts 1, and is pruned."""
    texts = [np.array([1, 4, 3, 2, 1])] * 3 + [np.array([2, 4]), np.array([3, 1])] * 3
    ngram = train_ngram(texts, TOKENS, (1, 1, 2, 2))
    three, four = ngram.orders[2:]
    bits = ngram._bits
    assert pack((4, 3), bits) not in three.contexts
    assert pack((1, 4, 3), bits) in four.contexts
    # After a d c there was always b, which the shorter contexts don't know as well.
    known = np.exp(ngram.log_probs((1, 4, 3)))[2]
    assert known > 0.6 > np.exp(ngram.log_probs((2, 4, 3)))[2]


@pytest.mark.parametrize("most", [5, 9, 25, 60, 10**6])
def test_at_most_so_many(most):
    """What is dropped leaves its probability to shorter ones, as by smallest counts."""
    found = train_ngram(random_texts(), TOKENS, (1, 1, 1), most)
    assert len(found) <= most
    for wanted in range(1, 9999):
        expected = train_ngram(random_texts(), TOKENS, (1, wanted, wanted))
        if len(expected) <= most:
            break
    assert len(found) == len(expected)
    for context in [(END,), (END, 1), (1, 2), (4, 4)]:
        assert found.log_probs(context) == pytest.approx(expected.log_probs(context))


@pytest.mark.parametrize("texts", [[[1]], [[1, 1]], [[2]] * 5, [[1, 2]] * 9 + [[3]]])
def test_little_text(texts):
    ngram = train_ngram([np.array(text) for text in texts], TOKENS, (1,) * 6)
    for context in [(END,), (END, 1), (1, 2), (4, 4)]:
        found = ngram.log_probs(context)
        assert np.isfinite(found).all() and np.exp(found).sum() == pytest.approx(1)


def test_written_and_read(tmp_path):
    path = tmp_path / "ngram.safetensors"
    ngram = train_ngram(random_texts(), TOKENS, (1, 1, 2))
    ngram.write(path)
    again = Ngram.read(path)
    for context in [(END,), (END, 1), (1, 2, 3), (4, 4, 4)]:
        found, kept = again.log_probs(context), ngram.log_probs(context)
        # Shares of three orders, each a step at most 1/16 too large or too small.
        assert 0 < np.abs(found - kept).max() < 3 / 32
        assert np.exp(found).sum() == pytest.approx(1.0)
    again.write(path)
    assert (
        Ngram.read(path).log_probs((END,)).tolist() == again.log_probs((END,)).tolist()
    )
    again.check_tokens(TOKENS, path)
    with pytest.raises(UserError, match="was trained with other units"):
        again.check_tokens(TOKENS[::-1], path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged(tmp_path, content):
    path = tmp_path / "ngram.safetensors"
    with pytest.raises(UserError, match="no such file; run stage 5"):
        Ngram.read(path)
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not an n-gram of"):
        Ngram.read(path)


@pytest.mark.parametrize(
    "name, change",
    [
        ("units", lambda units: units + 99),
        ("units", lambda units: units.astype(np.int8) - 9),
        ("coded_probs", lambda codes: codes[1:]),
        ("coded_probs", lambda codes: codes.astype(np.float32)),
        ("context_steps", lambda steps: steps * 0),
    ],
)
def test_what_cannot_be_an_ngram(tmp_path, name, change):
    path = tmp_path / "ngram.safetensors"
    train_ngram(random_texts(), TOKENS, (1, 1, 2)).write(path)
    arrays = load_file(path)
    with safe_open(path, framework="np") as file:
        entries = file.metadata()
    arrays[f"2.{name}"] = change(arrays[f"2.{name}"])
    save_file(arrays, path, entries)
    with pytest.raises(UserError, match="is not an n-gram of"):
        Ngram.read(path)


def test_shares_at_the_ends(tmp_path):
    """1, nothing, and less than a byte can tell."""
    path = tmp_path / "ngram.safetensors"
    shares = np.array([1.0, 0.0, 1e-30], np.float32)
    one = Order(np.array([0]), np.array([0, 3]), shares[1:2], np.arange(3), shares)
    Ngram(TOKENS, [one]).write(path)
    found = Ngram.read(path).orders[0]
    assert found.probs == pytest.approx([1.0, 0.0, np.exp(-254 / 16)])
    assert found.backoffs == [0.0] and found.probs[2] < 2e-7


@pytest.mark.parametrize(
    "beam_size, pair", [(8, (-1.0, 0.0)), (8, (1.0, np.nan)), (2.5, (1.0, 0.0))]
)
def test_a_fit_out_of_range(tmp_path, beam_size, pair):
    path = tmp_path / "ngram.safetensors"
    fit = Fit("m", beam_size, {2: pair})
    Ngram(TOKENS, train_ngram(random_texts(), TOKENS, (1, 1)).orders, fit).write(path)
    for read in (Ngram.read, Ngram.read_fit):
        with pytest.raises(UserError, match="is not an n-gram of"):
            read(path)


def test_discounts():
    """Of Chen and Goodman: 5 n-grams occur once, 3 twice, 2 three and 1 four times."""
    found = _discounts(np.array([1] * 5 + [2] * 3 + [3] * 2 + [4]))
    share = 5 / (5 + 2 * 3)
    expected = [0, 1 - 2 * share * 3 / 5, 2 - 3 * share * 2 / 3, 3 - 4 * share * 1 / 2]
    assert found == pytest.approx(expected)
    # More than what occurs can't be taken away.
    assert (_discounts(np.array([1, 2, 3])) < [1, 1, 2, 3]).all()
