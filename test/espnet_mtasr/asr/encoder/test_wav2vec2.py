"""RoutedWav2Vec2Encoder: what transformers' models give, padding, rebuilding."""

import pytest
import torch
from helpers.tiny_wavlm import FORMS, SHORTEST, tiny_config
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

from espnet_mtasr.asr.encoder.wav2vec2 import RoutedWav2Vec2Encoder
from espnet_mtasr.errors import UserError

KINDS = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
    "hubert": (HubertConfig, HubertModel),
}


def tiny(kind, form, folder, **changes):
    """Save a tiny model in which every parameter matters; return it and the folder."""
    config_class, model_class = KINDS[kind]
    like_wavlm = tiny_config(**FORMS[form]).to_dict()
    names = set(config_class().to_dict()) & set(like_wavlm)
    names -= {"model_type", "architectures", "transformers_version"}
    config = config_class(**{name: like_wavlm[name] for name in names}, **changes)
    torch.manual_seed(0)
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model, str(folder)


@pytest.fixture(params=[(k, f) for k in KINDS for f in FORMS], ids=str)
def saved(request, tmp_path):
    return tiny(*request.param, tmp_path)


def encode(encoder, waves, count):
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.nn.utils.rnn.pad_sequence(waves, True, 9.0)
    with torch.no_grad():
        return encoder.encode_branch(encoder.encode_trunk(padded, lengths), count)


def noise(samples, seed=0):
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_trunk_layers", [1, 3])
def test_it_gives_what_transformers_gives(saved, num_trunk_layers):
    model, folder = saved
    encoder = RoutedWav2Vec2Encoder(
        model=folder, num_trunk_layers=num_trunk_layers, do_normalize=False
    ).eval()
    wave = noise(1234)
    with torch.no_grad():
        wanted = model(wave[None]).last_hidden_state
    for count in (2, 3):
        hidden, frames = encode(encoder, [wave], count)
        assert frames.item() == wanted.size(1)
        torch.testing.assert_close(hidden, wanted, atol=1e-4, rtol=1e-4)


def test_a_row_does_not_depend_on_its_batch(saved):
    encoder = RoutedWav2Vec2Encoder(model=saved[1]).eval()
    counter = RoutedWav2Vec2Encoder.frame_counter(1, model=saved[1])
    waves = [noise(n, n) for n in (1500, SHORTEST, 777, 10)]
    hidden, frames = encode(encoder, waves, 3)
    assert frames.tolist() == counter(torch.tensor([len(w) for w in waves])).tolist()
    assert frames[1] == 1 and frames[3] == 0 and hidden.isfinite().all()
    for row, wave in enumerate(waves):
        alone, _ = encode(encoder, [wave], 3)
        n = int(frames[row])
        torch.testing.assert_close(hidden[row, :n], alone[0, :n], atol=1e-4, rtol=1e-4)


def test_it_is_rebuilt_without_the_pretrained_files(saved):
    encoder = RoutedWav2Vec2Encoder(model=saved[1], num_trunk_layers=1).eval()
    conf = encoder.conf_without_pretrained()
    again = RoutedWav2Vec2Encoder(num_trunk_layers=1, **conf).eval()
    again.load_state_dict(encoder.state_dict())
    assert again.trunk.config.model_type == encoder.trunk.config.model_type
    wave = [noise(900)]
    assert torch.equal(encode(again, wave, 2)[0], encode(encoder, wave, 2)[0])


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(num_trunk_layers=4), "num_trunk_layers: 4 is not between 1 and 3"),
        (dict(wav2vec2_conf={"attn_implementation": "eager"}), "only sdpa applies"),
        (dict(wav2vec2_conf={"hiden": 1}), "wav2vec2_conf: Wav2Vec2 has no option hid"),
        (dict(model="/no/such"), "is neither a folder with a Wav2Vec2 config.json"),
        (dict(model=None), "encoder_conf model: is missing"),
    ],
)
def test_bad_options(tmp_path, options, message):
    _, folder = tiny("wav2vec2", "large form", tmp_path)
    with pytest.raises(UserError, match=message):
        RoutedWav2Vec2Encoder(**{"model": folder, **options})


def test_positions_that_depend_on_the_batch_are_refused(tmp_path):
    _, folder = tiny("hubert", "base form", tmp_path, conv_pos_batch_norm=True)
    with pytest.raises(UserError, match="normalizes positions over the batch"):
        RoutedWav2Vec2Encoder(model=folder)


def test_another_model(tmp_path):
    tiny_config().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"of a Wav2Vec2 \(model_type: wavlm\)"):
        RoutedWav2Vec2Encoder(model=str(tmp_path))
