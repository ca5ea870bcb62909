"""`batch_seconds` through the task: batches, processes, resume, wrong options."""

import pytest
import torch
from espnet2.train.distributed_utils import DistributedOption
from helpers.tiny_data import (
    TEXTS,
    make_tiny_data,
    phase_config,
    training_options,
    write_config,
)
from helpers.tiny_models import make_tiny_llm, make_tiny_wavlm

from espnet_mtasr.bin.mtasr_train import main
from espnet_mtasr.data.tables import read_table, write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.tasks.mtasr import MTASRTask
from espnet_mtasr.tasks.seconds_batches import read_samples, read_talker_counts

MASKING = dict(time_prob=0.3, time_length=2, feature_prob=0.2, feature_length=2)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """12 mixtures of 0.6 to 0.9 s, 6 of each talker count, and configurations."""
    root = tmp_path_factory.mktemp("lab")
    encoder, llm = make_tiny_wavlm(root / "encoder"), make_tiny_llm(root / "llm")
    make_tiny_data(root / "data", llm, copies=2)
    for phase in (1, 2):
        config = phase_config(encoder, llm, phase)
        # All at once: dropout, masks, layers that are computed twice.
        config["encoder_conf"].update(
            gradient_checkpointing=True, branch_masking=MASKING
        )
        config["teacher_conf"].update(
            gradient_checkpointing=True, text_mask_prob=0.3, llm_dtype="bfloat16"
        )
        config["teacher_conf"]["lora"]["lora_dropout"] = 0.2
        config.update(batch_seconds=2.5, num_iters_per_epoch=None)
        write_config(root / f"phase{phase}.yaml", config)
    return root


def options(lab, *more, phase=2, data="data"):
    words = ["--config", str(lab / f"phase{phase}.yaml"), "--output_dir", "unused"]
    return [*words, *training_options(lab / data), *more]


def parse(lab, *more, **where):
    return MTASRTask.get_parser().parse_args(options(lab, *more, **where))


def factory_of(args, mode="train", distributed=False):
    option = DistributedOption(distributed=distributed)
    return MTASRTask.build_iter_factory(args, option, mode)


def utterances(factory, epoch=1):
    return [utts for utts, _ in factory.build_iter(epoch)]


@pytest.mark.parametrize("mode", ["train", "valid"])
def test_every_batch_has_one_count_and_at_most_these_seconds(lab, mode):
    batches = utterances(factory_of(parse(lab), mode))
    samples = read_table(lab / "data" / "speech_shape")
    counts = {utt: int(n) for utt, n in read_table(lab / "data/utt2category").items()}
    assert sorted(u for batch in batches for u in batch) == sorted(samples)
    for batch in batches:
        assert len({counts[utt] for utt in batch}) == 1
        longest = max(int(samples[utt]) for utt in batch)
        assert len(batch) * longest <= 2.5 * 16000
    # 12 mixtures of at most 0.9 s, 2 to 4 a batch.
    assert 4 <= len(batches) <= 6


def test_batches_of_all_counts_are_shuffled_anew_in_each_epoch(lab):
    factory = factory_of(parse(lab))
    epochs = [utterances(factory, epoch) for epoch in range(1, 6)]
    assert len({str(batches) for batches in epochs}) > 1
    assert all(sorted(batches) == sorted(epochs[0]) for batches in epochs)
    counts = read_table(lab / "data" / "utt2category")
    orders = {"".join(counts[b[0]] for b in batches) for batches in epochs}
    # Not first all of one count, then all of the other, in every epoch.
    assert any("23" in order and "32" in order for order in orders)
    assert epochs[1] == utterances(factory_of(parse(lab)), 2)


def test_other_rates_have_other_batches(lab):
    """At 8 kHz each mixture lasts twice as long."""
    more = ("--batch_seconds", "3.8")
    assert {len(b) for b in utterances(factory_of(parse(lab, *more)))} == {2, 4}
    half = utterances(factory_of(parse(lab, *more, "--sampling_rate", "8000")))
    assert {len(batch) for batch in half} == {2}


def test_two_processes_share_each_batch(lab, monkeypatch):
    """The same number of batches, all counts in a step of two, nothing twice."""
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    shares = []
    for rank in (0, 1):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        shares.append(utterances(factory_of(parse(lab), distributed=True)))
    counts = read_table(lab / "data" / "utt2category")
    assert len(shares[0]) == len(shares[1])
    batches = list(zip(*shares))
    for one, other in batches:
        assert one and other and not set(one) & set(other)
    for step in zip(batches[::2], batches[1::2], strict=True):
        heard = {counts[u] for batch in step for share in batch for u in share}
        assert heard == {"2", "3"}
    heard = [utt for share in shares for batch in share for utt in batch]
    assert sorted(heard) == sorted(counts)


@pytest.mark.parametrize("seconds", ["0.9", "1.9", "2.5", "4"])
def test_steps_are_full(lab, seconds):
    """Gradients of an epoch's last batches would be lost where it is resumed."""
    factory = factory_of(parse(lab, "--batch_seconds", seconds))
    for epoch in (1, 2):
        assert len(utterances(factory, epoch)) % 2 == 0


def test_the_log_tells_of_shares_and_of_steps_without_a_count(lab, caplog):
    with caplog.at_level("INFO"):
        factory_of(parse(lab))
        factory_of(parse(lab, "--batch_seconds", "0.5", "--accum_grad", "1"))
        factory_of(parse(lab), "valid")
    full, single, valid = [m for m in caplog.messages if "share" in m]
    assert "[train] 6 batches; a process's share has 1 to 3 mixtures and 0.6 to" in full
    assert "0 of 6 exceed 2.5 s; processes wait for each other 0.0 % of the" in full
    assert "lack" not in full + valid
    assert "12 of 12 exceed 0.5 s" in single
    assert "12 steps lack a talker count: a larger batch_seconds or accum" in single


def test_statistics_need_no_batches_by_seconds(lab, tmp_path):
    """Stages 7 and 10 read the same configuration, before lengths are known."""
    folder = tmp_path / "stats"
    words = options(lab, "--collect_stats", "true", "--output_dir", str(folder))
    main(words)
    wanted = (lab / "data" / "speech_shape").read_text()
    assert (folder / "train" / "speech_shape").read_text() == wanted


def test_short_epochs_have_all_mixtures_in_turn(lab):
    """`num_iters_per_epoch`: each comes once before one comes again."""
    counts = read_table(lab / "data" / "utt2category")
    whole = len(utterances(factory_of(parse(lab))))
    factory = factory_of(parse(lab, "--num_iters_per_epoch", "2"))
    epochs = [utterances(factory, epoch) for epoch in range(1, whole + 1)]
    assert all(len(batches) == 2 for batches in epochs)
    batches = [batch for epoch in epochs for batch in epoch]
    for first in (0, whole):
        heard = [utt for batch in batches[first : first + whole] for utt in batch]
        assert sorted(heard) == sorted(counts)
    assert batches[:whole] != batches[whole:]


@pytest.mark.parametrize("phase, number", [(1, None), (2, None), (2, 4)])
def test_a_stopped_training_goes_on_to_the_same_weights(lab, tmp_path, phase, number):
    """Dropout, masks, shuffling: random numbers depend on seed and epoch alone.

    Epochs may be parts of a pass over the data (`num_iters_per_epoch`).
    """
    short = ["--num_iters_per_epoch", str(number)] if number else []

    def train(name, *more):
        folder = str(tmp_path / name)
        more = (*more, *short)
        main(options(lab, "--output_dir", folder, *more, phase=phase))
        path = tmp_path / name / "checkpoint.pth"
        return torch.load(path, map_location="cpu", weights_only=False)

    wanted = train("straight")
    train("stopped", "--max_epoch", "1")
    found = train("stopped", "--resume", "true")
    assert wanted["model"].keys() == found["model"].keys()
    for name, value in wanted["model"].items():
        assert torch.equal(value, found["model"][name]), name
    for part in ("train", "valid"):
        for epoch in (1, 2):
            one, other = (
                {
                    name: str(value)
                    for name, value in state["reporter"]["stats"][epoch][part].items()
                    if name.startswith(("loss", "acc"))
                }
                for state in (wanted, found)
            )
            assert one == other and len(one) >= 6


@pytest.mark.parametrize(
    "more, message",
    [
        (["--batch_seconds", "0"], "batch_seconds: 0.0; give more than 0"),
        (["--batch_seconds", "nan"], "batch_seconds: nan; give more"),
        (["--sampling_rate", "0"], "sampling_rate: 0; give Hz"),
        (
            ["--batch_type", "numel"],
            "batch_type: numel can't be combined with batch_seconds",
        ),
        (
            ["--valid_batch_type", "sorted"],
            "valid_batch_type: sorted can't be combined with",
        ),
        (
            ["--min_batch_size", "2"],
            "min_batch_size: 2 can't be combined with batch_seconds",
        ),
        (["--num_iters_per_epoch", "5"], "num_iters_per_epoch: 5 batches don't fill"),
        (
            ["--iterator_type", "category"],
            "iterator_type: category can't be combined with",
        ),
        (["--drop_last_iter", "true"], "drop_last_iter: True can't be combined with"),
        (["--shuffle_within_batch", "true"], "shuffle_within_batch: True can't be"),
        (
            ["--sort_in_batch", "ascending"],
            "sort_in_batch: ascending can't be combined with",
        ),
        (["--train_dtype", "float16"], "train_dtype: float16 rounds small updates"),
        (
            ["--encoder_conf", "branch_masking.time_probs=0.1"],
            "branch_masking: has no option time_probs",
        ),
        (
            ["--encoder_conf", "gradient_checkpoint=true"],
            "encoder_conf: RoutedWavLMEncoder has no option gradient_checkpoint;",
        ),
    ],
)
def test_wrong_options_before_anything_is_built(lab, more, message):
    with pytest.raises(UserError, match=message):
        MTASRTask.check_args(parse(lab, *more))


def test_right_options(lab):
    for more in ([], ["--batch_type", "folded"], ["--batch_seconds", "none"]):
        MTASRTask.check_args(parse(lab, *more))


def test_damaged_lists(tmp_path):
    write_table(tmp_path / "shape", {"a": "100,80", "b": "many"})
    with pytest.raises(UserError, match="shape: 'many' of b is not a length"):
        read_samples(str(tmp_path / "shape"))
    write_table(tmp_path / "shape", {"a": "100,80", "b": "90"})
    samples = read_samples(str(tmp_path / "shape"))
    assert samples == {"a": 100, "b": 90}
    write_table(tmp_path / "text", {"a": TEXTS[0], "c": "x"})
    data = [(f"{tmp_path}/text", "text", "text")]
    with pytest.raises(UserError, match="text: lacks b, whose length is known"):
        read_talker_counts(data, samples)
    assert read_talker_counts(data, {"a": 100, "c": 1}) == {"a": 2, "c": 1}
    with pytest.raises(UserError, match="type text,text for the talker counts"):
        read_talker_counts([("wav.scp", "speech", "sound")], samples)
