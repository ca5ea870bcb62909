"""The parts of a model that become ONNX graphs, in the form that torch can export.

Dynamic axes: batch, samples and frames. What a batch gives is what each mixture alone
gives: the masks are in the graphs.
"""

import copy
import functools
import math
from typing import Callable, List, Optional, Tuple, TypeVar, Union

import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.asr.frontend.default import DefaultFrontend

from espnet_mtasr.asr.encoder.abs_routable import AbsTrunk, TrunkOutput
from espnet_mtasr.asr.encoder.espnet_halves import EspnetBranch, EspnetTrunk
from espnet_mtasr.asr.encoder.log_mel import HOP, MARGIN, WINDOW, WhisperLogMel
from espnet_mtasr.asr.encoder.wav2vec2 import Wav2Vec2Trunk
from espnet_mtasr.asr.encoder.wavlm import (
    WavLMBranch,
    WavLMTrunk,
    receptive_field,
)
from espnet_mtasr.asr.encoder.wavlm_attention import GatedBiasAttention
from espnet_mtasr.asr.encoder.whisper import WhisperTrunk
from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.asr.padding import valid_mask
from espnet_mtasr.errors import UserError

Half = TypeVar("Half", WavLMTrunk, WavLMBranch)
Part = TypeVar("Part", bound=torch.nn.Module)


class OnnxLSTM(torch.nn.Module):
    """ONNX's LSTM with the weights of torch's, for export only.

    torch.export unrolls torch's own over the frames that it sees.

    Args:
        lstm: One direction, batch first, as `PaddedBLSTM` has it.

    Raises:
        UserError: it is another one.
    """

    def __init__(self, lstm: torch.nn.LSTM):
        super().__init__()
        plain = lstm.batch_first and lstm.bias and not lstm.proj_size
        if not plain or lstm.bidirectional:
            raise UserError(
                f"torch's {lstm} can't be exported to ONNX; decode with the original "
                "model"
            )
        self.hidden_size = lstm.hidden_size
        self.num_layers = lstm.num_layers
        for k in range(lstm.num_layers):
            w, r, b_w, b_r = (
                _in_onnx_order(getattr(lstm, f"{name}_l{k}").detach())
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            self.register_buffer(f"w{k}", w[None])
            self.register_buffer(f"r{k}", r[None])
            self.register_buffer(f"b{k}", torch.cat([b_w, b_r])[None])

    def forward(self, xs: torch.Tensor) -> Tuple[torch.Tensor, None]:
        """Map `(B, T, D)` to `(B, T, H)`; there is no state to go on with."""
        xs = xs.transpose(0, 1)
        for k in range(self.num_layers):
            weights = (getattr(self, f"{name}{k}") for name in "wrb")
            xs = torch.onnx.ops.symbolic(
                "LSTM",
                (xs, *weights),
                dict(hidden_size=self.hidden_size),
                dtype=xs.dtype,
                shape=(xs.size(0), 1, xs.size(1), self.hidden_size),
            ).squeeze(1)
        return xs.transpose(0, 1), None


def _in_onnx_order(weight: torch.Tensor) -> torch.Tensor:
    """Gates in, forget, cell, out to ONNX's in, out, forget, cell."""
    into, forget, cell, out = weight.chunk(4)
    return torch.cat([into, out, forget, cell])


def with_onnx_lstms(part: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a model's part whose LSTMs can be exported.

    Raises:
        UserError: see `OnnxLSTM`.
    """
    part = copy.deepcopy(part)
    for name, module in list(part.named_modules()):
        if isinstance(module, torch.nn.LSTM):
            part.set_submodule(name, OnnxLSTM(module))
    return part


class TrunkGraph(torch.nn.Module):
    """Waveforms to what the branches read, and to the talker counts' probabilities.

    Args:
        model: In evaluation mode; it is left as it is.

    Raises:
        UserError: frontend or trunk can't be exported.
    """

    def __init__(self, model: MTASRModel):
        super().__init__()
        reads_waveforms = isinstance(model.encoder.trunk, (WavLMTrunk, WhisperTrunk))
        if model.frontend is None and not reads_waveforms:
            raise UserError(
                "frontend: there is none, and the encoder doesn't read waveforms, "
                "which an exported model must"
            )
        self.frontend = exportable_frontend(model.frontend)
        self.normalize = model.normalize
        self.trunk = exportable_trunk(model.encoder.trunk)
        self.count_head = model.count_head and with_onnx_lstms(model.count_head)
        self.reads_features = model.count_input == "features"
        self.output_names = ["hidden", "frames"]
        if model.encoder.trunk.make_context(1) is not None:
            self.output_names.append("context")
        self.output_names += ["count_log_probs"] if self.count_head else []
        self.eval()

    def forward(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> List[torch.Tensor]:
        """Map `(B, N)` samples with lengths `(B,)` to what `output_names` says."""
        feats = speech
        if self.frontend is not None:
            feats, lengths = self.frontend(feats, lengths)
        if self.normalize is not None:
            feats, lengths = self.normalize(feats, lengths)
        trunk = TrunkOutput(*self.trunk(feats, lengths))
        outputs = [trunk.hidden, trunk.lengths]
        if trunk.context is not None:
            outputs.append(trunk.context)
        if self.count_head is not None:
            read = trunk.features if self.reads_features else trunk.hidden
            outputs.append(self.count_head(read, trunk.lengths).log_softmax(-1))
        return outputs


class BranchGraph(torch.nn.Module):
    """Branch, separator and CTC heads of one talker count.

    Args:
        model: In evaluation mode; it is left as it is.
        count: Talker count K.

    Raises:
        UserError: branch or separator can't be exported.
    """

    def __init__(self, model: MTASRModel, count: int):
        super().__init__()
        branch = model.encoder.branches[str(count)]
        if int(branch.output_lengths(torch.ones(1, dtype=torch.long))) != 1:
            raise UserError(
                "encoder_conf branch_conf: a branch that shortens its input can't be "
                "exported to ONNX; decode with the original model"
            )
        self.reads_context = not isinstance(branch, EspnetBranch)
        self.branch = branch
        if type(branch) is WavLMBranch:
            self.branch = with_exportable_attention(branch)
        elif isinstance(branch, EspnetBranch):
            self.branch = ExportableEncoder(branch)
        self.separator = with_onnx_lstms(model.separator[str(count)])
        self.ctc = model.ctc[str(count)]
        self.output_names = ["branch_frames"]
        self.output_names += [f"log_probs_{k + 1}" for k in range(count)]
        self.eval()

    def forward(
        self,
        hidden: torch.Tensor,
        frames: torch.Tensor,
        context: Optional[torch.Tensor] = None,
    ) -> List[torch.Tensor]:
        """Map the trunk's output to lengths `(B,)` and K times `(B, T, V)`."""
        if self.reads_context:
            hidden, frames = self.branch(TrunkOutput(hidden, frames, context))
        else:
            hidden, frames = self.branch(hidden, frames)
        # An output that is an input has no name of its own.
        return [frames.clone(), *self.ctc.log_probs(self.separator(hidden, frames))]


class ExportableLogMel(torch.nn.Module):
    """ESPnet's default frontend, for one channel.

    Args:
        frontend: Its settings and filters.
    """

    def __init__(self, frontend: DefaultFrontend):
        super().__init__()
        stft, mel = frontend.stft, frontend.logmel
        self.margin = stft.n_fft // 2 if stft.center else 0
        self.settings = dict(
            n_fft=stft.n_fft,
            win_length=stft.win_length,
            hop_length=stft.hop_length,
            center=stft.center,
            normalized=stft.normalized,
            onesided=stft.onesided,
            return_complex=True,
        )
        window = None
        if stft.window is not None:
            window = getattr(torch, f"{stft.window}_window")(stft.win_length)
        self.register_buffer("window", window)
        self.register_buffer("filters", mel.melmat)
        self.scale = 1.0 if mel.log_base is None else 1.0 / math.log(mel.log_base)

    def forward(
        self, speech: torch.Tensor, lengths: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Map `(B, N)` samples with lengths `(B,)` to `(B, T, F)` and `(B,)`."""
        spectrum = torch.stft(speech, window=self.window, **self.settings)
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        features = (power @ self.filters).clamp(min=1e-10).log() * self.scale
        inner = lengths + 2 * self.margin - self.settings["n_fft"]
        lengths = inner.div(self.settings["hop_length"], rounding_mode="trunc") + 1
        mask = valid_mask(lengths, features.size(1))
        return features.masked_fill(~mask[..., None], 0.0), lengths


class ExportableWhisperLogMel(WhisperLogMel):
    """`WhisperLogMel` by convolutions, as onnxruntime's STFT is off by 1e-4."""

    def __init__(self, num_mel_bins: int):
        super().__init__(num_mel_bins)
        bins = torch.arange(1 + WINDOW // 2, dtype=torch.float64)
        angles = 2 * math.pi / WINDOW * bins[:, None] * torch.arange(WINDOW)
        waves = torch.stack([angles.cos(), angles.sin()]) * self.window.double()
        self.waves = waves.reshape(-1, 1, WINDOW).float()

    def power(self, samples: torch.Tensor) -> torch.Tensor:
        """See `WhisperLogMel.power`."""
        parts = torch.nn.functional.conv1d(samples[:, None], self.waves, stride=HOP)
        return parts.square().unflatten(1, (2, -1)).sum(1)


class ExportableEncoder(torch.nn.Module):
    """`EspnetTrunk` and `EspnetBranch`, for input that is not too short.

    Args:
        half: One of the two.
    """

    def __init__(self, half: Union[EspnetTrunk, EspnetBranch]):
        super().__init__()
        self.encoder = half.encoder

    def forward(
        self, xs_pad: torch.Tensor, ilens: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Map `(B, N, F)` with lengths `(B,)`, one of them N, to `(B, T, D)`."""
        # A row without a frame keeps one.
        hidden, lengths, *_ = self.encoder(xs_pad, ilens.clamp(min=1))
        return hidden, lengths.masked_fill(ilens == 0, 0)


def exportable_frontend(frontend: Optional[AbsFrontend]) -> Optional[torch.nn.Module]:
    """Return an exportable equivalent of `frontend`.

    Raises:
        UserError: there is nothing for this kind of frontend.
    """
    if frontend is None:
        return None
    # Its enhancement leaves one channel as it is.
    if type(frontend) is not DefaultFrontend or frontend.stft is None:
        raise UserError(
            f"frontend: a {type(frontend).__name__} with these settings can't be "
            "exported to ONNX, only log mel features of one channel can; decode with "
            "the original model"
        )
    return ExportableLogMel(frontend)


def exportable_trunk(trunk: AbsTrunk) -> Callable[..., TrunkOutput]:
    """Return a trunk that shares the weights of `trunk` and can be exported.

    Raises:
        UserError: there is nothing for this kind of trunk.
    """
    if isinstance(trunk, EspnetTrunk):
        return ExportableEncoder(trunk)
    if isinstance(trunk, WhisperTrunk):
        trunk = sharing_weights(trunk)
        trunk.log_mel = ExportableWhisperLogMel(trunk.config.num_mel_bins)
        return trunk
    if isinstance(trunk, Wav2Vec2Trunk):
        return trunk
    if not isinstance(trunk, WavLMTrunk):
        raise UserError(
            f"encoder: a {type(trunk).__name__} can't be exported to ONNX; decode with "
            "the original model"
        )
    trunk = with_exportable_attention(trunk)
    trunk.make_context = position_bias_by_table(trunk)
    return trunk


class ExportableAttention(GatedBiasAttention):
    """`GatedBiasAttention` for position biases `(H, T, T)` that are laid out."""

    def _attend(self, query, key, value, gates, position_bias, padding):
        return self._by_scores(query, key, value, gates * position_bias, padding)


def sharing_weights(part: Part) -> Part:
    """Return a copy of a model's part that has the same weights."""
    weights = {id(weight): weight for weight in part.parameters()}
    return copy.deepcopy(part, weights)


def with_exportable_attention(half: Half) -> Half:
    """Return a copy of a WavLM's trunk or branch that shares its weights."""
    half = sharing_weights(half)
    for layer in half.layers:
        layer.attention = ExportableAttention.taking_over(layer.attention)
    return half


def position_bias_by_table(trunk: WavLMTrunk) -> Callable[[int], torch.Tensor]:
    """Return `trunk.make_context` with a table in place of logarithms.

    The buckets of distances are rounded logarithms: another library's logarithm might
    put a distance into the next bucket.
    """
    attention = trunk.layers[0].attention
    # Farther frames are all in the last bucket of their direction.
    farthest = attention.max_distance + 1
    distances = torch.arange(-farthest, farthest + 1)
    buckets = attention._relative_positions_bucket(distances)
    values = attention.rel_attn_embed(buckets).detach().T.contiguous()
    return functools.partial(_look_up, values, farthest)


def _look_up(values: torch.Tensor, farthest: int, frames: int) -> torch.Tensor:
    """Position bias `(H, T, T)` of values `(H, 2 farthest + 1)` by distance."""
    places = torch.arange(frames)
    distances = (places[None, :] - places[:, None]).clamp(-farthest, farthest)
    return values[:, distances + farthest]


@torch.no_grad()
def min_samples(model: MTASRModel) -> int:
    """Fewest samples that give a frame; the exported trunk takes no fewer."""
    trunk = model.encoder.trunk
    if isinstance(trunk, WavLMTrunk):
        return receptive_field(trunk.config)
    if isinstance(trunk, WhisperTrunk):
        # What is mirrored at its ends.
        return MARGIN + 1
    # A reflected margin takes more samples than it has.
    too_few = model.frontend.stft.n_fft // 2

    def is_enough(samples: int) -> bool:
        lengths = torch.tensor([samples])
        trunk_output = model.encode_trunk(torch.zeros(1, samples), lengths)
        return int(trunk_output.lengths) > 0

    enough = 2 * too_few + 1
    while not is_enough(enough):
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if is_enough(middle) else (middle, enough)
    return enough
