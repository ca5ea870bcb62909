"""Statistics per talker count are means over their own rows."""

import math
from types import SimpleNamespace

import pytest
import torch
from espnet2.train.reporter import Reporter

from espnet_mtasr.train import silence, trainer
from espnet_mtasr.train.trainer import MTASRTrainer

# Losses of the rows of three batches, by talker count: mixed, mixed, of one count.
BATCHES = [
    {2: [10.0, 14.0, 12.0], 3: [30.0]},
    {2: [20.0], 3: [31.0, 32.0, 33.0, 30.0, 34.0]},
    {2: [], 3: [40.0, 42.0]},
]


def as_the_model_tells(batch):
    """What `MTASRModel.forward` returns of a batch, but for the loss."""
    rows = [loss for losses in batch.values() for loss in losses]
    stats = {"loss_ctc": torch.tensor([sum(rows) / len(rows)])}
    for count, losses in batch.items():
        stats[f"share_{count}spk"] = torch.tensor([len(losses) / len(rows)])
        stats[f"loss_ctc_{count}spk_part"] = torch.tensor([sum(losses) / len(rows)])
    return stats, torch.tensor([len(rows)])


@pytest.fixture(autouse=True)
def new_training(monkeypatch):
    monkeypatch.setattr(MTASRTrainer, "_silence", silence.Silence())


@pytest.mark.parametrize("method", ["train_one_epoch", "validate_one_epoch"])
def test_an_epoch_of_mixed_batches(monkeypatch, method):
    def register_all(reporter, model, options):
        for batch in BATCHES:
            reporter.register(*as_the_model_tells(batch))
            # The trainer tells of times as well.
            reporter.register({"forward_time": 0.5})
            reporter.next()

    monkeypatch.setattr(trainer.Trainer, method, register_all)
    reporter = Reporter()
    reporter.set_epoch(1)
    with reporter.observe("train") as observed:
        getattr(MTASRTrainer, method)(
            model=torch.nn.Identity(),
            reporter=observed,
            options=SimpleNamespace(curriculum=None),
        )
    stats = reporter.stats[1]["train"]
    for count in (2, 3):
        rows = [loss for batch in BATCHES for loss in batch[count]]
        assert stats[f"loss_ctc_{count}spk"] == pytest.approx(sum(rows) / len(rows))
    everything = [loss for batch in BATCHES for rows in batch.values() for loss in rows]
    assert stats["loss_ctc"] == pytest.approx(sum(everything) / len(everything))
    assert stats["forward_time"] == 0.5
    assert not [name for name in stats if "part" in name or "share" in name]


def test_a_silent_stream_is_told_at_the_end_of_an_epoch(monkeypatch, caplog):
    """By the validation set, and only of counts that were trained for long enough."""
    monkeypatch.setattr(silence, "SILENT_AFTER", 4)

    def epoch(method, batches):
        def register_all(reporter, **kwargs):
            for stats in batches:
                common = {"loss_ctc": torch.tensor([1.0])}
                reporter.register({**common, **stats}, torch.tensor([4]))
                reporter.next()

        monkeypatch.setattr(trainer.Trainer, method, register_all)
        reporter = Reporter()
        reporter.set_epoch(1)
        with reporter.observe(method) as observed:
            options = SimpleNamespace(curriculum=None)
            model = torch.nn.Identity()
            getattr(MTASRTrainer, method)(
                model=model, reporter=observed, options=options
            )
        return reporter.stats[1][method]

    both = {"share_2spk": torch.tensor([0.5]), "share_3spk": torch.tensor([0.5])}
    only_2 = {"share_2spk": torch.tensor([1.0]), "share_3spk": torch.tensor([0.0])}
    loss = {f"loss_ctc_{k}spk_part": torch.tensor([0.5]) for k in (2, 3)}
    words = {
        "words_stream1_2spk_part": torch.tensor([3.0]),
        "words_stream2_2spk_part": torch.tensor([0.0]),
        "words_stream1_3spk_part": torch.tensor([0.0]),
    }
    silent = "stream 2 of 2 talkers writes nothing"
    for times, said in ((3, []), (1, [silent]), (0, [silent])):
        caplog.clear()
        epoch("train_one_epoch", [{**only_2, **loss}] * times)
        stats = epoch("validate_one_epoch", [{**both, **words}] * 2)
        assert stats["words_stream1_2spk"] == 6.0
        assert len(caplog.records) == len(said)
        for record, line in zip(caplog.records, said):
            assert record.levelname == "WARNING" and line in record.getMessage()
    words["words_stream2_2spk_part"] = torch.tensor([0.1])
    caplog.clear()
    epoch("validate_one_epoch", [{**both, **words}])
    assert not caplog.records


def test_no_rows_have_no_mean():
    stats, weight = as_the_model_tells(BATCHES[2])
    _, per_count = trainer.split_per_count(stats, weight)
    mean, rows = per_count["loss_ctc_2spk"]
    assert math.isnan(mean) and float(rows) == 0
    assert float(per_count["loss_ctc_3spk"][0]) == pytest.approx(41.0)
