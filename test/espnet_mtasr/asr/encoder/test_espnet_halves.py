"""The same routing over ESPnet's own encoders."""

import pytest
import torch

from espnet_mtasr.asr.encoder.espnet_halves import RoutedEspnetEncoder
from espnet_mtasr.errors import UserError

LENGTHS = torch.tensor([61, 27, 44, 8])
COUNTS = torch.tensor([3, 2, 3, 2])
SMALL = dict(output_size=16, attention_heads=2, linear_units=24, num_blocks=2)
CONFORMER = dict(SMALL, cnn_module_kernel=5)
CONFS = {
    "conformers, linear": dict(
        trunk_conf=dict(CONFORMER, input_layer="conv2d"),
        branch_conf=dict(CONFORMER, input_layer="linear"),
    ),
    "conformers, no input layer": dict(
        trunk_conf=dict(CONFORMER, input_layer="conv2d2"),
        branch_conf=dict(CONFORMER, input_layer=None),
    ),
    "conformers, subsampled twice": dict(
        trunk_conf=dict(CONFORMER, input_layer="conv2d1"),
        branch_conf=dict(CONFORMER, input_layer="conv2d"),
    ),
    "e_branchformer and transformers": dict(
        trunk="e_branchformer",
        trunk_conf=dict(
            SMALL,
            cgmlp_linear_units=24,
            cgmlp_conv_kernel=5,
            merge_conv_kernel=3,
            positional_dropout_rate=0.1,
        ),
        branch="transformer",
        branch_conf=dict(SMALL, input_layer="linear"),
    ),
}


def _build(conf) -> RoutedEspnetEncoder:
    torch.manual_seed(0)
    return RoutedEspnetEncoder(12, talker_counts=(2, 3), **conf).eval()


@pytest.fixture(scope="module", params=CONFS)
def encoder(request):
    return _build(CONFS[request.param])


@pytest.fixture
def conformer():
    return _build(CONFS["conformers, linear"])


def _features(padding: float = 0.0):
    torch.manual_seed(1)
    features = torch.full((4, 61, 12), padding)
    for row, n in enumerate(LENGTHS.tolist()):
        features[row, :n] = torch.randn(n, 12)
    return features


@torch.no_grad()
def test_a_batch_of_mixed_counts_gives_what_each_row_gives(encoder):
    # Garbage beyond a row's end must not be heard.
    features = _features(padding=9.0)
    hidden, lengths, _ = encoder(features, LENGTHS, counts=COUNTS)
    assert hidden.shape == (4, lengths.max(), encoder.output_size())
    assert torch.equal(lengths, encoder.output_lengths(LENGTHS))
    for row, n in enumerate(LENGTHS.tolist()):
        at = slice(row, row + 1)
        alone, alone_lengths, _ = encoder(
            features[at, :n], LENGTHS[at], counts=COUNTS[at]
        )
        assert alone_lengths == lengths[row]
        torch.testing.assert_close(
            hidden[row, : lengths[row]], alone[0, : lengths[row]], atol=1e-5, rtol=0
        )


def test_frame_counter(conformer):
    """Two convolutions, 3 wide, moved by 2: ((n - 1) // 2 - 1) // 2."""
    frame_counter = RoutedEspnetEncoder.frame_counter(
        12, talker_counts=(2, 3), **CONFS["conformers, linear"]
    )
    lengths = torch.tensor([61, 0, 6, 7, 10, 11, 61])
    assert frame_counter(lengths).tolist() == [14, 0, 0, 1, 1, 2, 14]
    for n in (7, 11):
        real = conformer(torch.randn(1, n, 12), torch.tensor([n]), counts=COUNTS[:1])
        assert real[1] == frame_counter(torch.tensor([n]))
        assert real[0].size(1) == real[1]


def test_asking_for_lengths_leaves_the_training_mode(conformer):
    conformer.trunk.encoder.embed.requires_grad_(False)
    conformer.train()
    before = [module.training for module in conformer.modules()]
    assert True in before and False in before
    conformer.output_lengths(LENGTHS)
    assert [module.training for module in conformer.modules()] == before
    norm = conformer.trunk.encoder.encoders[0].conv_module.norm
    assert norm.num_batches_tracked == 0


@torch.no_grad()
@pytest.mark.parametrize("lengths", [[5, 0, 3, 1], [61, 5, 0, 3], [61, 0, 20, 0]])
def test_too_short_rows_give_no_frame_and_nothing_breaks(encoder, lengths):
    lengths = torch.tensor(lengths)
    # Each branch has rows too short for it.
    features = torch.randn(4, int(lengths.max()), 12)
    hidden, frames, _ = encoder(features, lengths, counts=COUNTS)
    assert torch.equal(frames, encoder.output_lengths(lengths))
    assert frames[lengths == 0].sum() == 0
    assert hidden.isfinite().all()
    assert hidden.size(1) == max(1, frames.max())
    if lengths[0] == 61:
        alone = encoder(features[:1], lengths[:1], counts=COUNTS[:1])[0]
        torch.testing.assert_close(hidden[0, : frames[0]], alone[0], atol=1e-5, rtol=0)


def _without_effect(name: str) -> bool:
    # Keys shifted by a constant leave the softmax as it is; a convolution's bias
    # before batch norm does nothing.
    return name.endswith(("linear_k.bias", "depthwise_conv.bias"))


def test_gradients(encoder):
    encoder.zero_grad()
    encoder.train()
    hidden, _, _ = encoder(_features(), LENGTHS, counts=torch.full((4,), 3))
    (hidden * torch.randn_like(hidden)).sum().backward()
    encoder.eval()
    for half in (encoder.trunk, encoder.branches["3"]):
        for name, parameter in half.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0 or _without_effect(name), name
    assert all(p.grad is None for p in encoder.branches["2"].parameters())


def test_a_frozen_trunk_is_in_eval_and_builds_no_graph(conformer):
    conformer.trunk.requires_grad_(False)
    conformer.train()
    first, second = (conformer.encode_trunk(_features(), LENGTHS) for _ in range(2))
    assert torch.equal(first.hidden, second.hidden)
    assert not first.hidden.requires_grad
    # Batch norm keeps its statistics too.
    norm = conformer.trunk.encoder.encoders[0].conv_module.norm
    assert norm.num_batches_tracked == 0
    once, twice = (conformer.encode_branch(first, 2)[0] for _ in range(2))
    assert once.requires_grad and not torch.equal(once, twice)


def test_branches_are_of_their_own(conformer):
    trunk = conformer.encode_trunk(_features(), LENGTHS)
    two, three = (conformer.encode_branch(trunk, n)[0] for n in (2, 3))
    assert not torch.allclose(two, three)
    ids = [{id(p) for p in b.parameters()} for b in conformer.branches.values()]
    assert not ids[0] & ids[1]


def test_positions_are_padding_invariant_unless_asked_for():
    """ESPnet's default for Conformers depends on the padded length."""
    conf = CONFS["conformers, linear"]
    asked = {k: dict(v, rel_pos_type="legacy") for k, v in conf.items()}
    names = [
        type(_build(c).trunk.encoder.encoders[0].self_attn).__name__
        for c in (conf, asked)
    ]
    assert names == [
        "RelPositionMultiHeadedAttention",
        "LegacyRelPositionMultiHeadedAttention",
    ]


@pytest.mark.parametrize(
    "conf, message",
    [
        ({"trunk_conf": {"num_block": 2}}, "trunk_conf: conformer has no option num_b"),
        ({"branch_conf": {"zz": 2}}, "branch_conf: conformer has no option zz; .*zero"),
        ({"branch_conf": {"input_size": 2}}, "branch_conf: .* no option input_size"),
        ({"trunk": "convormer"}, "trunk: there is no encoder convormer; .*conformer"),
    ],
)
def test_bad_options(conf, message):
    with pytest.raises(UserError, match=f"encoder_conf {message}"):
        RoutedEspnetEncoder(12, **conf)
