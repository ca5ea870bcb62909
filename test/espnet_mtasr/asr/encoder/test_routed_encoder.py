"""Routing: which branch reads which row, whatever trunk and branches are."""

import pytest
import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder

from espnet_mtasr.asr.encoder.abs_routable import AbsBranch, AbsTrunk, TrunkOutput
from espnet_mtasr.asr.encoder.routed_encoder import RoutedEncoder

LENGTHS = torch.tensor([4, 2, 3, 1])


class Doubling(AbsTrunk):
    """Twice the features, as many frames; remembers what batches it saw."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))
        self.calls = 0

    def output_size(self) -> int:
        return 3

    def output_lengths(self, ilens):
        return ilens

    def forward(self, xs_pad, ilens):
        self.calls += 1
        return TrunkOutput(self.factor * xs_pad, ilens)


class EveryNth(AbsBranch):
    """Every n-th frame, plus n; refuses rows that are padded more than they need."""

    def __init__(self, n: int, size: int = 3):
        super().__init__()
        self.n = n
        self.size = size
        self.shift = torch.nn.Parameter(torch.tensor(float(n)))
        self.shapes = []

    def output_size(self) -> int:
        return self.size

    def output_lengths(self, ilens):
        return torch.div(ilens + self.n - 1, self.n, rounding_mode="floor")

    def forward(self, trunk):
        assert trunk.hidden.size(1) == trunk.lengths.max()
        self.shapes.append(tuple(trunk.hidden.shape))
        hidden = trunk.hidden[:, :: self.n] + self.shift
        return hidden, self.output_lengths(trunk.lengths)


@pytest.fixture
def encoder():
    return RoutedEncoder(Doubling(), {3: EveryNth(3), 1: EveryNth(1), 2: EveryNth(2)})


def test_rows_go_to_the_branch_of_their_count_and_come_back_in_order(encoder):
    features = torch.randn(4, 4, 3)
    counts = torch.tensor([3, 1, 2, 3])
    hidden, lengths, states = encoder(features, LENGTHS, counts=counts)
    assert isinstance(encoder, AbsEncoder)
    assert states is None
    assert lengths.tolist() == [2, 2, 2, 1]
    assert hidden.shape == (4, 2, 3)
    for row, count in enumerate(counts.tolist()):
        expected = 2 * features[row, : LENGTHS[row] : count] + count
        torch.testing.assert_close(hidden[row, : lengths[row]], expected)


def test_the_trunk_runs_once_and_a_branch_sees_its_rows_only(encoder):
    counts = torch.tensor([3, 2, 2, 3])
    encoder(torch.randn(4, 4, 3), LENGTHS, counts=counts)
    assert encoder.trunk.calls == 1
    shapes = {name: branch.shapes for name, branch in encoder.branches.items()}
    assert shapes == {"1": [], "2": [(2, 3, 3)], "3": [(2, 4, 3)]}


def test_one_branch_needs_no_counts():
    encoder = RoutedEncoder(Doubling(), {2: EveryNth(2)})
    features = torch.randn(4, 4, 3)
    hidden, lengths, _ = encoder(features, LENGTHS)
    torch.testing.assert_close(hidden, 2 * features[:, ::2] + 2)
    assert lengths.tolist() == [2, 1, 2, 1]


def test_gradients_of_mixed_counts(encoder):
    features = torch.randn(4, 4, 3, requires_grad=True)
    counts = torch.tensor([3, 2, 2, 3])
    hidden, lengths, _ = encoder(features, LENGTHS, counts=counts)
    hidden.sum().backward()
    shifts = {n: branch.shift.grad for n, branch in encoder.branches.items()}
    assert shifts["1"] is None
    # Rows of 3 talkers: 4 frames become 2 in each of two rows; 3 frames become 2.
    assert shifts["3"] == 2 * 2 * 3
    assert shifts["2"] == 2 * 2 * 3
    assert encoder.trunk.factor.grad is not None
    assert features.grad[0, 3].tolist() == [2.0, 2.0, 2.0]
    assert features.grad[0, 1].tolist() == [0.0, 0.0, 0.0]


def test_output_lengths_are_the_smallest(encoder):
    lengths = encoder.output_lengths(torch.tensor([0, 1, 4, 7]))
    assert lengths.tolist() == [0, 1, 2, 3]


def test_a_frozen_trunk(encoder):
    encoder.trunk.requires_grad_(False)
    encoder.train()
    assert encoder.branches.training and not encoder.trunk.training
    features = torch.randn(4, 4, 3, requires_grad=True)
    assert not encoder.encode_trunk(features, LENGTHS).hidden.requires_grad
    encoder.trunk.requires_grad_(True)
    assert encoder.encode_trunk(features, LENGTHS).hidden.requires_grad
    with torch.no_grad():
        assert not encoder.encode_trunk(features, LENGTHS).hidden.requires_grad


def test_counts_must_be_known(encoder):
    features = torch.randn(4, 4, 3)
    with pytest.raises(ValueError, match=r"counts must choose among \(1, 2, 3\)"):
        encoder(features, LENGTHS)
    with pytest.raises(ValueError, match=r"no branch for 4 talkers, .* \(1, 2, 3\)"):
        encoder(features, LENGTHS, counts=torch.tensor([1, 2, 4, 2]))


def test_branches_must_be_alike():
    with pytest.raises(ValueError, match=r"one output size, got \{2: 3, 3: 5\}"):
        RoutedEncoder(Doubling(), {2: EveryNth(2), 3: EveryNth(3, size=5)})
    with pytest.raises(ValueError, match="one output size"):
        RoutedEncoder(Doubling(), {})
