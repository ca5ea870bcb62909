"""WavLM cut in two is WavLM; padding, copies, freezing, rebuilding."""

import copy

import pytest
import torch
import yaml
from helpers.tiny_wavlm import (
    BASE_FORM,
    FORMS,
    HOP,
    LARGE_FORM,
    SHORTEST,
    save_wavlm,
    tiny_config,
    tiny_wavlm,
)
from transformers import Wav2Vec2FeatureExtractor

from espnet_mtasr.asr.encoder.wavlm import (
    RoutedWavLMEncoder,
    normalize_samples,
    receptive_field,
    wavlm_output_lengths,
)

LENGTHS = torch.tensor([1003, 610, 333, 777])
COUNTS = torch.tensor([3, 2, 3, 2])


def _audio(lengths=LENGTHS, padding: float = 0.0):
    """Waveforms that are neither centred nor of unit variance."""
    torch.manual_seed(1)
    audio = torch.full((len(lengths), int(lengths.max())), padding)
    for row, n in enumerate(lengths.tolist()):
        audio[row, :n] = 0.3 * torch.randn(n) + 0.1
    return audio


@pytest.fixture(scope="module", params=FORMS)
def form(request):
    return FORMS[request.param]


@pytest.fixture(scope="module", params=[False, True])
def saved(request, form, tmp_path_factory):
    """A model, its folder, and whether waveforms are normalized."""
    wavlm = tiny_wavlm(**form)
    folder = tmp_path_factory.mktemp("wavlm")
    return wavlm, save_wavlm(wavlm, folder, request.param), request.param


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Folder of a model of WavLM-Large's form."""
    return save_wavlm(tiny_wavlm(**LARGE_FORM), tmp_path_factory.mktemp("large"), True)


def _encoder(folder, seed=7, **options) -> RoutedWavLMEncoder:
    torch.manual_seed(seed)
    options = {"num_trunk_layers": 2, **options}
    return RoutedWavLMEncoder(model=folder, **options).eval()


def _randomize_branches(encoder) -> None:
    """Make the branches differ from each other."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in encoder.branches.parameters():
            parameter += 0.1 * torch.randn_like(parameter)


@torch.no_grad()
def _transformers_alone(wavlm, audio, lengths, do_normalize):
    """What WavLMModel gives each row alone, prepared by its own feature extractor."""
    extractor = Wav2Vec2FeatureExtractor(do_normalize=do_normalize)
    outputs = []
    for row, n in enumerate(lengths.tolist()):
        inputs = extractor(
            audio[row, :n].numpy(), sampling_rate=16000, return_tensors="pt"
        )
        outputs.append(wavlm(inputs["input_values"]).last_hidden_state[0])
    return outputs


@pytest.mark.parametrize("num_trunk_layers", [1, 3])
def test_equals_transformers_row_by_row(saved, num_trunk_layers):
    wavlm, folder, do_normalize = saved
    encoder = _encoder(folder, num_trunk_layers=num_trunk_layers)
    assert encoder.trunk.do_normalize is do_normalize
    expected = _transformers_alone(wavlm, _audio(), LENGTHS, do_normalize)
    with torch.no_grad():
        # Garbage beyond a row's end must not be heard.
        hidden, lengths, _ = encoder(_audio(padding=9.0), LENGTHS, counts=COUNTS)
    assert lengths.tolist() == [len(e) for e in expected]
    assert hidden.shape == (4, max(lengths), encoder.output_size())
    for row, alone in enumerate(expected):
        assert alone.std() > 0.1
        torch.testing.assert_close(hidden[row, : len(alone)], alone, atol=1e-4, rtol=0)


def test_equals_transformers_with_attention_mask(large):
    """transformers' own batch, where it does not depend on padding."""
    wavlm = tiny_wavlm(**LARGE_FORM)
    audio = _audio()
    inputs = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)(
        [audio[row, :n].numpy() for row, n in enumerate(LENGTHS.tolist())],
        sampling_rate=16000,
        padding=True,
        return_tensors="pt",
    )
    encoder = _encoder(large)
    with torch.no_grad():
        expected = wavlm(**inputs).last_hidden_state
        hidden, lengths, _ = encoder(audio, LENGTHS, counts=COUNTS)
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(
            hidden[row, :n], expected[row, :n], atol=1e-4, rtol=0
        )


@torch.no_grad()
def test_a_batch_of_mixed_counts_gives_what_each_row_gives(saved):
    encoder = _encoder(saved[1])
    _randomize_branches(encoder)
    audio = _audio(padding=9.0)
    hidden, lengths, _ = encoder(audio, LENGTHS, counts=COUNTS)
    for row, n in enumerate(LENGTHS.tolist()):
        at = slice(row, row + 1)
        alone, alone_lengths, _ = encoder(audio[at, :n], LENGTHS[at], counts=COUNTS[at])
        assert alone_lengths == lengths[row]
        torch.testing.assert_close(
            hidden[row, : lengths[row]], alone[0], atol=1e-5, rtol=0
        )
        other = encoder(audio[at, :n], LENGTHS[at], counts=5 - COUNTS[at])[0]
        assert (other - alone).abs().max() > 0.01


@torch.no_grad()
def test_the_trunk_alone_is_padding_invariant(saved):
    encoder = _encoder(saved[1])
    audio = _audio(padding=9.0)
    trunk = encoder.encode_trunk(audio, LENGTHS)
    for row, n in enumerate(LENGTHS.tolist()):
        alone = encoder.encode_trunk(audio[row : row + 1, :n], LENGTHS[row : row + 1])
        torch.testing.assert_close(
            trunk.hidden[row, : trunk.lengths[row]], alone.hidden[0], atol=1e-5, rtol=0
        )


def test_normalize_samples_over_valid_samples_only():
    samples = torch.tensor([[1.0, 3.0, 7.0], [1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    normalized = normalize_samples(samples, torch.tensor([2, 3, 0]))
    third = 1.5**0.5
    expected = [[-1.0, 1.0, 0.0], [-third, 0.0, third], [0.0, 0.0, 0.0]]
    torch.testing.assert_close(normalized, torch.tensor(expected))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_normalize_samples_of_long_recordings_in_half_precision(dtype):
    """float16 counts to 65,504, bfloat16 to 256 without gaps."""
    torch.manual_seed(0)
    samples = (0.1 * torch.randn(2, 70_001) + 0.05).to(dtype)
    lengths = torch.tensor([70_001, 66_000])
    normalized = normalize_samples(samples, lengths)
    wanted = normalize_samples(samples.float(), lengths)
    assert normalized.dtype == dtype
    torch.testing.assert_close(normalized, wanted.to(dtype))


def test_do_normalize_follows_the_file_or_the_form(tmp_path):
    for name, form in (("large", LARGE_FORM), ("base", BASE_FORM)):
        folder = save_wavlm(tiny_wavlm(**form), tmp_path / name, True)
        assert _encoder(folder).trunk.do_normalize
        assert not _encoder(folder, do_normalize=False).trunk.do_normalize
        (tmp_path / name / "preprocessor_config.json").unlink()
        assert _encoder(folder).trunk.do_normalize is (name == "large")


@torch.no_grad()
def test_branches_are_independent_copies(saved):
    encoder = _encoder(saved[1])
    audio = _audio()
    trunk = encoder.encode_trunk(audio, LENGTHS)
    before = {n: encoder.encode_branch(trunk, n)[0] for n in (2, 3)}
    assert torch.equal(before[2], before[3])
    storages = [
        {p.untyped_storage().data_ptr() for p in part.parameters()}
        for part in (encoder.trunk, encoder.branches["2"], encoder.branches["3"])
    ]
    assert not storages[0] & storages[1]
    assert not storages[0] & storages[2]
    assert not storages[1] & storages[2]
    for parameter in encoder.branches["3"].parameters():
        parameter += 0.1
    assert torch.equal(encoder.encode_trunk(audio, LENGTHS).hidden, trunk.hidden)
    assert torch.equal(encoder.encode_branch(trunk, 2)[0], before[2])
    assert not torch.allclose(encoder.encode_branch(trunk, 3)[0], before[3])


def test_where_the_final_norm_is(tmp_path):
    """After the last layer in WavLM-Large's form; before the first in the base form."""
    large, base = (
        _encoder(save_wavlm(tiny_wavlm(**form), tmp_path / name, True))
        for name, form in (("large", LARGE_FORM), ("base", BASE_FORM))
    )
    assert isinstance(large.trunk.layer_norm, torch.nn.Identity)
    assert isinstance(large.branches["2"].layer_norm, torch.nn.LayerNorm)
    assert isinstance(base.trunk.layer_norm, torch.nn.LayerNorm)
    assert isinstance(base.branches["2"].layer_norm, torch.nn.Identity)


@torch.no_grad()
def test_rebuilding_without_the_folder(saved):
    """config.yaml and a checkpoint are enough."""
    encoder = _encoder(saved[1], talker_counts=(3, 2, 1), wavlm_conf={"layerdrop": 0.0})
    _randomize_branches(encoder)
    conf = {
        "model": "/no/such/folder",
        "num_trunk_layers": 2,
        "talker_counts": [1, 2, 3],
    }
    conf = {**conf, **encoder.conf_without_pretrained()}
    conf = yaml.safe_load(yaml.safe_dump(conf))
    again = RoutedWavLMEncoder(**conf).eval()
    again.load_state_dict(encoder.state_dict())
    for counts in (COUNTS, torch.ones_like(COUNTS)):
        expected = encoder(_audio(), LENGTHS, counts=counts)[0]
        assert torch.equal(again(_audio(), LENGTHS, counts=counts)[0], expected)
    frame_counter = RoutedWavLMEncoder.frame_counter(1, **conf)
    assert torch.equal(frame_counter(LENGTHS), encoder.output_lengths(LENGTHS))


def test_branches_drawn_anew(large):
    """The trunk keeps what was pretrained; each branch is drawn for itself."""
    pretrained = _encoder(large)
    drawn = _encoder(large, pretrained_branches=False)
    for name, weight in drawn.trunk.state_dict().items():
        assert torch.equal(weight, pretrained.trunk.state_dict()[name]), name
    before, two, three = (
        branch.state_dict()
        for branch in (pretrained.branches["2"], *drawn.branches.values())
    )
    for name in before:
        if name.endswith(("proj.weight", "dense.weight")):
            assert not torch.equal(two[name], three[name])
            # As WavLM draws them: normal, 0.02 wide.
            assert two[name].std() == pytest.approx(0.02, rel=0.3)
            assert before[name].std() > 0.1
        if name.endswith("layer_norm.weight"):
            assert torch.equal(two[name], torch.ones_like(two[name]))
    again = _encoder(large, pretrained_branches=False)
    assert torch.equal(
        again(_audio(), LENGTHS, counts=COUNTS)[0],
        drawn(_audio(), LENGTHS, counts=COUNTS)[0],
    )


@torch.no_grad()
def test_rebuilding_with_drawn_branches(large):
    encoder = _encoder(large, pretrained_branches=False)
    conf = {"model": "/no/such/folder", "num_trunk_layers": 2}
    conf.update(pretrained_branches=False, **encoder.conf_without_pretrained())
    rebuilt = RoutedWavLMEncoder(**yaml.safe_load(yaml.safe_dump(conf))).eval()
    rebuilt.load_state_dict(encoder.state_dict())
    assert torch.equal(
        rebuilt(_audio(), LENGTHS, counts=COUNTS)[0],
        encoder(_audio(), LENGTHS, counts=COUNTS)[0],
    )


def test_half_precision_files_are_loaded_in_single_precision(tmp_path):
    wavlm = tiny_wavlm(**LARGE_FORM).half()
    encoder = _encoder(save_wavlm(wavlm, tmp_path, True))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    stored = wavlm.encoder.layers[3].feed_forward.output_dense.weight
    loaded = encoder.branches["2"].layers[1].feed_forward.output_dense.weight
    assert torch.equal(loaded, stored.float())


def test_wavlm_conf_changes_the_pretrained_configuration(large):
    encoder = _encoder(large, wavlm_conf={"hidden_dropout": 0.45})
    assert encoder.trunk.dropout.p == 0.45
    assert encoder.branches["3"].layers[0].dropout.p == 0.45


def test_receptive_field():
    assert receptive_field(tiny_config()) == SHORTEST
    # 10, 3, 3, 3, 3, 2, 2 wide, moved by 5, 2, 2, 2, 2, 2, 2: 25 ms at 16 kHz.
    published = tiny_config()
    published.conv_kernel = [10, 3, 3, 3, 3, 2, 2]
    published.conv_stride = [5, 2, 2, 2, 2, 2, 2]
    assert receptive_field(published) == 400
    samples = torch.tensor([399, 400, 719, 720, 16000])
    assert wavlm_output_lengths(published, samples).tolist() == [0, 1, 1, 2, 49]


def test_frame_counter_gives_the_real_lengths(large):
    frame_counter = RoutedWavLMEncoder.frame_counter(1, model=large, talker_counts=[2])
    encoder = _encoder(large)
    samples = torch.arange(0, SHORTEST + 3 * HOP)
    frames = frame_counter(samples)
    assert frames[:SHORTEST].sum() == 0
    assert frames[[SHORTEST, SHORTEST + HOP - 1, SHORTEST + HOP]].tolist() == [1, 1, 2]
    for n in range(SHORTEST, len(samples), 7):
        convolved = encoder.trunk.feature_extractor(torch.randn(1, n))
        assert convolved.size(2) == frames[n]
    assert torch.equal(encoder.output_lengths(samples), frames)


@torch.no_grad()
@pytest.mark.parametrize("longest", [1, SHORTEST - 1, 500])
def test_too_short_audio_gives_no_frame_and_nothing_breaks(saved, longest):
    encoder = _encoder(saved[1])
    lengths = torch.tensor([longest, 0, min(longest, SHORTEST - 1)])
    hidden, frames, _ = encoder(
        _audio(lengths, padding=9.0), lengths, counts=torch.tensor([2, 3, 2])
    )
    assert hidden.isfinite().all()
    assert hidden.size(1) == max(1, frames[0])
    assert frames.tolist() == [
        (longest - SHORTEST) // HOP + 1 if longest > 99 else 0,
        0,
        0,
    ]
    if longest == 500:
        alone = encoder(_audio(lengths)[:1], lengths[:1], counts=torch.tensor([2]))[0]
        torch.testing.assert_close(hidden[:1], alone, atol=1e-5, rtol=0)


def _without_effect(name: str) -> bool:
    # Keys shifted by a constant leave the softmax as it is.
    return name.endswith("attention.k_proj.bias")


def test_a_trainable_trunk_gets_gradients(saved):
    encoder = _encoder(saved[1]).train()
    hidden, _, _ = encoder(_audio(), LENGTHS, counts=torch.full((4,), 3))
    hidden.square().sum().backward()
    for name, parameter in encoder.trunk.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0 or _without_effect(name), name
    for name, parameter in encoder.branches["3"].named_parameters():
        assert parameter.grad.abs().max() > 0 or _without_effect(name), name
    # Only the branch of the rows' talker count learns.
    assert all(p.grad is None for p in encoder.branches["2"].parameters())


def test_the_branch_reaches_the_trunks_position_bias(large):
    """The branches have none of their own; the trunk's comes by the context."""
    encoder = _encoder(large)
    trunk = encoder.encode_trunk(_audio(), LENGTHS)
    detached = trunk._replace(hidden=trunk.hidden.detach())
    encoder.encode_branch(detached, 2)[0].sum().backward()
    bias = encoder.trunk.layers[0].attention.rel_attn_embed.weight
    assert bias.grad.abs().max() > 0


def test_a_frozen_trunk_is_in_eval_and_builds_no_graph(saved):
    dropouts = dict(hidden_dropout=0.5, attention_dropout=0.5, activation_dropout=0.5)
    encoder = _encoder(saved[1], wavlm_conf=dropouts)
    expected = encoder.encode_trunk(_audio(), LENGTHS).hidden
    encoder.trunk.requires_grad_(False)
    encoder.train()
    assert encoder.training
    assert not any(m.training for m in encoder.trunk.modules())
    assert all(m.training for m in encoder.branches.modules())
    trunk = encoder.encode_trunk(_audio(), LENGTHS)
    assert not trunk.hidden.requires_grad and not trunk.context.requires_grad
    torch.testing.assert_close(trunk.hidden, expected, atol=1e-5, rtol=0)
    once, twice = (encoder.encode_branch(trunk, 2)[0] for _ in range(2))
    assert once.requires_grad
    assert not torch.equal(once, twice)
    once.sum().backward()
    assert all(p.grad is None for p in encoder.trunk.parameters())
    # Thawed, all of it comes back.
    encoder.trunk.requires_grad_(True)
    encoder.train()
    assert all(m.training for m in encoder.trunk.modules())
    assert encoder.encode_trunk(_audio(), LENGTHS).hidden.requires_grad


def test_no_layer_is_dropped_in_training(tmp_path):
    """Layers skipped at random would leave parameters without gradient on a rank."""
    no_dropout = dict(
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
    )
    wavlm = tiny_wavlm(**LARGE_FORM, layerdrop=1.0)
    encoder = _encoder(save_wavlm(wavlm, tmp_path, True), wavlm_conf=no_dropout)
    expected = encoder(_audio(), LENGTHS, counts=COUNTS)[0]
    hidden = encoder.train()(_audio(), LENGTHS, counts=COUNTS)[0]
    torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_autocast_does_what_it_does_to_transformers(saved):
    wavlm, folder, do_normalize = saved
    encoder = _encoder(folder)
    audio, lengths, counts = _audio()[:1], LENGTHS[:1], COUNTS[:1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = encoder(audio, lengths, counts=counts)[0]
        expected = _transformers_alone(wavlm, audio, lengths, do_normalize)[0]
    assert (hidden[0] - expected).abs().mean() < 0.01 * expected.abs().mean()


def test_waveforms_must_be_two_dimensional(large):
    with pytest.raises(ValueError, match=r"expected waveforms .* got \(2, 100, 1\)"):
        _encoder(large)(torch.zeros(2, 100, 1), torch.tensor([100, 100]), counts=COUNTS)


def test_the_encoder_can_be_copied(large):
    """ESPnet averages and saves copies of models."""
    encoder = _encoder(large)
    copied = copy.deepcopy(encoder)
    expected = encoder(_audio(), LENGTHS, counts=COUNTS)[0]
    assert torch.equal(copied(_audio(), LENGTHS, counts=COUNTS)[0], expected)
