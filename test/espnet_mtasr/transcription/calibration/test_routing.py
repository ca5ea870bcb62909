"""Routing: fitted where the branches know more than the head, left alone elsewhere."""

import json

import numpy as np
import pytest
import soundfile
import torch
from helpers.progress_patterns import counted
from helpers.tiny_inference import noises, save_tiny_model

from espnet_mtasr.asr.routing import Routing
from espnet_mtasr.bin.fit_routing import main
from espnet_mtasr.data.tables import write_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.inference import Speech2Text
from espnet_mtasr.transcription.calibration import routing
from espnet_mtasr.transcription.calibration.calibration import Calibration

COUNTS = (2, 3)


def made_up(informative, n=2000):
    """A head that is right in 80 %, and branches that know the count, or don't."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (n,), generator=rng)
    right = torch.rand(n, generator=rng) < 0.8
    places = torch.where(right, labels, 1 - labels)
    log_probs = torch.full((n, 2), 0.3).scatter(1, places[:, None], 0.7).log()
    entropies = 0.1 * torch.rand(n, 2, generator=rng)
    if informative:
        entropies[torch.arange(n), 1 - labels] += 0.2
    errors = torch.full((n, 2), 8).scatter(1, labels[:, None], 3)
    return routing.Judged(log_probs, entropies, errors, labels, torch.full((n,), 10))


def test_branches_that_know_the_count_are_heard():
    judged = made_up(informative=True)
    fitted, tried = routing.fit(judged, "m.pth", COUNTS)
    assert fitted.model == "m.pth" and fitted.talker_counts == COUNTS
    assert fitted.entropy < 0 < fitted.head
    best = tried[routing.Choice(fitted.unsure_below, None)]
    alone = tried[routing.HEAD_ALONE]
    assert alone.count_accuracy == pytest.approx(80, abs=3)
    assert alone.cpwer == pytest.approx(0.8 * 30 + 0.2 * 80, abs=2)
    assert best.count_accuracy > 99 and best.cpwer == pytest.approx(30, abs=1)
    scores = fitted.scores(judged.log_probs, judged.entropies)
    assert (scores.argmax(1) == judged.labels).float().mean() > 0.99


def test_branches_that_know_nothing_are_not():
    fitted, tried = routing.fit(made_up(informative=False), "m.pth", COUNTS)
    assert fitted.unsure_below == 0.0 and not fitted.decides
    assert tried[routing.HEAD_ALONE].unsure == 0.0
    assert tried[routing.Choice(0.8, None)].unsure == 100.0


def costly():
    """3 for 2 talkers costs far more than 2 for 3."""
    judged = made_up(informative=False)
    return judged._replace(errors=torch.tensor([[3, 9], [5, 4]])[judged.labels])


def test_costs_decide_where_they_lower_the_error_rate(monkeypatch):
    monkeypatch.setattr(routing, "TOLERANCE", 100.0)
    fitted, tried = routing.fit(costly(), "m.pth", COUNTS)
    assert fitted.unsure_below == 0.0
    # With the largest penalty that changes nothing, 0.2.
    torch.testing.assert_close(
        torch.tensor(fitted.costs), torch.tensor([[0.3, 1.1], [0.7, 0.4]])
    )
    by_costs = tried[routing.Choice(0.0, 0.0)]
    # All are taken for 2 talkers: 3 errors in half of the mixtures, 5 in the others.
    assert by_costs.cpwer == pytest.approx(40, abs=1)
    assert by_costs.count_accuracy == pytest.approx(50, abs=3)
    # Half of 3 and 9, 80 to 20 %, and half of 5 and 4, 20 to 80 %.
    assert tried[routing.HEAD_ALONE].cpwer == pytest.approx(42, abs=1)


def test_costs_that_count_much_worse_than_the_head_are_not_used():
    fitted, tried = routing.fit(costly(), "m.pth", COUNTS)
    assert tried[routing.Choice(0.0, 0.0)].cpwer < tried[routing.HEAD_ALONE].cpwer
    assert not fitted.decides
    # With a penalty of 0.4, 2 for 3 costs more than it saves at 70 to 30 %.
    with_penalty = tried[routing.Choice(0.0, 0.4)]
    assert with_penalty == tried[routing.HEAD_ALONE]


def test_no_talker_count_pays_for_the_others():
    """3 taken for 2 loses all of the 3, though few mixtures have them."""
    judged = costly()
    kept = (judged.labels == 0) | (torch.arange(len(judged.labels)) % 50 == 0)
    judged = judged.rows(kept)
    fitted, tried = routing.fit(judged, "m.pth", COUNTS)
    alone, by_costs = tried[routing.HEAD_ALONE], tried[routing.Choice(0.0, 0.0)]
    assert by_costs.count_accuracy > alone.count_accuracy + 10
    assert by_costs.cpwer < alone.cpwer
    assert by_costs.by_count == (100.0, 0.0) and alone.by_count[1] > 60
    assert not fitted.decides


def test_a_talker_count_without_mixtures_forbids_nothing():
    judged = costly().rows(costly().labels == 0)
    fitted, tried = routing.fit(judged, "m.pth", COUNTS)
    assert fitted.decides and tried[routing.Choice(0.0, 0.0)].by_count[0] == 100.0


def test_costs_weigh_short_mixtures_as_long_ones():
    judged = routing.Judged(
        log_probs=torch.zeros(2, 2),
        entropies=torch.zeros(2, 2),
        errors=torch.tensor([[1, 2], [10, 40]]),
        labels=torch.tensor([0, 0]),
        words=torch.tensor([2, 100]),
    )
    wanted = torch.tensor([[0.3, 0.7], [0.0, 0.0]])
    torch.testing.assert_close(routing.mean_costs(judged), wanted)


def test_a_mixture_is_not_judged_by_weights_that_saw_it():
    """Noise that tells each mixture's label by heart gains nothing."""
    judged = made_up(informative=False, n=60)
    scores, costs = routing.cross_fitted(judged, COUNTS)
    for row in (0, 7):
        flipped = judged.labels.clone()
        flipped[row] = 1 - flipped[row]
        again = routing.cross_fitted(judged._replace(labels=flipped), COUNTS)
        torch.testing.assert_close(again[0][row], scores[row])
        torch.testing.assert_close(again[1][row], costs[row])


WAVES = noises(9000, 4000, 12345, 200)


@pytest.fixture
def model_file(tmp_path):
    return save_tiny_model(tmp_path / "exp")


def put(model_file, **changes):
    values = dict(
        model=model_file.name,
        talker_counts=COUNTS,
        unsure_below=2.0,
        head=1.0,
        entropy=0.0,
        biases=(0.0, 1e3),
    )
    Routing(**{**values, **changes}).write(model_file.with_name("routing.json"))


def counts_of(model_file, given=None, **options):
    found = Speech2Text(mtasr_model_file=model_file, **options)(WAVES, given)
    return [hypothesis.num_talkers for hypothesis in found]


def test_unsure_mixtures_are_routed_by_the_scores(model_file):
    by_head = counts_of(model_file)
    put(model_file)
    # All are unsure; what is shorter than a frame says nothing.
    assert counts_of(model_file) == [3, 3, 3, by_head[3]]
    assert counts_of(model_file, [2, None, 2, None]) == [2, 3, 2, by_head[3]]
    put(model_file, biases=(1e3, 0.0))
    assert counts_of(model_file)[:3] == [2, 2, 2]
    found = Speech2Text(mtasr_model_file=model_file)(WAVES)
    assert found[0].count_log_probs[2] == pytest.approx(0.0, abs=1e-3)


def test_costs_decide_without_running_all_branches(model_file, monkeypatch):
    by_head = counts_of(model_file)
    likely = Speech2Text(mtasr_model_file=model_file)(WAVES)[0].count_log_probs
    free = dict(unsure_below=0.0, biases=(0.0, 0.0))
    monkeypatch.setattr("espnet_mtasr.inference.branch_entropies", None)
    for place, count in enumerate(COUNTS):
        put(model_file, **free, costs=[[float(k != place) for k in range(2)]] * 2)
        assert counts_of(model_file) == [count] * 3 + [by_head[3]]
        assert counts_of(model_file, [2, None, 3, None])[:3] == [2, count, 3]
    # The probabilities stay as they are.
    found = Speech2Text(mtasr_model_file=model_file)(WAVES)
    assert found[0].count_log_probs == pytest.approx(likely)


def test_a_batch_is_routed_as_each_mixture_alone(model_file):
    put(model_file, entropy=-5.0, biases=(0.0, 0.1))
    speech2text = Speech2Text(mtasr_model_file=model_file)
    together = speech2text(WAVES)
    for wave, hypothesis in zip(WAVES, together):
        (alone,) = speech2text([wave])
        assert alone.num_talkers == hypothesis.num_talkers
        for count, log_prob in hypothesis.count_log_probs.items():
            assert alone.count_log_probs[count] == pytest.approx(log_prob, abs=1e-4)


def test_where_the_head_decides_alone(model_file):
    by_head = counts_of(model_file)
    other = tuple(1e3 if n != by_head[0] else 0.0 for n in COUNTS)
    put(model_file, biases=other, model="another.pth")
    assert counts_of(model_file) == by_head
    put(model_file, biases=other, unsure_below=0.0)
    assert counts_of(model_file) == by_head
    put(model_file, biases=other)
    assert counts_of(model_file, rescore=False) == by_head
    assert counts_of(model_file) != by_head
    put(model_file, talker_counts=(1, 2))
    with pytest.raises(UserError, match="is for .1, 2. talkers, the model for .2, 3."):
        counts_of(model_file)


def test_the_command_line(model_file, tmp_path, capsys):
    data = tmp_path / "dev"
    tables = {"wav.scp": {}, "text": {}, "utt2num_spk": {}}
    for k, wave in enumerate(noises(9000, 8000, 9500, 7001, 8800, 9100)):
        path = tmp_path / f"{k}.wav"
        soundfile.write(path, np.asarray(wave), 16000)
        count = 2 + k % 2
        tables["wav.scp"][f"u{k}"] = path
        tables["text"][f"u{k}"] = " <sc> ".join(["had lunch"] * count)
        tables["utt2num_spk"][f"u{k}"] = count
    for name, table in tables.items():
        write_table(data / name, table)
    words = ["--mtasr_model_file", str(model_file), "--data_dir", str(data)]
    main([*words, "--test_data_dirs", str(data)])
    written = json.loads(model_file.with_name("routing.json").read_text())
    assert written["model"] == "model.pth" and written["talker_counts"] == [2, 3]
    out, err = capsys.readouterr()
    # A batch of the development set, and one of the test set.
    assert counted("Routing", err) == [(1, 1), (1, 1)]
    assert (
        "| dev, 6 mixtures | never | most probable |" in out and "| dev | 0.8 |" in out
    )
    assert model_file.with_name("routing.md").read_text() in out
    assert "calibrate again" not in out
    Calibration(count_slope=0.5).write(model_file.with_name("calibration.json"))
    main(words)
    assert "calibration.json: its talker counts were calibrated with" in (
        capsys.readouterr().out
    )
    with pytest.raises(UserError, match="nothing.pth: no such file; train first"):
        main(["--mtasr_model_file", "nothing.pth", "--data_dir", str(data)])
