"""Two ablations: a shared separator, and a count head on the trunk's input features."""

import pytest
import torch
from helpers.tiny_data import phase_config, write_config
from helpers.tiny_models import CHARACTERS, WAVLM_CONF, make_batch, make_tiny_wavlm

from espnet_mtasr.errors import UserError
from espnet_mtasr.tasks.cached_trunk import check_cacheable
from espnet_mtasr.tasks.mtasr import MTASRTask


@pytest.fixture
def args_of(tmp_path):
    """A function from changes of the configuration to `args`, with no teacher."""

    def make(**changes):
        config = phase_config(make_tiny_wavlm(tmp_path / "wavlm"), tmp_path, 2)
        config["model_conf"] = dict(ctc_weight=1.0, **changes.pop("model_conf", {}))
        path = write_config(tmp_path / "config.yaml", {**config, **changes})
        args = MTASRTask.parse_config(path)
        MTASRTask.check_args(args)
        args.token_list = CHARACTERS
        return args

    return make


def test_a_shared_separator_learns_from_both_talker_counts(args_of):
    model = MTASRTask.build_model(args_of(share_separator=True))
    apart = MTASRTask.build_model(args_of())
    lstm = model.separator["2"].separator.lstm
    assert model.separator["3"].separator.lstm is lstm
    assert apart.separator["2"].lstm is not apart.separator["3"].lstm
    # Width 16, 8 units: an LSTM of 832 weights, norm 16, 2 or 3 projections of 72.
    size = sum(p.numel() for p in model.separator.parameters())
    assert size == 832 + 16 + 3 * 72
    size = sum(p.numel() for p in apart.separator.parameters())
    assert size == 2 * (832 + 16) + 5 * 72
    slopes = []
    for count in (2, 3):
        model.zero_grad()
        model(**make_batch([count], [30]))[0].backward()
        slopes.append(lstm.weight_ih_l0.grad.abs().sum().item())
        projections = model.separator["2"].separator.projections
        third = projections[2].weight.grad
        assert (third is not None) == (count == 3)
    assert all(slope > 0 for slope in slopes)


def test_a_checkpoint_of_a_shared_separator_is_read_back(args_of, tmp_path):
    torch.manual_seed(0)
    model = MTASRTask.build_model(args_of(share_separator=True)).eval()
    torch.manual_seed(1)
    other = MTASRTask.build_model(args_of(share_separator=True)).eval()
    other.load_state_dict(model.state_dict())
    hidden, lengths = torch.randn(1, 5, 16), torch.tensor([5])
    for count in ("2", "3"):
        streams = model.separator[count](hidden, lengths)
        assert len(streams) == int(count)
        for a, b in zip(streams, other.separator[count](hidden, lengths)):
            torch.testing.assert_close(a, b, atol=0, rtol=0)


def test_the_count_head_reads_the_convolutions_output(args_of):
    args = args_of(model_conf=dict(count_input="features"))
    model = MTASRTask.build_model(args).eval()
    assert model.count_head.input_norm.normalized_shape == (WAVLM_CONF["conv_dim"][-1],)
    batch = make_batch([2, 3], [30, 20])
    trunk = model.encode_trunk(batch["speech"], batch["speech_lengths"])
    assert trunk.features.shape == (2, 30, 8)
    probabilities = model.count_talkers(trunk)
    # The layers between the convolutions and the trunk's output don't matter to it.
    blind = trunk._replace(hidden=torch.zeros_like(trunk.hidden))
    torch.testing.assert_close(model.count_talkers(blind), probabilities)
    alone = model.encode_trunk(
        batch["speech"][1:, : 20 * 320 + 20], torch.tensor([6420])
    )
    torch.testing.assert_close(
        model.count_talkers(alone)[0], probabilities[1], atol=1e-5, rtol=0
    )
    stats = model.train()(**batch)[1]
    assert torch.isfinite(stats["loss_count"])


def test_wrong_settings(args_of):
    args = args_of(model_conf=dict(count_input="feature"))
    with pytest.raises(UserError, match="model_conf: count_input feature: choose"):
        args.model_conf["count_input"] = "feature"
        MTASRTask.build_model(args)
    args = args_of(
        model_conf=dict(count_input="features"),
        encoder="routed_espnet",
        encoder_conf=dict(
            trunk_conf=dict(output_size=8, num_blocks=1, linear_units=8),
            branch_conf=dict(output_size=8, num_blocks=1, input_layer="linear"),
        ),
        input_size=20,
    )
    with pytest.raises(UserError, match="this encoder's trunk has none"):
        MTASRTask.build_model(args)


def test_features_are_not_cached(args_of):
    args = args_of(model_conf=dict(count_input="features"))
    with pytest.raises(UserError, match="count_input: features is not cached"):
        check_cacheable(args)
    check_cacheable(args_of())
