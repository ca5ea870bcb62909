"""WavLM's self-attention by torch's scaled_dot_product_attention.

WavLM adds a learned bias per head and distance to the attention scores, times a gate
that each query computes ("gated relative position bias", Chen et al., "WavLM", IEEE
JSTSP 2022). transformers 5 keeps the biases and the scores of all pairs of frames, and
averages the attention weights, which nobody reads. Here biases are kept by distance
and, where no gradients are recorded, laid out for some queries at a time, which stay in
the processor's cache: faster, and memory grows with the frames instead of their square.
The outputs are the same but for rounding.
"""

import math
from typing import Any, Iterable, Optional, Tuple

import torch
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

# Scores that are worked on at a time: on a CPU they should fit in its cache, on a GPU
# they should keep it busy.
SCORES_ON_CPU = 2**20
SCORES_ON_GPU = 2**27
FEWEST_QUERIES = 16


class GatedBiasAttention(WavLMAttention):
    """`WavLMAttention` with the same weights and names of weights.

    What differs: `position_bias` is by distance, see `distance_bias`, and attention
    weights are not returned.
    """

    @classmethod
    def taking_over(cls, attention: WavLMAttention) -> "GatedBiasAttention":
        """Return one that has the very weights of `attention`."""
        taken = cls.__new__(cls)
        taken.__dict__.update(attention.__dict__)
        return taken

    def distance_bias(self, frames: int) -> torch.Tensor:
        """Position bias `(H, 2 T - 1)` by key minus query, from 1 - T to T - 1.

        Only the first layer of a WavLM has the weights for it, for all layers.
        """
        device = self.rel_attn_embed.weight.device
        distances = torch.arange(1 - frames, frames, device=device)
        return self.rel_attn_embed(self._relative_positions_bucket(distances)).T

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: Optional[torch.Tensor] = None,
        position_bias: Optional[torch.Tensor] = None,
        **kwargs: Any,
    ) -> Tuple[torch.Tensor, None, torch.Tensor]:
        """Attend.

        Args:
            hidden_states: `(B, T, D)`.
            attention_mask: `(B, T)`, False where a frame is padding; None: none is.
            position_bias: `(H, 2 T' - 1)` by distance, for T' >= T frames.
            kwargs: What transformers' layers pass on besides; not used.

        Returns:
            `(B, T, D)`, None and `position_bias`.
        """
        query, key, value = (
            self._by_head(projection(hidden_states))
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        gates = self._gates(self._by_head(hidden_states))
        parts = []
        for first, last in self._query_blocks(query):
            bias = self._bias_of_queries(position_bias, first, last, query.size(2))
            scores = (gates[:, :, first:last] * bias).to(query.dtype)
            if attention_mask is not None:
                padding = ~attention_mask[:, None, None]
                scores = scores.masked_fill(padding, -math.inf)
            parts.append(
                scaled_dot_product_attention(
                    query[:, :, first:last],
                    key,
                    value,
                    attn_mask=scores,
                    dropout_p=self.dropout if self.training else 0.0,
                )
            )
        attended = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None, position_bias

    def _by_head(self, hidden: torch.Tensor) -> torch.Tensor:
        """`(B, T, D)` as `(B, H, T, D / H)`."""
        return hidden.unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _gates(self, hidden: torch.Tensor) -> torch.Tensor:
        """Factors `(B, H, T, 1)` of each query's biases, of `(B, H, T, D / H)`."""
        # The two sums of four outputs each, as one matrix product with two columns.
        weight = self.gru_rel_pos_linear.weight.unflatten(0, (2, 4)).sum(1)
        bias = self.gru_rel_pos_linear.bias.unflatten(0, (2, 4)).sum(1)
        update, reset = linear(hidden, weight, bias).sigmoid().split(1, -1)
        return update * (reset * self.gru_rel_pos_const - 1.0) + 2.0

    def _query_blocks(self, query: torch.Tensor) -> Iterable[Tuple[int, int]]:
        """First and last + 1 of the queries to work on together."""
        rows, heads, frames, _ = query.shape
        # Recorded gradients would keep all blocks anyway.
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return [(0, frames)]
        scores = SCORES_ON_GPU if query.is_cuda else SCORES_ON_CPU
        size = max(FEWEST_QUERIES, scores // (rows * heads * frames))
        return [(n, min(n + size, frames)) for n in range(0, frames, size)]

    def _bias_of_queries(
        self, position_bias: torch.Tensor, first: int, last: int, frames: int
    ) -> torch.Tensor:
        """Lay out `(H, last - first, T)` biases of some queries and all keys."""
        # Query q reads frames biases in a row, beginning at distance -q.
        zero = position_bias.size(1) // 2
        windows = position_bias.unfold(1, frames, 1)
        return windows[:, zero + 1 - last : zero + 1 - first].flip(1)


def take_over_attention(layers: torch.nn.ModuleList) -> torch.nn.ModuleList:
    """Give layers of a transformers WavLM this attention; return them."""
    for layer in layers:
        layer.attention = GatedBiasAttention.taking_over(layer.attention)
    return layers
