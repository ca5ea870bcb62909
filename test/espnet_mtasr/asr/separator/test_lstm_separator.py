"""LSTM separator: shapes, padding, gradients, and no loop over frames."""

import pytest
import torch

from espnet_mtasr.asr.separator.lstm_separator import LSTMSeparator
from espnet_mtasr.errors import UserError

LENGTHS = torch.tensor([9, 4, 1])


def _separator(**options) -> LSTMSeparator:
    torch.manual_seed(0)
    return LSTMSeparator(6, num_talkers=3, hidden_size=8, **options).eval()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_batch_gives_what_each_row_gives(bidirectional):
    separator = _separator(bidirectional=bidirectional)
    hidden = torch.randn(3, 9, 6)
    hidden[1, 4:] = 50.0
    hidden[2, 1:] = -50.0
    streams = separator(hidden, LENGTHS)
    assert [tuple(s.shape) for s in streams] == [(3, 9, 8)] * 3
    for row, n in enumerate(LENGTHS.tolist()):
        alone = separator(hidden[row : row + 1, :n], LENGTHS[row : row + 1])
        for stream, stream_alone in zip(streams, alone):
            torch.testing.assert_close(
                stream[row, :n], stream_alone[0], atol=1e-5, rtol=0
            )


@pytest.mark.parametrize("bidirectional", [False, True])
def test_rows_without_frames(bidirectional):
    separator = _separator(bidirectional=bidirectional)
    for stream in separator(torch.randn(2, 3, 6), torch.tensor([0, 2])):
        assert stream.shape == (2, 3, 8)
        assert stream.isfinite().all()


def test_direction():
    """Only a bidirectional separator hears what comes later."""
    for bidirectional in (False, True):
        separator = _separator(bidirectional=bidirectional)
        hidden = torch.randn(1, 5, 6)
        changed = hidden.clone()
        changed[0, -1] += 1.0
        first, second = (separator(x, torch.tensor([5]))[0] for x in (hidden, changed))
        assert torch.equal(first[0, 0], second[0, 0]) is not bidirectional


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_reach_every_parameter_and_the_input(bidirectional):
    separator = _separator(bidirectional=bidirectional).train()
    hidden = torch.randn(3, 9, 6, requires_grad=True)
    streams = separator(hidden, LENGTHS)
    loss = sum(
        stream[row, :n].square().sum()
        for stream in streams
        for row, n in enumerate(LENGTHS.tolist())
    )
    loss.backward()
    for name, parameter in separator.named_parameters():
        assert parameter.grad.abs().max() > 0, name
    assert hidden.grad[1, :4].abs().min() > 0
    assert hidden.grad[1, 4:].abs().max() == 0


def test_streams_have_projections_of_their_own():
    separator = _separator()
    hidden = torch.randn(1, 4, 6)
    first = separator(hidden, torch.tensor([4]))
    assert not torch.allclose(first[0], first[1])
    separator.projections[1].weight.data.add_(1.0)
    second = separator(hidden, torch.tensor([4]))
    changed = [not torch.equal(a, b) for a, b in zip(first, second)]
    assert changed == [False, True, False]


def test_weakness_4_torchs_lstm_of_the_papers_size():
    """As METHOD has it: 2 layers of 896 units, in one direction."""
    with torch.device("meta"):
        separator = LSTMSeparator(1024, num_talkers=2)
    # Weakness 4 of earlier code: an LSTM written as a loop over frames.
    assert isinstance(separator.lstm, torch.nn.LSTM)
    assert separator.lstm.num_layers == 2
    assert separator.lstm.hidden_size == separator.output_size() == 896
    assert not separator.lstm.bidirectional
    assert len(separator.projections) == 2


def test_stream_size():
    separator = _separator(stream_size=5, num_layers=1, dropout=0.5)
    assert separator.output_size() == 5
    assert separator(torch.randn(1, 4, 6), torch.tensor([4]))[2].shape == (1, 4, 5)


def test_residual_streams_start_as_the_branchs_output():
    separator = _separator(stream_size=6, residual=True)
    hidden = torch.randn(3, 9, 6)
    streams = separator(hidden, LENGTHS)
    assert len(streams) == 3 and all(torch.equal(s, hidden) for s in streams)
    streams[0].square().sum().backward()
    # What is zero now learns all the same.
    assert separator.projections[0].weight.grad.abs().max() > 0


def test_residual_streams_have_the_branchs_width():
    with pytest.raises(UserError, match="streams are 8 wide, the branch's output 6"):
        _separator(residual=True)
