"""A curriculum: what an epoch hears, and what later talker counts start from."""

from collections import Counter

import pytest
import torch
from helpers.tiny_data import (
    make_tiny_data,
    phase_config,
    training_options,
    write_config,
)
from helpers.tiny_models import make_tiny_llm, make_tiny_wavlm

from espnet_mtasr.asr.separator.lstm_separator import LSTMSeparator
from espnet_mtasr.asr.serialized_ctc import SerializedCTC
from espnet_mtasr.bin.mtasr_train import main
from espnet_mtasr.errors import UserError
from espnet_mtasr.train.batches import idle
from espnet_mtasr.train.curriculum import (
    Curriculum,
    CurriculumIterFactory,
    copy_as_far_as_alike,
)

STAGES = [
    dict(from_epoch=1, shares={1: 1.0}),
    dict(from_epoch=3, shares={1: 0.25, 2: 0.75}),
    dict(from_epoch=6, shares={2: 0.4, 3: 0.6}),
]


def stage(epoch, **shares):
    return dict(from_epoch=epoch, shares={int(k[1:]): v for k, v in shares.items()})


def test_stages():
    curriculum = Curriculum(STAGES, [1, 2, 3])
    shares = [dict(curriculum.shares(epoch)) for epoch in (1, 2, 3, 5, 6, 99)]
    assert shares == [
        {1: 1.0},
        {1: 1.0},
        {1: 0.25, 2: 0.75},
        {1: 0.25, 2: 0.75},
        {2: 0.4, 3: 0.6},
        {2: 0.4, 3: 0.6},
    ]
    assert curriculum.first_epochs() == {1: 1, 2: 3, 3: 6}
    sources = [curriculum.sources(epoch) for epoch in (1, 2, 3, 4, 6)]
    assert sources == [[], [], [(2, 1)], [], [(3, 2)]]


def test_counts_that_begin_together_have_no_source_in_each_other():
    together = Curriculum([stage(1, _1=1.0), stage(4, _2=0.5, _3=0.5)], [1, 2, 3])
    assert together.sources(4) == [(2, 1), (3, 1)]
    assert Curriculum([stage(1, _2=0.5, _3=0.5)], [2, 3]).sources(1) == []


@pytest.mark.parametrize(
    "conf, message",
    [
        ([], "give a list of stages"),
        ({"from_epoch": 1}, "give a list of stages"),
        ([dict(from_epoch=1)], "stage 1: .*give from_epoch and shares"),
        ([stage(1, _1=1.0), dict(from_epoch="2", shares={})], "stage 2: from_epoch 2"),
        ([stage(1, _1=0.5, _2=0.4, _3=0.2)], "stage 1: shares .* with a sum of 1"),
        ([stage(1, _1=1.5, _2=-0.5)], "a share above 0"),
        ([stage(1, _1=True and "1")], "a share above 0"),
        ([dict(stage(1, _1=1.0), batches=0)], "stage 1: batches 0: give a number"),
        ([dict(stage(1, _1=1.0), copy="ctc")], "stage 1: copy ctc: give a list"),
        ([dict(stage(1, _1=1.0), copy=["head"])], "stage 1: copy .'head'.: give"),
        ([dict(stage(1, _1=1.0), epochs=2)], "stage 1: .*give from_epoch and shares"),
        ([stage(2, _1=1.0)], r"from_epoch \[2\]: begin with 1"),
        (
            [stage(1, _1=1.0), stage(1, _2=1.0)],
            "begin each stage later than the previous one",
        ),
        ([stage(1, _1=1.0), stage(2, _2=1.0)], r"counts \[1, 2\], the model \[1, 2, 3"),
    ],
)
def test_mistakes(conf, message):
    with pytest.raises(UserError, match=message):
        Curriculum(conf, [1, 2, 3])


def make_factory(number=12, **options):
    """Mixtures of 1, 2 and 3 talkers, of 40 to 110 samples; a batch has 500."""
    samples, counts = {}, {}
    for count, n in ((1, 37), (2, 50), (3, 23)):
        for k in range(n):
            samples[f"{count}-{k}"] = 40 + (k * 7) % 41 + 15 * (count - 1)
            counts[f"{count}-{k}"] = count
    curriculum = Curriculum(STAGES, [1, 2, 3])
    return samples, CurriculumIterFactory(
        list, samples, counts, curriculum, 500, number, **options
    )


def seconds_of(samples, utts):
    heard = Counter()
    for utt in utts:
        heard[int(utt[0])] += samples[utt]
    return heard


def test_epochs_have_their_shares_of_audio():
    samples, factory = make_factory(number=40)
    for epoch in range(1, 12):
        heard = seconds_of(samples, factory.epoch_utts(epoch))
        wanted = factory.curriculum.shares(epoch)
        assert heard.keys() == wanted.keys()
        for count, share in wanted.items():
            # A mixture lies in the epoch that it begins in.
            assert abs(heard[count] - share * 40 * 500) <= 160


def test_a_stage_may_have_epochs_of_its_own_length():
    """A short epoch for a flat start, say; the others have 40 batches."""
    stages = [dict(STAGES[0], batches=4), dict(STAGES[1], from_epoch=2), STAGES[2]]
    samples, factory = make_factory(number=40)
    factory.curriculum = Curriculum(stages, [1, 2, 3])
    wholes = [
        sum(seconds_of(samples, factory.epoch_utts(epoch)).values())
        for epoch in (1, 2, 3)
    ]
    assert [round(whole / 500) for whole in wholes] == [4, 40, 40]


def test_all_mixtures_come_before_one_comes_again():
    samples, factory = make_factory()
    heard = {1: [], 2: [], 3: []}
    for epoch in range(1, 40):
        for utt in factory.epoch_utts(epoch):
            heard[int(utt[0])].append(utt)
    for count, utts in heard.items():
        whole = sum(name.startswith(f"{count}-") for name in samples)
        passes = [utts[k : k + whole] for k in range(0, len(utts), whole)]
        assert len(passes) > 3
        # An epoch's mixtures are sorted by nothing, but two passes may meet in one.
        assert all(len(set(one)) == len(one) for one in passes)
        assert passes[0] != passes[1]


def test_without_a_number_an_epoch_has_as_much_audio_as_there_is():
    samples, factory = make_factory(number=None)
    assert sorted(factory.epoch_utts(1)) == sorted(s for s in samples if s[0] == "1")
    heard = seconds_of(samples, factory.epoch_utts(3))
    whole = sum(size for utt, size in samples.items() if utt[0] in "12")
    assert abs(heard[2] - 0.75 * whole) <= 160


def test_batches_have_like_lengths_of_all_counts_and_fit():
    samples, factory = make_factory(number=60)
    batches = factory.epoch_batches(4)
    assert sorted(sum(batches, [])) == sorted(factory.epoch_utts(4))
    mixed = 0
    for batch in batches:
        sizes = [samples[utt] for utt in batch]
        assert len(batch) * max(sizes) <= 500
        assert max(sizes) - min(sizes) <= 40
        mixed += len({utt[0] for utt in batch}) > 1
    assert mixed > len(batches) / 3
    firsts = [samples[batch[0]] for batch in batches]
    assert firsts != sorted(firsts) and firsts != sorted(firsts, reverse=True)


def test_an_epoch_depends_on_nothing_before_it():
    _, one = make_factory()
    _, other = make_factory()
    for epoch in range(1, 7):
        one.epoch_batches(epoch)
    assert one.epoch_batches(7) == other.epoch_batches(7)
    _, another = make_factory(seed=1)
    assert another.epoch_batches(7) != other.epoch_batches(7)


def test_processes_share_each_batch():
    _, alone = make_factory()
    shares = [make_factory(processes=2, rank=r)[1].epoch_batches(5) for r in (0, 1)]
    assert len(shares[0]) == len(shares[1])
    assert all(one and other for one, other in zip(*shares))
    heard = [u for share in shares for batch in share for u in batch]
    assert sorted(heard) == sorted(alone.epoch_utts(5))


def test_processes_have_like_shares_and_steps_are_full():
    samples, _ = make_factory(number=40)
    for accum_grad in (1, 3):
        options = dict(number=40, processes=3, accum_grad=accum_grad)
        ranks = [make_factory(**options, rank=r)[1].epoch_batches(5) for r in range(3)]
        batches = list(zip(*ranks, strict=True))
        assert len(batches) % accum_grad == 0
        assert idle(batches, samples) < 0.05


def test_a_count_without_mixtures():
    with pytest.raises(UserError, match="no mixtures of 3 talkers"):
        CurriculumIterFactory(
            list, {"a": 1, "b": 1}, {"a": 1, "b": 2}, Curriculum(STAGES, [1, 2, 3]), 9
        )


def test_copies():
    torch.manual_seed(0)
    two, three = LSTMSeparator(4, 2, 8, 1), LSTMSeparator(4, 3, 8, 1)
    copy_as_far_as_alike(two, three)
    state, source = three.state_dict(), two.state_dict()
    assert all(torch.equal(state[name], value) for name, value in source.items())
    last = "projections.1.weight"
    assert torch.equal(state["projections.2.weight"], source[last])
    heads, more = SerializedCTC(7, 4, 1), SerializedCTC(7, 4, 3)
    copy_as_far_as_alike(heads, more)
    for k in range(3):
        assert torch.equal(more.heads[k].ctc_lo.weight, heads.heads[0].ctc_lo.weight)
    # What has another form keeps its own weights.
    wider = LSTMSeparator(4, 2, 9, 1)
    before = {name: value.clone() for name, value in wider.state_dict().items()}
    copy_as_far_as_alike(two, wider)
    assert all(torch.equal(before[n], v) for n, v in wider.state_dict().items())


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """12 mixtures, 6 of each talker count; three talkers come with epoch 3."""
    root = tmp_path_factory.mktemp("lab")
    encoder, llm = make_tiny_wavlm(root / "encoder"), make_tiny_llm(root / "llm")
    make_tiny_data(root / "data", llm, copies=2)
    config = phase_config(encoder, llm, 2)
    config["model_conf"]["ctc_weight"] = 1.0
    config.update(teacher=None, freeze_param=["encoder.trunk"], accum_grad=1)
    config.update(batch_type="folded", batch_seconds=2.5, num_iters_per_epoch=2)
    config["curriculum"] = [stage(1, _2=1.0), stage(3, _2=0.5, _3=0.5)]
    config.update(max_epoch=4, keep_nbest_models=4)
    write_config(root / "config.yaml", config)
    return root


def train(lab, folder, *more):
    main(
        ["--config", str(lab / "config.yaml"), "--output_dir", str(folder)]
        + [*training_options(lab / "data"), *more]
    )
    return {
        epoch: torch.load(folder / f"{epoch}epoch.pth", weights_only=True)
        for epoch in range(1, 5)
        if (folder / f"{epoch}epoch.pth").exists()
    }


def parts(state, count):
    names = (f"encoder.branches.{count}.", f"separator.{count}.", f"ctc.{count}.")
    return {name: value for name, value in state.items() if name.startswith(names)}


def test_training(lab, tmp_path):
    """Three talkers wait, start from two, and a resumed training does the same."""
    epochs = train(lab, tmp_path / "whole")
    assert len(epochs) == 4

    def changed(one, other, count):
        pairs = zip(parts(one, count).values(), parts(other, count).values())
        return not all(torch.equal(a, b) for a, b in pairs)

    assert changed(epochs[1], epochs[2], 2)
    assert not changed(epochs[1], epochs[2], 3)
    assert changed(epochs[2], epochs[3], 3)
    # What the third epoch began with: two steps away from the second's two talkers.
    name = "separator.{}.lstm.weight_ih_l0"
    near = (epochs[3][name.format(3)] - epochs[2][name.format(2)]).abs().max()
    far = (epochs[3][name.format(3)] - epochs[2][name.format(3)]).abs().max()
    assert near < 0.1 < far

    train(lab, tmp_path / "parts", "--max_epoch", "2")
    resumed = train(lab, tmp_path / "parts", "--resume", "true")
    for name, value in epochs[4].items():
        assert torch.equal(value, resumed[4][name]), name


def test_only_what_is_to_be_copied(lab, tmp_path):
    """As where phase 1 has trained the branches: theirs stay."""
    words = "[{from_epoch: 1, shares: {2: 1.0}}, {from_epoch: 2, shares: {3: 1.0}, "
    epochs = train(
        lab,
        tmp_path,
        *("--curriculum", words + "copy: [separator, ctc]}]", "--max_epoch", "2"),
        # What was copied is then as good as unchanged.
        *("--optim_conf", "lr=1.0e-9"),
    )
    for name, value in parts(epochs[2], 3).items():
        source = name.replace(".3.", ".2.", 1)
        if not name.startswith("encoder."):
            if source in epochs[1]:
                assert torch.allclose(value, epochs[1][source], atol=1e-4), name
        else:
            assert torch.allclose(value, epochs[1][name], atol=1e-4), name


def test_it_needs_batches_by_seconds(lab, tmp_path):
    with pytest.raises(UserError, match="curriculum: needs batches by seconds"):
        train(lab, tmp_path, "--batch_seconds", "none")
    with pytest.raises(UserError, match="shares .* with a sum of 1"):
        train(lab, tmp_path, "--curriculum", "[{from_epoch: 1, shares: {2: 0.5}}]")
