"""MTASRModel: METHOD's definitions of the losses, of frozen parts and of statistics."""

import math

import pytest
import torch
from helpers.tiny_models import make_batch, make_model, make_tiny_llm, rows_of

from espnet_mtasr.asr.flat_start import flat_start_loss, place_evenly
from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.asr.talker_activity import activity_loss
from espnet_mtasr.train.trainer import split_per_count

# Two rows of two talkers, two of three; the rest of the arguments: frames.
COUNTS, FRAMES = (2, 3, 2, 3), (12, 15, 9, 11)


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return make_tiny_llm(tmp_path_factory.mktemp("llm"))


@pytest.fixture(scope="module")
def shared_model(llm):
    """Weights 0.7 and 0.5, in evaluation mode; tests leave it as it is."""
    return make_model(llm, ctc_weight=0.7, count_weight=0.5).eval()


def run(model, batch):
    """Loss, statistics as the trainer reports them, and weight."""
    loss, stats, weight = model(**batch)
    stats, per_count = split_per_count(stats, weight)
    stats.update({name: mean for name, (mean, _) in per_count.items()})
    return loss, {name: float(value) for name, value in stats.items()}, int(weight)


def parts_by_hand(model, batch, row):
    """L_ctc, L_sot and L_count of one row, from the parts, unpadded and alone."""
    alone = rows_of(batch, [row])
    count = sum(int(alone[f"text_spk{k}_lengths"]) > 0 for k in (1, 2, 3))
    trunk = model.encode_trunk(alone["speech"], alone["speech_lengths"])
    hidden, lengths = model.encoder.encode_branch(trunk, count)
    streams = model.separator[str(count)](hidden, lengths)
    nll, tokens = 0.0, 0
    for k, stream in enumerate(streams):
        ids = alone[f"text_spk{k + 1}"]
        head = model.ctc[str(count)].heads[k].ctc_lo
        nll += torch.nn.functional.ctc_loss(
            head(stream).log_softmax(-1).transpose(0, 1),
            ids,
            lengths,
            torch.tensor([ids.size(1)]),
            reduction="sum",
        )
        tokens += ids.size(1)
    sot = model.teacher(hidden, lengths, alone["text"], alone["text_lengths"])
    log_probs = model.count_talkers(trunk)[0]
    return nll / tokens, sot.loss[0], -log_probs[model.talker_counts.index(count)]


@torch.no_grad()
def test_weakness_9_and_10_loss_is_the_weighted_sum_of_per_token_losses(shared_model):
    """`ctc_weight` is exactly the share of CTC; both are per token, then per utterance.

    Every term is worked out row by row with torch's own CTC and the parts themselves.
    """
    batch = make_batch(COUNTS, FRAMES)
    loss, stats, weight = run(shared_model, batch)
    rows = [parts_by_hand(shared_model, batch, row) for row in range(4)]
    ctc, sot, count = (float(sum(values)) / 4 for values in zip(*rows))
    assert weight == 4
    assert stats["loss_ctc"] == pytest.approx(ctc, rel=1e-4)
    assert stats["loss_sot"] == pytest.approx(sot, rel=1e-4)
    assert stats["loss_count"] == pytest.approx(count, rel=1e-4)
    assert float(loss) == pytest.approx(0.7 * ctc + 0.3 * sot + 0.5 * count, rel=1e-4)
    assert stats["loss"] == pytest.approx(float(loss))
    assert stats["unalignable"] == 0.0
    for at, name in ((0, "ctc"), (1, "sot"), (2, "count")):
        for talkers, members in ((2, (0, 2)), (3, (1, 3))):
            wanted = sum(float(rows[row][at]) for row in members) / 2
            measured = stats[f"loss_{name}_{talkers}spk"]
            assert measured == pytest.approx(wanted, rel=1e-4)


def with_flat_start(batch, share):
    """The batch with tokens that share the whole mixture's time."""
    times = {}
    for k in (1, 2, 3):
        ids, lengths = batch[f"text_spk{k}"], batch[f"text_spk{k}_lengths"]
        placed = torch.zeros(*ids.shape, 2)
        for row, n in enumerate(lengths.tolist()):
            places = place_evenly(["a"] * n, 0.0, 1.0)
            placed[row, :n] = torch.from_numpy(places)
        times[f"text_spk{k}_times"] = placed
        times[f"text_spk{k}_times_lengths"] = lengths
    times["flat_start"] = torch.full((len(ids), 1), share)
    times["flat_start_lengths"] = torch.ones(len(ids), dtype=torch.long)
    return {**batch, **times}


@torch.no_grad()
def test_a_flat_start_has_its_share_of_the_ctc_loss(shared_model):
    batch = make_batch(COUNTS, FRAMES)
    plain, stats, _ = run(shared_model, batch)
    losses = {}
    for share in (0.0, 0.25, 1.0):
        losses[share], found, _ = run(shared_model, with_flat_start(batch, share))
        # What is reported is CTC's own loss.
        assert found["loss_ctc"] == stats["loss_ctc"]
    assert losses[0.0] == pytest.approx(plain)
    between = 0.75 * losses[0.0] + 0.25 * losses[1.0]
    assert float(losses[0.25]) == pytest.approx(float(between))

    full = with_flat_start(batch, 1.0)
    placed = []
    for row in range(4):
        alone = rows_of(full, [row])
        count = COUNTS[row]
        trunk = shared_model.encode_trunk(alone["speech"], alone["speech_lengths"])
        hidden, lengths = shared_model.encoder.encode_branch(trunk, count)
        streams = shared_model.separator[str(count)](hidden, lengths)
        names = [f"text_spk{k}" for k in range(1, count + 1)]
        placed += flat_start_loss(
            shared_model.ctc[str(count)].log_probs(streams),
            lengths,
            [alone[name] for name in names],
            torch.stack([alone[f"{name}_lengths"] for name in names], 1),
            [alone[f"{name}_times"] for name in names],
        ).tolist()
    change = sum(placed) / 4 - stats["loss_ctc"]
    assert float(losses[1.0] - plain) == pytest.approx(0.7 * change, rel=1e-3)


@torch.no_grad()
def test_activity_has_its_factor_where_times_are_known():
    batch = make_batch(COUNTS, FRAMES)
    times = torch.zeros(4, 1, 3, 2)
    times[:, 0, :2, 1] = torch.tensor([0.5, 1.0])
    model = make_model(ctc_weight=1.0, count_weight=0.5, activity_weight=0.25).eval()
    plain, without, _ = run(model, batch)
    assert "loss_activity" not in without
    loss, stats, _ = run(model, {**batch, "talker_times": times})
    rows = []
    for row in range(4):
        alone = rows_of(batch, [row])
        trunk = model.encode_trunk(alone["speech"], alone["speech_lengths"])
        _, logits = model.count_head.with_activity(trunk.hidden, trunk.lengths)
        rows.append(activity_loss(logits, trunk.lengths, times[[row]]).item())
    assert stats["loss_activity"] == pytest.approx(sum(rows) / 4, rel=1e-4)
    assert float(loss - plain) == pytest.approx(0.25 * sum(rows) / 4, rel=1e-3)
    for talkers, members in ((2, (0, 2)), (3, (1, 3))):
        wanted = sum(rows[row] for row in members) / 2
        assert stats[f"loss_activity_{talkers}spk"] == pytest.approx(wanted, rel=1e-4)


def test_activity_needs_the_count_head():
    with pytest.raises(ValueError, match="activity_weight 1.0 is the talker-count"):
        make_model(ctc_weight=1.0, count_weight=0.0, activity_weight=1.0)


@torch.no_grad()
def test_weakness_9_shares_at_every_alpha(llm):
    batch = make_batch(COUNTS, FRAMES)
    model = make_model(llm, ctc_weight=0.5, count_weight=0.0).eval()
    _, stats, _ = run(model, batch)
    for alpha in (0.0, 0.25, 1.0):
        model.ctc_weight = alpha
        loss, _, _ = run(model, batch)
        wanted = alpha * stats["loss_ctc"] + (1 - alpha) * stats["loss_sot"]
        assert float(loss) == pytest.approx(wanted, rel=1e-5)


@torch.no_grad()
def test_weakness_2_the_last_target_token_of_the_longest_row_counts(shared_model):
    """Of CTC and of the teacher; another last token gives another loss."""
    batch = make_batch((2, 2), (12, 12), [(5, 3), (2, 3)])
    _, before, _ = run(shared_model, batch)
    for name, stat in (("text_spk1", "loss_ctc"), ("text", "loss_sot")):
        row = int(batch[f"{name}_lengths"].argmax())
        last = int(batch[f"{name}_lengths"][row]) - 1
        assert last == batch[name].size(1) - 1
        changed = {**batch, name: batch[name].clone()}
        changed[name][row, last] = 7 if batch[name][row, last] != 7 else 6
        _, after, _ = run(shared_model, changed)
        assert after[stat] != pytest.approx(before[stat], rel=1e-4)


@torch.no_grad()
def test_weakness_3_padding_changes_no_statistic(shared_model):
    """A batch gives the mean of what each utterance alone gives."""
    batch = make_batch(COUNTS, (40, 9, 7, 25))
    _, stats, _ = run(shared_model, batch)
    alone = [run(shared_model, rows_of(batch, [row]))[1] for row in range(4)]
    for name in ("loss", "loss_ctc", "loss_sot", "loss_count", "acc_sot", "acc_count"):
        wanted = sum(row[name] for row in alone) / 4
        assert stats[name] == pytest.approx(wanted, rel=1e-4), name


def test_weakness_8_mixed_counts_equal_the_mean_of_homogeneous_batches(llm):
    """Loss, and the gradient of every parameter, in one batch of 2 and 3 talkers."""
    model = make_model(llm, ctc_weight=0.7, count_weight=0.5).eval()
    batch = make_batch((3, 2, 3, 3, 2), (12, 9, 14, 11, 13))
    whole = gradients(model, batch, 1.0)
    parts = [
        gradients(model, rows_of(batch, rows), len(rows) / 5)
        for rows in ([1, 4], [0, 2, 3])
    ]
    assert parts[0]["loss"] + parts[1]["loss"] == pytest.approx(whole.pop("loss"), 1e-5)
    assert whole.keys() == {n for n, p in model.named_parameters() if p.requires_grad}
    for name, gradient in whole.items():
        zero = torch.zeros_like(gradient)
        summed = parts[0].get(name, zero) + parts[1].get(name, zero)
        torch.testing.assert_close(summed, gradient, rtol=1e-3, atol=1e-6, msg=name)


def gradients(model, batch, factor):
    model.zero_grad()
    loss, _, _ = model(**batch)
    (factor * loss.sum()).backward()
    return {
        "loss": factor * float(loss.detach()),
        **{
            n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
        },
    }


@torch.no_grad()
def test_unalignable_utterances_are_left_out_of_everything(shared_model):
    """Row 1 has 4 frames for 5 tokens in its second stream, row 3 no frame at all."""
    counts, frames = (2, 2, 3, 3), (12, 4, 15, 0)
    lengths = [(2, 3), (2, 5), (2, 3, 2), (1, 1, 1)]
    batch = make_batch(counts, frames, lengths)
    loss, stats, weight = run(shared_model, batch)
    kept_loss, kept, kept_weight = run(shared_model, rows_of(batch, [0, 2]))
    assert (weight, kept_weight) == (2, 2)
    assert stats.pop("unalignable") == 0.5
    assert kept.pop("unalignable") == 0.0
    assert stats == pytest.approx(kept, rel=1e-4)
    assert float(loss) == pytest.approx(float(kept_loss), rel=1e-4)


@torch.no_grad()
def test_a_repeat_needs_a_frame_more(shared_model):
    batch = make_batch((2,), (4,), [(4, 2)])
    assert run(shared_model, batch)[2] == 1
    batch["text_spk1"][0] = torch.tensor([3, 3, 4, 5])
    assert int(run(shared_model, batch)[2]) == 0


@pytest.mark.parametrize("ctc_weight", [0.0, 0.7])
def test_nothing_alignable_gives_a_zero_that_can_be_trained_on(llm, ctc_weight):
    """Phase 1 as well: DDP's other ranks wait for this one's backward pass."""
    model = make_model(llm, ctc_weight=ctc_weight, count_weight=0.5)
    batch = make_batch((2, 3), (0, 2), [(1, 1), (3, 1, 1)])
    loss, stats, weight = model(**batch)
    # The weight may be divided by, and counts for nothing beside a row's.
    assert float(loss) == 0.0 and 0.0 < float(weight) and 1.0 + weight == 1.0
    # Finite, or averages over processes would lose those of the others.
    assert float(stats.pop("unalignable")) == 1.0
    assert {float(value) for value in stats.values()} == {0.0}
    loss.backward()
    got = [p.grad for p in model.parameters() if p.grad is not None]
    assert got and all((gradient == 0).all() for gradient in got)
    # No talker count has anything to say.
    _, stats, weight = run(model, make_batch((2,), (0,), [(1, 1)]))
    assert int(weight) == 0
    assert all(math.isnan(v) == name.endswith("spk") for name, v in stats.items())


def test_unalignable_rows_send_no_gradient(llm):
    model = make_model(llm, ctc_weight=0.7, count_weight=0.5).eval()
    batch = make_batch((2, 2), (12, 3), [(2, 3), (2, 5)])
    both = gradients(model, batch, 1.0)
    kept = gradients(model, rows_of(batch, [0]), 1.0)
    assert both.keys() == kept.keys()
    for name, gradient in kept.items():
        if name != "loss":
            torch.testing.assert_close(
                both[name], gradient, rtol=1e-3, atol=1e-6, msg=name
            )


def test_a_teacher_may_read_every_second_row(llm, monkeypatch):
    """The loss stays the mean over all rows, estimated for each talker count."""
    counts, frames = (2, 3, 2, 2, 3, 2, 2), (12, 15, 9, 11, 14, 10, 3)
    lengths = [(2, 3, 2)[:count] for count in counts[:6]] + [(9, 9)]
    batch = make_batch(counts, frames, lengths)
    model = make_model(llm, ctc_weight=0.0, count_weight=0.0).eval()
    rows = [run(model, rows_of(batch, [k]))[1]["loss_sot"] for k in range(6)]
    everything = run(model, batch)[1]
    model.teacher_every = 2
    assert run(model, batch)[1] == everything
    read = []
    forward = model.teacher.forward
    monkeypatch.setattr(
        model.teacher,
        "forward",
        lambda *args: read.append(len(args[0])) or forward(*args),
    )
    monkeypatch.setattr(model, "training", True)
    loss, stats, weight = run(model, batch)
    # Of two talkers rows 0, 2, 3 and 5 can be aligned, of three 1 and 4.
    assert (read, weight) == ([2, 1], 6)
    for talkers, members in ((2, (0, 2, 3, 5)), (3, (1, 4))):
        chosen = [sum(rows[k] for k in members[n::2]) for n in (0, 1)]
        means = [total / (len(members) / 2) for total in chosen]
        got = stats[f"loss_sot_{talkers}spk"]
        assert got == pytest.approx(min(means, key=lambda m: abs(m - got)), rel=1e-4)
    wanted = (4 * stats["loss_sot_2spk"] + 2 * stats["loss_sot_3spk"]) / 6
    assert float(loss) == stats["loss_sot"] == pytest.approx(wanted, rel=1e-4)
    # The same rows again: a resumed training must not differ.
    assert run(model, batch)[1] == stats
    with pytest.raises(ValueError, match="teacher_every 0: give 1 or more"):
        make_model(llm, teacher_every=0)


@torch.no_grad()
def test_statistics_have_the_same_keys_whatever_the_batch_holds(shared_model):
    two = run(shared_model, make_batch((2, 2), (12, 9)))[1]
    three = run(shared_model, make_batch((3,), (12,)))[1]
    none = run(shared_model, make_batch((2,), (1,), [(3, 3)]))[1]
    assert list(two) == list(three) == list(none)
    for stats, absent in ((two, 3), (three, 2)):
        for name, value in stats.items():
            assert math.isnan(value) == name.endswith(f"_{absent}spk"), name


@torch.no_grad()
def test_losses_that_are_not_used_are_not_reported(llm):
    batch = make_batch(COUNTS, FRAMES)
    phase1 = make_model(llm, ctc_weight=0.0, count_weight=0.0)
    assert set(run(phase1, batch)[1]) == {
        "loss",
        "unalignable",
        *("loss_sot", "loss_sot_2spk", "loss_sot_3spk"),
        *("acc_sot", "acc_sot_2spk", "acc_sot_3spk"),
    }
    alone = make_model(None, ctc_weight=1.0, count_weight=0.0)
    assert set(run(alone, batch)[1]) == {
        "loss",
        "unalignable",
        *("loss_ctc", "loss_ctc_2spk", "loss_ctc_3spk"),
    }


@torch.no_grad()
def test_one_talker_is_a_count_too(llm):
    model = make_model(llm, talker_counts=(1, 2), ctc_weight=0.5, count_weight=1.0)
    batch = make_batch((1, 2), (9, 12), max_talkers=2)
    loss, stats, weight = run(model, batch)
    assert weight == 2 and math.isfinite(float(loss))
    assert math.isfinite(stats["loss_ctc_1spk"])


@torch.no_grad()
def test_batches_that_cannot_be_right(shared_model):
    with pytest.raises(ValueError, match=r"talker counts \[1\].*\(2, 3\)"):
        shared_model(**make_batch((1, 2), (9, 12)))
    batch = make_batch((2,), (9,))
    # A talker without words between two with: the third one's text would be lost.
    batch["text_spk3"], batch["text_spk2"] = batch["text_spk2"], batch["text_spk3"]
    batch["text_spk3_lengths"], batch["text_spk2_lengths"] = (
        batch["text_spk2_lengths"],
        batch["text_spk3_lengths"],
    )
    with pytest.raises(ValueError, match="text_spk2"):
        shared_model(**batch)
    del batch["text_spk1"]
    with pytest.raises(ValueError, match="text_spk1 is missing"):
        shared_model(**batch)


@pytest.mark.parametrize(
    "weights, drop, message",
    [
        (dict(ctc_weight=1.1), (), "ctc_weight"),
        (dict(ctc_weight=-0.1), (), "ctc_weight"),
        (dict(count_weight=-1.0), (), "count_weight"),
        (dict(ctc_weight=0.5), ("separator",), "needs separator and ctc"),
        (dict(count_weight=0.5), ("count_head",), "needs a count_head"),
    ],
)
def test_weights_without_their_parts(weights, drop, message):
    whole = make_model(None)
    parts = dict(
        separator={int(n): m for n, m in whole.separator.items()},
        ctc={int(n): m for n, m in whole.ctc.items()},
        count_head=whole.count_head,
    )
    for name in drop:
        parts[name] = None
    with pytest.raises(ValueError, match=message):
        MTASRModel(8, list("abcdefgh"), whole.encoder, **parts, **weights)


def test_no_teacher_trains_only_with_ctc_weight_1():
    model = make_model(None, ctc_weight=0.7)
    with pytest.raises(ValueError, match="needs a teacher"):
        model(**make_batch(COUNTS, FRAMES))


class TestFrozen:
    """Phase 2: trunk and teacher frozen."""

    @pytest.fixture
    def model(self, llm):
        model = make_model(llm, ctc_weight=0.7, count_weight=0.5)
        model.encoder.trunk.requires_grad_(False)
        model.teacher.requires_grad_(False)
        return model.train()

    def test_sot_loss_alone_gives_the_branch_a_gradient_and_the_teacher_none(
        self, model
    ):
        model.ctc_weight, model.count_weight = 0.0, 0.0
        model(**make_batch(COUNTS, FRAMES))[0].backward()
        got = {n for n, p in model.named_parameters() if p.grad is not None}
        assert got == {
            n for n, _ in model.named_parameters() if n.startswith("encoder.branches.")
        }
        for name, parameter in model.named_parameters():
            assert name not in got or parameter.grad.abs().sum() > 0, name

    def test_all_losses_reach_what_they_train(self, model):
        model(**make_batch(COUNTS, FRAMES))[0].backward()
        for name, parameter in model.named_parameters():
            frozen = name.startswith(("encoder.trunk.", "teacher."))
            assert (parameter.grad is None) == frozen, name

    def test_train_leaves_frozen_parts_in_evaluation_mode(self, model):
        awake = {name for name, module in model.named_modules() if module.training}
        assert "encoder.branches.2" in awake and "separator.2.lstm" in awake
        assert "count_head" in awake
        frozen = ("encoder.trunk", "teacher")
        assert not {name for name in awake if name.startswith(frozen)}
        # Also from outside, as DDP does it, and once thawed they wake up.
        torch.nn.Sequential(model).train()
        assert not model.teacher.training and not model.encoder.trunk.training
        model.teacher.requires_grad_(True)
        model.train()
        assert model.teacher.training
        assert not any(m.training for m in model.eval().modules())

    def test_dropout_of_frozen_parts_sleeps(self, llm):
        """A frozen trunk gives the same output twice in training."""
        model = make_model(llm).train()
        batch = make_batch(COUNTS, FRAMES)
        speech = (batch["speech"], batch["speech_lengths"])
        first, second = (model.encode_trunk(*speech).hidden for _ in range(2))
        assert not torch.equal(first, second)
        model.encoder.trunk.requires_grad_(False)
        model.train()
        first, second = (model.encode_trunk(*speech).hidden for _ in range(2))
        assert torch.equal(first, second)

    def test_the_count_head_alone_runs_nothing_else(self, model):
        """Same loss as with all parts, though neither branches nor teacher run."""
        batch = make_batch(COUNTS, FRAMES)
        _, whole, _ = model.eval()(**batch)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith("count_head."))
        model.teacher = None  # ctc_weight is 0.7 all the same
        for branch in model.encoder.branches.values():
            branch.forward = None
        loss, stats, weight = model(**batch)
        assert weight == len(COUNTS)
        assert stats["loss_count"] == pytest.approx(float(whole["loss_count"]))
        assert float(loss) == pytest.approx(0.5 * float(whole["loss_count"]))
        assert not [name for name in stats if "ctc" in name or "sot" in name]
        loss.backward()
        got = {n for n, p in model.named_parameters() if p.grad is not None}
        assert got == {
            n for n, _ in model.named_parameters() if n.startswith("count_head.")
        }

    def test_frozen_trunk_builds_no_graph(self, model):
        batch = make_batch(COUNTS, FRAMES)
        speech = (batch["speech"], batch["speech_lengths"])
        model.encoder.trunk.forward = spy = Spy(model.encoder.trunk.forward)
        assert not model.encode_trunk(*speech).hidden.requires_grad
        model.encoder.trunk.requires_grad_(True)
        assert model.encode_trunk(*speech).hidden.requires_grad
        assert spy.grad_enabled == [False, True]


class Spy:
    """Call a function and note whether gradients were on."""

    def __init__(self, function):
        self.function, self.grad_enabled = function, []

    def __call__(self, *args):
        self.grad_enabled.append(torch.is_grad_enabled())
        return self.function(*args)
