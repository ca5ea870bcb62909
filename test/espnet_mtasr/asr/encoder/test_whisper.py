"""RoutedWhisperEncoder: transformers' own results, padding, pooling, bad input."""

import pytest
import torch
from helpers.tiny_wavlm import LARGE_FORM, save_wavlm, tiny_wavlm
from helpers.tiny_whisper import save_whisper, tiny_config, tiny_whisper
from transformers import WhisperFeatureExtractor

from espnet_mtasr.asr.encoder.log_mel import WhisperLogMel
from espnet_mtasr.asr.encoder.whisper import RoutedWhisperEncoder, pool
from espnet_mtasr.errors import UserError

RATE = 16000


def speech(seconds, seed=0):
    """Noise whose level changes, with silence in it."""
    generator = torch.Generator().manual_seed(seed)
    wave = 0.1 * torch.randn(round(seconds * RATE), generator=generator)
    level = torch.linspace(0.01, 2.0, len(wave)).square()
    wave = wave * level
    wave[len(wave) // 3 : len(wave) // 2] = 0.0
    return wave


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_whisper(tiny_whisper(), tmp_path_factory.mktemp("whisper"))


def build(folder, **options):
    return RoutedWhisperEncoder(model=folder, **options).eval()


def encode(encoder, waves, count=2):
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    # What lies behind a row must not be heard.
    padded = torch.where(
        torch.arange(padded.size(1)) < lengths[:, None], padded, 7.0
    ).nan_to_num()
    with torch.no_grad():
        trunk = encoder.encode_trunk(padded, lengths)
        hidden, frames = encoder.encode_branch(trunk, count)
    return trunk, hidden, frames


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize("seconds", [30.0, 3.21, 0.05])
def test_the_spectrogram_is_whispers(bins, seconds):
    wave = speech(seconds)
    extractor = WhisperFeatureExtractor(feature_size=bins)
    wanted = extractor(
        wave.numpy(), sampling_rate=RATE, padding=False, return_tensors="pt"
    ).input_features[0]
    got, frames = WhisperLogMel(bins)(wave[None], torch.tensor([len(wave)]))
    assert frames.tolist() == [len(wave) // 160] and got.shape[1] == wanted.shape[1]
    torch.testing.assert_close(got[0].T, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize("num_trunk_layers", [1, 2, 3])
def test_thirty_seconds_are_encoded_as_by_transformers(
    tmp_path, bins, num_trunk_layers
):
    model = tiny_whisper(num_mel_bins=bins)
    encoder = build(save_whisper(model, tmp_path), num_trunk_layers=num_trunk_layers)
    wave = speech(30.0)
    extractor = WhisperFeatureExtractor(feature_size=bins)
    features = extractor(wave.numpy(), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        wanted = model.get_encoder()(features.input_features).last_hidden_state
    for count in (2, 3):
        _, hidden, frames = encode(encoder, [wave], count)
        assert frames.tolist() == [1500]
        torch.testing.assert_close(hidden, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("pools", [(1, 1), (2, 1), (1, 4), (2, 3)])
def test_a_row_does_not_depend_on_its_batch(folder, pools):
    encoder = build(folder, pool_before=pools[0], pool_behind=pools[1])
    waves = [speech(s, k) for k, s in enumerate((1.37, 0.02, 2.5, 0.005, 0.33))]
    trunk, hidden, frames = encode(encoder, waves)
    counted = encoder.frame_counter(1, pool_before=pools[0], pool_behind=pools[1])
    assert frames.tolist() == counted(torch.tensor([len(w) for w in waves])).tolist()
    assert encoder.output_lengths(trunk.lengths.new_tensor([9000])).item() == (
        counted(torch.tensor([9000])).item()
    )
    assert frames[3] == 0 and hidden.isfinite().all()
    for row, wave in enumerate(waves):
        alone_trunk, alone, n = encode(encoder, [wave])
        assert n.item() == frames[row]
        torch.testing.assert_close(
            hidden[row, : frames[row]], alone[0, : frames[row]], atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(
            trunk.features[row, : trunk.lengths[row]],
            alone_trunk.features[0, : trunk.lengths[row]],
            atol=1e-5,
            rtol=1e-4,
        )


def test_pooling_averages_what_there_is():
    hidden = torch.tensor([[[1.0], [3.0], [5.0], [9.0]], [[2.0], [4.0], [6.0], [0.0]]])
    pooled, lengths = pool(hidden, torch.tensor([4, 3]), 2)
    assert pooled[..., 0].tolist() == [[2.0, 7.0], [3.0, 6.0]]
    assert lengths.tolist() == [2, 2]


def test_what_is_too_long_is_refused_in_one_line(folder):
    encoder = build(folder)
    with pytest.raises(UserError, match="31.0 s of audio: .* reads at most 30 s; cut"):
        encode(encoder, [torch.zeros(31 * RATE)])


def test_more_than_thirty_seconds(folder):
    """What Whisper has heard stays; the rest is what its sinusoids go on with."""
    encoder = build(folder, max_seconds=40)
    plain = build(folder)
    known = plain.trunk.embed_positions.weight
    positions = encoder.trunk.embed_positions.weight
    assert len(known) == 1500 and len(positions) == 2000
    torch.testing.assert_close(positions[:1500], known, atol=1e-3, rtol=0)
    _, hidden, frames = encode(encoder, [speech(40.0)])
    assert frames.tolist() == [2000] and hidden.isfinite().all()
    with pytest.raises(UserError, match="41.0 s of audio: .* reads at most 40 s"):
        encode(encoder, [torch.zeros(41 * RATE)])
    conf = encoder.conf_without_pretrained()
    again = RoutedWhisperEncoder(max_seconds=40, **conf).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(encode(again, [speech(40.0)])[1], hidden)


def test_positions_that_are_no_sinusoids(tmp_path):
    model = tiny_whisper()
    torch.nn.init.normal_(model.encoder.embed_positions.weight)
    folder = save_whisper(model, tmp_path)
    build(folder)
    with pytest.raises(UserError, match="max_seconds: 40: this model's positions are"):
        build(folder, max_seconds=40)


def test_it_is_rebuilt_without_the_pretrained_files(folder):
    encoder = build(folder, num_trunk_layers=1, pool_before=2)
    conf = encoder.conf_without_pretrained()
    again = RoutedWhisperEncoder(num_trunk_layers=1, pool_before=2, **conf).eval()
    again.load_state_dict(encoder.state_dict())
    wave = speech(1.0)
    for found, wanted in zip(encode(again, [wave])[1:], encode(encoder, [wave])[1:]):
        assert torch.equal(found, wanted)


def test_gradient_checkpointing_changes_nothing(folder):
    gradients = []
    for checkpointing in (False, True):
        encoder = RoutedWhisperEncoder(
            model=folder, gradient_checkpointing=checkpointing
        )
        hidden, _, _ = encoder(
            speech(1.0)[None], torch.tensor([RATE]), counts=torch.tensor([3])
        )
        hidden.square().sum().backward()
        gradients.append(
            {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}
        )
    plain, checkpointed = gradients
    assert plain.keys() == checkpointed.keys()
    assert {"trunk.conv1.weight", "branches.3.layers.0.fc1.weight"} < plain.keys()
    assert not any(name.startswith("branches.2.") for name in plain)
    assert "trunk.embed_positions.weight" not in plain
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(folder, dtype):
    """The spectrogram stays in float32: half of it would be noise."""
    wave = speech(2.0)
    _, wanted, _ = encode(build(folder), [wave])
    encoder = build(folder).to(dtype)
    mel = encoder.trunk.log_mel
    expected, _ = WhisperLogMel(80)(wave[None], torch.tensor([len(wave)]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = mel(wave[None], torch.tensor([len(wave)]))
    assert torch.equal(found, expected)
    with torch.no_grad():
        hidden, _, _ = encoder(
            wave[None], torch.tensor([len(wave)]), counts=torch.tensor([2])
        )
    assert hidden.dtype == dtype
    assert (hidden.float() - wanted).abs().mean() < 0.05 * wanted.abs().mean()


def test_branches_from_scratch(folder):
    torch.manual_seed(0)
    encoder = build(folder, pretrained_branches=False)
    kept, drawn = build(folder).state_dict(), encoder.state_dict()
    for name in kept:
        differs = not torch.equal(kept[name], drawn[name])
        trainable = name.endswith("weight") and "norm" not in name
        assert not (differs and name.startswith("trunk."))
        assert differs or name.startswith("trunk.") or not trainable, name


def test_an_encoder_without_a_decoder(tmp_path):
    """As those have it who read Whisper's weights from elsewhere."""
    from safetensors.torch import load_file, save_file

    folder = save_whisper(tiny_whisper(), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {k: v for k, v in weights.items() if k.startswith("encoder.")}
    assert kept and len(kept) < len(weights)
    expected = build(folder).state_dict()
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    found = build(folder).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(num_trunk_layers=0), "num_trunk_layers: 0 is not between 1 and 3"),
        (dict(num_trunk_layers=4), "num_trunk_layers: 4 is not between 1 and 3"),
        (dict(pool_before=0), "pool_before: 0: give a number from 1"),
        (dict(pool_behind=-1), "pool_behind: -1: give a number from 1"),
        (dict(whisper_conf={"dropoot": 0.1}), "Whisper has no option dropoot"),
        (dict(whisper_conf={"attn_implementation": "eager"}), "only sdpa applies"),
        (dict(whisper_conf={"d_model": 32}), "weights of .* don't fit"),
        (
            dict(whisper_conf={"encoder_layers": 6}),
            "lacks .* weights, encoder.layers.4",
        ),
        (dict(model=None), "encoder_conf model: is missing"),
        (dict(model="/no/such/folder"), "is neither a folder with a Whisper config"),
    ],
)
def test_bad_options(folder, options, message):
    with pytest.raises(UserError, match=message) as caught:
        RoutedWhisperEncoder(**{"model": folder, **options})
    assert "\n" not in str(caught.value)


def test_another_model_is_not_taken_for_a_whisper(tmp_path):
    folder = save_wavlm(tiny_wavlm(**LARGE_FORM), tmp_path, True)
    with pytest.raises(UserError, match=r"of a Whisper \(model_type: wavlm\)"):
        RoutedWhisperEncoder(model=folder)
    tiny_config().save_pretrained(tmp_path / "no_weights")
    with pytest.raises(UserError, match="weights of .* can't be read"):
        RoutedWhisperEncoder(model=str(tmp_path / "no_weights"))
