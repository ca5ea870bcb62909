"""Span masking: how much, where, when; and that the talker-count head hears all."""

import pytest
import torch
from helpers.tiny_models import WAVLM_CONF, make_batch, make_model

from espnet_mtasr.asr.encoder.espnet_halves import RoutedEspnetEncoder
from espnet_mtasr.asr.encoder.span_masking import (
    SpanMasking,
    build_masking,
    draw_spans,
)
from espnet_mtasr.asr.encoder.wavlm import RoutedWavLMEncoder
from espnet_mtasr.errors import UserError


def runs(row):
    """Lengths of the stretches of True."""
    text = "".join("x" if value else " " for value in row.tolist())
    return [len(stretch) for stretch in text.split()]


def test_spans_lie_within_each_rows_own_places_and_are_whole():
    torch.manual_seed(0)
    sizes = torch.tensor([50, 11, 10, 0] * 50)
    spans = draw_spans(sizes, 60, prob=0.3, length=10)
    assert spans.shape == (200, 60)
    for row, n in zip(spans, sizes.tolist()):
        assert not row[n:].any()
        assert all(stretch >= 10 for stretch in runs(row))
    # A row no longer than a span would lose all it has.
    assert not spans[sizes <= 10].any()
    for n in (50, 11):
        assert spans[sizes == n].any()
    # Every place can be hit, the first and the last too.
    assert spans[sizes == 11, :11].any(0).all()


def test_the_number_of_spans_is_right_on_average():
    """0.02 * 50 / 1 = 1 span; 0.01 * 1000 / 4 = 2.5 spans, that is 2 or 3."""
    torch.manual_seed(0)
    ones = draw_spans(torch.full((2000,), 50), 50, prob=0.02, length=1)
    assert {int(n) for n in ones.sum(1)} == {1}
    spans = draw_spans(torch.full((2000,), 1000), 1000, prob=0.01, length=4)
    masked = spans.sum(1).float()
    # Overlaps are rare: 4 places of 1,000 each.
    assert float(masked.mean()) == pytest.approx(10, rel=0.02)
    assert {8, 12} < set(masked.tolist()) and float(masked.max()) == 12


def test_frames_and_channels_are_set_to_zero_in_training_alone():
    masking = SpanMasking(
        time_prob=0.4, time_length=3, feature_prob=0.5, feature_length=2
    )
    hidden, lengths = torch.ones(8, 20, 10), torch.tensor([20, 12] * 4)
    assert masking.eval()(hidden, lengths) is hidden
    torch.manual_seed(1)
    masked = masking.train()(hidden, lengths)
    frames, channels = (masked == 0).all(2), (masked == 0).all(1)
    assert frames.any(1).all() and channels.any(1).any()
    assert not frames[1, 12:].all()
    # Nothing but whole frames and whole channels, and the input stays.
    wanted = ~(frames[:, :, None] | channels[:, None, :])
    assert torch.equal(masked, wanted.float()) and bool((hidden == 1).all())
    torch.manual_seed(1)
    assert torch.equal(masking(hidden, lengths), masked)
    assert not torch.equal(masking(hidden, lengths), masked)


def test_one_kind_alone():
    hidden, lengths = torch.ones(4, 20, 10), torch.full((4,), 20)
    only_time = SpanMasking(time_prob=0.4, time_length=3)(hidden, lengths)
    assert torch.equal(only_time[..., 0], only_time[..., 9])
    only_channels = SpanMasking(feature_prob=0.5, feature_length=2)(hidden, lengths)
    assert torch.equal(only_channels[:, 0], only_channels[:, 19])
    assert (only_time == 0).any() and (only_channels == 0).any()
    assert torch.equal(SpanMasking()(hidden, lengths), hidden)


@pytest.mark.parametrize(
    "conf, message",
    [
        (dict(time_probs=0.1), "branch_masking: has no option time_probs"),
        (dict(time_prob=1.0), "branch_masking time_prob: 1.0; give 0 to below 1"),
        (dict(feature_prob=-0.1), "branch_masking feature_prob: -0.1"),
        (dict(feature_prob="0,1"), "branch_masking feature_prob: 0,1"),
        (dict(time_length=0), "branch_masking time_length: 0; give a number from 1"),
        (dict(feature_length=2.5), "branch_masking feature_length: 2.5"),
    ],
)
def test_wrong_options(conf, message):
    with pytest.raises(UserError, match=message):
        build_masking(conf)


MASKING = dict(time_prob=0.6, time_length=2, feature_prob=0.3, feature_length=2)


def encoders():
    conformer = dict(output_size=8, linear_units=8, num_blocks=1, attention_heads=2)
    yield RoutedWavLMEncoder(
        num_trunk_layers=1,
        wavlm_conf={**WAVLM_CONF, "hidden_dropout": 0.0},
        load_pretrained=False,
        branch_masking=MASKING,
    ), torch.randn(2, 8000), torch.tensor([8000, 6000])
    yield RoutedEspnetEncoder(
        20,
        trunk_conf=conformer,
        branch_conf=dict(**conformer, input_layer=None),
        branch_masking=MASKING,
    ), torch.randn(2, 99, 20), torch.tensor([99, 80])


def test_both_encoders_mask_what_the_branches_read():
    for encoder, audio, lengths in encoders():
        seen = []
        for branch in encoder.branches.values():
            branch.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        encoder.train()
        encoder.trunk.requires_grad_(False)
        encoder.train()
        trunk = encoder.encode_trunk(audio, lengths)
        encoder.encode_branch(trunk, 2)
        encoder.encode_branch(trunk, 3, torch.tensor([1]))
        for masked in seen:
            assert (masked.hidden == 0).all(2).any()
        assert not (trunk.hidden == 0).all(2).any()
        encoder.eval()
        encoder.encode_branch(trunk, 2)
        assert torch.equal(seen[2].hidden, trunk.hidden)
        assert not any("masking" in name for name in encoder.state_dict())


def test_the_talker_count_head_hears_all():
    model = make_model(ctc_weight=1.0, count_weight=1.0)
    model.encoder.trunk.requires_grad_(False)
    model.encoder.branch_masking = SpanMasking(**MASKING)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = make_batch([2, 3], (12, 15))
    stats = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        stats.append(model.train()(**batch)[1])
    assert stats[0]["loss_count"] == stats[1]["loss_count"]
    assert stats[0]["loss_ctc"] != stats[1]["loss_ctc"]
