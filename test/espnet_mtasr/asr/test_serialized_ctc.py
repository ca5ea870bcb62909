"""Serialized CTC: its loss by other means, and what earlier code got wrong."""

import math

import pytest
import torch

from espnet_mtasr.asr.serialized_ctc import SerializedCTC, collapse, required_frames

VOCAB = 7
LENGTHS = torch.tensor([12, 9, 10])
# Three rows of two talkers each; the longest target of either stream has no padding.
TARGETS = [
    torch.tensor([[1, 2, 2, 3], [4, 5, -1, -1], [6, -1, -1, -1]]),
    torch.tensor([[5, 5, -1], [3, 1, 6], [2, 4, -1]]),
]
TARGET_LENGTHS = torch.tensor([[4, 2], [2, 3], [1, 2]])


@pytest.fixture
def ctc():
    torch.manual_seed(0)
    return SerializedCTC(VOCAB, input_size=5, num_talkers=2)


def _streams(rows: int = 3, frames: int = 12):
    torch.manual_seed(1)
    return [torch.randn(rows, frames, 5) for _ in range(2)]


def _by_hand(ctc, streams, row):
    """torch's CTC on one utterance, stream by stream, with nothing padded."""
    total = 0.0
    for k, stream in enumerate(streams):
        logits = ctc.heads[k].ctc_lo(stream[row : row + 1, : LENGTHS[row]])
        total = total + torch.nn.functional.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1),
            TARGETS[k][row : row + 1, : TARGET_LENGTHS[row, k]],
            LENGTHS[row : row + 1],
            TARGET_LENGTHS[row : row + 1, k],
            reduction="sum",
        )
    return total / TARGET_LENGTHS[row].sum()


def test_loss_worked_out_with_a_pencil():
    """Two frames, three equally probable tokens, nine equally probable paths.

    Three of them read "1" (11, 1-, -1), one reads "1 2".
    """
    ctc = SerializedCTC(3, input_size=2, num_talkers=2)
    for parameter in ctc.parameters():
        torch.nn.init.zeros_(parameter)
    loss = ctc(
        [torch.randn(1, 2, 2)] * 2,
        torch.tensor([2]),
        [torch.tensor([[1]]), torch.tensor([[1, 2]])],
        torch.tensor([[1, 2]]),
    )
    # Not averaged stream by stream: 3 tokens in all.
    expected = (math.log(9 / 3) + math.log(9)) / 3
    torch.testing.assert_close(loss, torch.tensor([expected]))


def test_loss_is_that_of_each_utterance_by_torch(ctc):
    streams = _streams()
    loss = ctc(streams, LENGTHS, TARGETS, TARGET_LENGTHS)
    assert loss.shape == (3,)
    expected = torch.stack([_by_hand(ctc, streams, row) for row in range(3)])
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("rows", [[0], [1], [2], [2, 1], [1, 0, 2, 1]])
def test_loss_does_not_depend_on_the_batch(ctc, rows):
    streams = _streams()
    whole = ctc(streams, LENGTHS, TARGETS, TARGET_LENGTHS)
    part = ctc(
        [s[rows, : LENGTHS[rows].max()] for s in streams],
        LENGTHS[rows],
        [t[rows] for t in TARGETS],
        TARGET_LENGTHS[rows],
    )
    torch.testing.assert_close(part, whole[rows], atol=1e-5, rtol=0)


def test_padding_of_streams_and_targets_means_nothing(ctc):
    streams = _streams()
    whole = ctc(streams, LENGTHS, TARGETS, TARGET_LENGTHS)
    for stream in streams:
        stream[1, 9:] = 1e3
    targets = [torch.nn.functional.pad(t, (0, 2), value=-1) for t in TARGETS]
    targets = [torch.where(t < 0, 0, t) for t in targets]
    again = ctc(streams, LENGTHS, targets, TARGET_LENGTHS)
    torch.testing.assert_close(again, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("k, row", [(0, 0), (1, 1)])
def test_weakness_2_the_longest_target_keeps_its_last_token(ctc, k, row):
    """Weakness 2 of earlier code."""
    streams = _streams()
    loss = ctc(streams, LENGTHS, TARGETS, TARGET_LENGTHS)
    changed = [target.clone() for target in TARGETS]
    assert TARGET_LENGTHS[row, k] == changed[k].size(1)
    changed[k][row, -1] = 4
    difference = ctc(streams, LENGTHS, changed, TARGET_LENGTHS) - loss
    assert difference[row].abs() > 1e-3
    assert difference.abs().sum() == difference[row].abs()


def test_gradients(ctc):
    streams = [s.requires_grad_() for s in _streams()]
    ctc(streams, LENGTHS, TARGETS, TARGET_LENGTHS).mean().backward()
    for name, parameter in ctc.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name
    for stream in streams:
        assert stream.grad[1, :9].abs().sum() > 0
        assert stream.grad[1, 9:].abs().sum() == 0


def test_a_row_that_cannot_be_aligned_gives_zero_and_no_gradient(ctc):
    """Also where only one of its streams is too long for it."""
    streams = [s.requires_grad_() for s in _streams()]
    lengths = torch.tensor([4, 9, 0])
    loss = ctc(streams, lengths, TARGETS, TARGET_LENGTHS)
    assert loss[0] == 0 and loss[2] == 0
    torch.testing.assert_close(loss[1], _by_hand(ctc, streams, 1))
    loss.sum().backward()
    for stream in streams:
        assert stream.grad.isfinite().all()
        assert stream.grad[[0, 2]].abs().sum() == 0
        assert stream.grad[1].abs().sum() > 0


def test_an_empty_target_is_scored_as_silence(ctc):
    streams = _streams(rows=1)
    targets = [torch.tensor([[1, 2]]), torch.zeros(1, 0, dtype=torch.long)]
    loss = ctc(streams, LENGTHS[:1], targets, torch.tensor([[2, 0]]))
    blank = ctc.log_probs(streams)[1][0, :, 0].sum()
    first = torch.nn.functional.ctc_loss(
        ctc.log_probs(streams)[0].transpose(0, 1),
        targets[0],
        LENGTHS[:1],
        torch.tensor([2]),
        reduction="sum",
    )
    torch.testing.assert_close(loss[0], (first - blank) / 2)


def test_required_frames_count_repeats_within_the_length():
    targets = torch.tensor([[5, 5, 5, 7], [5, 7, 7, 7], [7, 7, 7, 7]])
    assert required_frames(targets, torch.tensor([4, 2, 0])).tolist() == [6, 2, 0]
    nothing = torch.zeros(2, 0, dtype=torch.long)
    assert required_frames(nothing, torch.tensor([0, 0])).tolist() == [0, 0]


@pytest.mark.parametrize("frames, fits", [(5, True), (4, False)])
def test_alignable_is_where_torch_finds_a_path(frames, fits):
    """Row 0's first stream has four tokens, one of them twice in a row."""
    lengths = torch.tensor([frames])
    targets = [target[:1] for target in TARGETS]
    assert SerializedCTC.alignable(lengths, targets, TARGET_LENGTHS[:1]).item() is fits
    loss = torch.nn.functional.ctc_loss(
        torch.randn(frames, 1, VOCAB).log_softmax(-1),
        targets[0],
        lengths,
        TARGET_LENGTHS[:1, 0],
    )
    assert loss.isfinite().item() is fits


def test_alignable_asks_the_most_demanding_stream():
    lengths = torch.tensor([5, 3, 1])
    alignable = SerializedCTC.alignable(lengths, TARGETS, TARGET_LENGTHS)
    assert alignable.tolist() == [True, True, False]


def test_weakness_1_greedy_search_keeps_had_had():
    """Weakness 1 of earlier code: a token on both sides of a blank is two tokens."""
    blank, had, he = 0, 1, 2
    ctc = SerializedCTC(3, input_size=3, num_talkers=2)
    for head in ctc.heads:
        torch.nn.init.eye_(head.ctc_lo.weight)
        torch.nn.init.zeros_(head.ctc_lo.bias)
    frames = [
        [[he, he, had, had, blank, had], [blank, had, he, had, had, had]],
        [[blank] * 6, [he, he, blank, blank, he, had]],
    ]
    streams = [torch.nn.functional.one_hot(torch.tensor(f), 3) for f in frames]
    assert ctc.greedy_search(streams, torch.tensor([6, 4])) == [
        [[he, had, had], []],
        [[had, he, had], [he]],
    ]


def test_collapse():
    assert collapse([]) == []
    assert collapse([0, 0]) == []
    assert collapse([3, 3, 3]) == [3]
    assert collapse([3, 0, 3, 0, 0, 3]) == [3, 3, 3]


def test_log_probs_are_normalized(ctc):
    log_probs = ctc.log_probs(_streams())
    assert [tuple(p.shape) for p in log_probs] == [(3, 12, VOCAB)] * 2
    for stream in log_probs:
        torch.testing.assert_close(stream.exp().sum(-1), torch.ones(3, 12))


@pytest.mark.parametrize("talkers", [1, 2, 3])
def test_heads(talkers):
    """Weakness 5 of earlier code: a head has its own vocabulary, not the LLM's."""
    ctc = SerializedCTC(1000, input_size=896, num_talkers=talkers)
    sizes = [tuple(head.ctc_lo.weight.shape) for head in ctc.heads]
    assert sizes == [(1000, 896)] * talkers


def test_evaluation_is_training(ctc):
    """ESPnet's CTC would drop units in evaluation too."""
    losses = [
        ctc.train(mode)(_streams(), LENGTHS, TARGETS, TARGET_LENGTHS)
        for mode in (True, False)
    ]
    assert torch.equal(*losses)


def test_half_precision_streams(ctc):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ctc([s.bfloat16() for s in _streams()], LENGTHS, TARGETS, TARGET_LENGTHS)
    assert loss.dtype == torch.float32
    expected = ctc(_streams(), LENGTHS, TARGETS, TARGET_LENGTHS)
    torch.testing.assert_close(loss, expected, atol=0.02, rtol=0)


def test_a_wrong_number_of_streams_is_told(ctc):
    with pytest.raises(ValueError, match="2 heads, but 1 streams and 2 targets"):
        ctc(_streams()[:1], LENGTHS, TARGETS, TARGET_LENGTHS)
