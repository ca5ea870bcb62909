"""WavLM's convolutions as matrix products, one stretch of time after another.

transformers' module computes `(B, C, T)` and transposes it twice in every layer for
layer norm; its first layers' outputs are 64 times as long as the last one's and don't
fit in a processor's cache. Here channels are last, as layer norm and matrix products
need them, and a few frames of the output are computed at a time. The outputs are the
same except for rounding.
"""

import math
from typing import Iterable, List, Sequence, Tuple

import torch
from torch.nn.functional import linear
from transformers.models.wavlm.modeling_wavlm import WavLMFeatureEncoder

from espnet_mtasr.asr.padding import valid_mask

# Values of the first layer's output to process at a time: on a CPU they should fit in
# its cache, on a GPU they should keep it busy.
VALUES_ON_CPU = 2**21
VALUES_ON_GPU = 2**27


def field_of(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Return the input values that the first output frame of convolutions reads."""
    field = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides)):
        field = (field - 1) * stride + kernel
    return field


def extract_features(
    extractor: WavLMFeatureEncoder, xs_pad: torch.Tensor, ilens: torch.Tensor
) -> torch.Tensor:
    """Return convolutional features `(B, T, C)` of `(B, N)` samples.

    Args:
        extractor: A WavLM's `feature_extractor`.
        xs_pad: At least as many samples as its receptive field.
        ilens: `(B,)` valid samples; padding must stay out of the statistics over time
            that models like WavLM-Base compute.
    """
    first, *others = extractor.conv_layers
    hidden = xs_pad[..., None]
    if not isinstance(getattr(first, "layer_norm", None), torch.nn.GroupNorm):
        return _by_stretches(extractor.conv_layers, hidden)
    # A row that is too short for a frame is treated as long enough for one.
    ilens = ilens.clamp(min=field_of(*_kernels_and_strides(extractor.conv_layers)))
    kernel, stride = first.conv.kernel_size[0], first.conv.stride[0]
    lengths = (ilens - kernel).div(stride, rounding_mode="floor") + 1
    hidden = _convolve(hidden, first.conv, _matrix(first.conv))
    hidden = first.activation(masked_norm(first.layer_norm, hidden, lengths))
    return _by_stretches(others, hidden)


def masked_norm(
    norm: torch.nn.GroupNorm, hidden: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Normalize each channel of `(B, T, C)` over each row's `lengths` `(B,)` frames."""
    mask = valid_mask(lengths, hidden.size(1))[..., None]
    count = lengths[:, None, None]
    values = hidden.float()
    mean = (values * mask).sum(1, keepdim=True) / count
    centred = (values - mean) * mask
    variance = centred.square().sum(1, keepdim=True) / count
    normed = (centred * (variance + norm.eps).rsqrt()).to(hidden.dtype)
    return normed * norm.weight + norm.bias


def _by_stretches(
    layers: Iterable[torch.nn.Module], hidden: torch.Tensor
) -> torch.Tensor:
    """Run layers on `(B, T, C)`, which is long enough for a frame."""
    layers = list(layers)
    matrices = [_matrix(layer.conv) for layer in layers]
    # Recorded gradients would keep all stretches anyway.
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return _run(layers, matrices, hidden)
    kernels, strides = _kernels_and_strides(layers)
    field, hop = field_of(kernels, strides), math.prod(strides)
    frames = (hidden.size(1) - field) // hop + 1
    values = VALUES_ON_GPU if hidden.is_cuda else VALUES_ON_CPU
    per_frame = layers[0].conv.out_channels * (hop // strides[0])
    size = max(1, values // (len(hidden) * per_frame))
    parts = [
        _run(layers, matrices, hidden[:, n * hop : (n + size - 1) * hop + field])
        for n in range(0, frames, size)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _run(
    layers: Sequence[torch.nn.Module],
    matrices: Sequence[torch.Tensor],
    hidden: torch.Tensor,
) -> torch.Tensor:
    for layer, matrix in zip(layers, matrices):
        hidden = _convolve(hidden, layer.conv, matrix)
        if hasattr(layer, "layer_norm"):
            hidden = layer.layer_norm(hidden)
        hidden = layer.activation(hidden)
    return hidden


def _kernels_and_strides(
    layers: Iterable[torch.nn.Module],
) -> Tuple[List[int], List[int]]:
    convs = [layer.conv for layer in layers]
    return [c.kernel_size[0] for c in convs], [c.stride[0] for c in convs]


def _matrix(conv: torch.nn.Conv1d) -> torch.Tensor:
    """The kernel as `(C', K C)`."""
    return conv.weight.transpose(1, 2).flatten(1)


def _convolve(
    hidden: torch.Tensor, conv: torch.nn.Conv1d, matrix: torch.Tensor
) -> torch.Tensor:
    """Map `(B, T, C)` to `(B, T', C')`."""
    # Compilers and exporters recognize convolutions.
    if torch.compiler.is_compiling():
        return conv(hidden.transpose(1, 2)).transpose(1, 2)
    windows = hidden.unfold(1, conv.kernel_size[0], conv.stride[0])
    return linear(windows.transpose(2, 3).flatten(2), matrix, conv.bias)
