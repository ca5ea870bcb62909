"""The parts in a plain ESPnet2 model, with no MTASRTask, as another recipe would."""

import pytest
import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from helpers.tiny_wavlm import LARGE_FORM, tiny_config

from espnet_mtasr.asr.encoder.espnet_halves import RoutedEspnetEncoder
from espnet_mtasr.asr.encoder.wavlm import RoutedWavLMEncoder
from espnet_mtasr.asr.separator.lstm_separator import LSTMSeparator
from espnet_mtasr.asr.serialized_ctc import SerializedCTC

VOCAB = 9
NUM_TALKERS = 2


class PlainModel(AbsESPnetModel):
    """Two talkers, one branch, serialized CTC."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.separator = LSTMSeparator(
            encoder.output_size(), NUM_TALKERS, hidden_size=16
        )
        self.ctc = SerializedCTC(VOCAB, self.separator.output_size(), NUM_TALKERS)

    def _streams(self, speech, speech_lengths):
        hidden, lengths, _ = self.encoder(speech, speech_lengths)
        return self.separator(hidden, lengths), lengths

    def forward(self, speech, speech_lengths, **texts):
        streams, lengths = self._streams(speech, speech_lengths)
        targets = [texts[f"text_spk{k + 1}"] for k in range(NUM_TALKERS)]
        target_lengths = [texts[f"text_spk{k + 1}_lengths"] for k in range(NUM_TALKERS)]
        target_lengths = torch.stack(target_lengths, dim=1)
        loss = self.ctc(streams, lengths, targets, target_lengths).mean()
        stats = dict(loss=loss.detach())
        return force_gatherable((loss, stats, len(speech)), loss.device)

    def collect_feats(self, speech, speech_lengths, **kwargs):
        return {"feats": speech, "feats_lengths": speech_lengths}

    def recognize(self, speech, speech_lengths):
        streams, lengths = self._streams(speech, speech_lengths)
        return self.ctc.greedy_search(streams, lengths)


def _wavlm():
    encoder = RoutedWavLMEncoder(
        talker_counts=(NUM_TALKERS,),
        num_trunk_layers=2,
        wavlm_conf=tiny_config(**LARGE_FORM).to_dict(),
        load_pretrained=False,
    )
    return encoder, torch.randn(3, 1500), torch.tensor([1500, 900, 1200])


def _conformer():
    conf = dict(output_size=16, attention_heads=2, linear_units=24, num_blocks=1)
    encoder = RoutedEspnetEncoder(
        20,
        talker_counts=(NUM_TALKERS,),
        trunk_conf=dict(conf, input_layer="conv2d2"),
        branch_conf=dict(conf, input_layer="linear"),
    )
    return encoder, torch.randn(3, 60, 20), torch.tensor([60, 40, 50])


@pytest.mark.parametrize("parts", [_wavlm, _conformer])
def test_a_step_lowers_the_loss(parts):
    torch.manual_seed(0)
    encoder, speech, speech_lengths = parts()
    model = PlainModel(encoder)
    batch = dict(
        speech=speech,
        speech_lengths=speech_lengths,
        text_spk1=torch.tensor([[1, 2, 2, 3], [4, 5, -1, -1], [6, 1, 8, -1]]),
        text_spk1_lengths=torch.tensor([4, 2, 3]),
        text_spk2=torch.tensor([[7, 8, -1], [3, 1, 6], [2, -1, -1]]),
        text_spk2_lengths=torch.tensor([2, 3, 1]),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.eval()
    before, stats, weight = model(**batch)
    assert stats["loss"] == before and weight == 3
    model.train()
    model(**batch)[0].backward()
    optimizer.step()
    model.eval()
    assert model(**batch)[0] < before - 0.01
    texts = model.recognize(speech, speech_lengths)
    assert [len(streams) for streams in texts] == [NUM_TALKERS] * 3
