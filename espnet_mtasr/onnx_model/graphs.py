"""The parts of a model that become ONNX graphs, in the form that torch can export.

Dynamic axes: batch, samples and frames. What a batch gives is what each mixture alone
gives: the masks are in the graphs.
"""

import copy
import functools
from typing import Callable, List, Tuple

import torch

from espnet_mtasr.asr.encoder.abs_routable import AbsTrunk, TrunkOutput
from espnet_mtasr.asr.encoder.wavlm import WavLMTrunk, receptive_field
from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.errors import UserError


class OnnxLSTM(torch.nn.Module):
    """ONNX's LSTM with the weights of torch's, for export only.

    torch.export unrolls torch's own over the frames that it sees.

    Args:
        lstm: One direction, batch first, as the separators have it.

    Raises:
        ValueError: it is another one.
    """

    def __init__(self, lstm: torch.nn.LSTM):
        super().__init__()
        if lstm.bidirectional or lstm.proj_size or not lstm.batch_first or not lstm.bias:
            raise ValueError(f"{lstm} is not a plain LSTM of one direction")
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


class TrunkGraph(torch.nn.Module):
    """Waveforms to what the branches read, and to the talker counts' probabilities.

    Args:
        model: In evaluation mode; it is left as it is.

    Raises:
        UserError: the model's trunk is of a kind that can't be exported.
    """

    def __init__(self, model: MTASRModel):
        super().__init__()
        self.frontend = model.frontend
        self.normalize = model.normalize
        self.trunk = exportable_trunk(model.encoder.trunk)
        self.count_head = model.count_head
        self.reads_features = model.count_input == "features"
        has_context = isinstance(self.trunk, WavLMTrunk)
        self.output_names = ["hidden", "frames"]
        self.output_names += ["context"] if has_context else []
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
        trunk = self.trunk(feats, lengths)
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
    """

    def __init__(self, model: MTASRModel, count: int):
        super().__init__()
        self.branch = model.encoder.branches[str(count)]
        self.separator = copy.deepcopy(model.separator[str(count)])
        for name, module in list(self.separator.named_modules()):
            if isinstance(module, torch.nn.LSTM):
                self.separator.set_submodule(name, OnnxLSTM(module))
        self.ctc = model.ctc[str(count)]
        self.output_names = ["branch_frames"]
        self.output_names += [f"log_probs_{k + 1}" for k in range(count)]
        self.eval()

    def forward(
        self, hidden: torch.Tensor, frames: torch.Tensor, *context: torch.Tensor
    ) -> List[torch.Tensor]:
        """Map the trunk's output to lengths `(B,)` and K times `(B, T, V)`."""
        trunk = TrunkOutput(hidden, frames, *context)
        hidden, frames = self.branch(trunk)
        # An output that is an input has no name of its own.
        return [frames.clone(), *self.ctc.log_probs(self.separator(hidden, frames))]


def exportable_trunk(trunk: AbsTrunk) -> AbsTrunk:
    """Return a trunk that shares the weights of `trunk` and can be exported.

    Raises:
        UserError: there is none for this kind.
    """
    if not isinstance(trunk, WavLMTrunk):
        raise UserError(
            f"encoder: an {type(trunk).__name__} can't be exported to ONNX, "
            f"only routed_wavlm can; decode with the model itself"
        )
    trunk = copy.copy(trunk)
    trunk.make_context = position_bias_by_table(trunk)
    return trunk


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


def min_samples(model: MTASRModel) -> int:
    """Fewest samples that the exported trunk takes: one frame."""
    return receptive_field(model.encoder.trunk.config)
