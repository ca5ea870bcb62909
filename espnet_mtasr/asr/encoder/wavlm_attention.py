"""WavLM's self-attention with torch's scaled_dot_product_attention.

WavLM adds a learned bias per head and distance to the attention scores, times a gate
that each query computes ("gated relative position bias", Chen et al., "WavLM", IEEE
JSTSP 2022). transformers 5 stores the biases and scores of all pairs of frames, and
averages the attention weights, which aren't used. Here biases are stored by distance.
If no gradients are recorded, they are expanded for one or a few heads at a time, which
stay in the processor's cache. This is faster and needs less memory. The outputs are the
same except for rounding.
"""

import math
from typing import Any, Iterator, Optional, Tuple

import torch
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

# Scores to process at a time: on a CPU they should fit in its cache, on a GPU they
# should keep it busy.
SCORES_ON_CPU = 2**20
SCORES_ON_GPU = 2**27
# With fewer queries, torch's CPU kernel is half as fast.
FEWEST_QUERIES = 1024


class GatedBiasAttention(WavLMAttention):
    """`WavLMAttention` with the same weights and names of weights.

    The differences: `position_bias` is by distance, see `distance_bias`, and attention
    weights aren't returned.
    """

    @classmethod
    def taking_over(cls, attention: WavLMAttention) -> "GatedBiasAttention":
        """Return one that shares the weights of `attention`."""
        taken = cls.__new__(cls)
        taken.__dict__.update(attention.__dict__)
        return taken

    def distance_bias(self, frames: int) -> torch.Tensor:
        """Return position bias `(H, 2 T - 1)` by key minus query, 1 - T to T - 1.

        Only the first layer of a WavLM has the weights for it; all layers use them.
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
            kwargs: Other arguments from transformers' layers; not used.

        Returns:
            `(B, T, D)`, None and `position_bias`.
        """
        query, key, value = (
            self._by_head(projection(hidden_states))
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        gates = self._gates(self._by_head(hidden_states))
        padding = None if attention_mask is None else ~attention_mask[:, None, None]
        attended = self._attend(query, key, value, gates, position_bias, padding)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None, position_bias

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        gates: torch.Tensor,
        position_bias: torch.Tensor,
        padding: Optional[torch.Tensor],
    ) -> torch.Tensor:
        """Attend by head: three inputs `(B, H, T, D / H)`, output of the same shape.

        Args:
            gates: `(B, H, T, 1)`.
            position_bias: See `forward`.
            padding: `(B, 1, 1, T)`, True for keys that are padding, or None.
        """
        # From the last query to the first, biases start one distance further each time.
        query, gates = query.flip(2), gates.flip(2)
        frames = query.size(2)
        unused = (position_bias.size(1) + 1) // 2 - frames
        biases = position_bias[:, unused:].unfold(1, frames, 1)
        # Recorded gradients would keep all scores anyway.
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            scores = (gates * biases[:, :frames]).to(query.dtype)
            return self._by_scores(query, key, value, scores, padding).flip(2)
        attended = torch.empty_like(query)
        memory = query.new_empty(0)
        for heads, queries in self._portions(query):
            portion = query[:, heads, queries]
            scores = memory.resize_(*portion.shape[:3], frames)
            torch.mul(gates[:, heads, queries], biases[heads, queries], out=scores)
            attended[:, heads, queries] = self._by_scores(
                portion, key[:, heads], value[:, heads], scores, padding
            )
        return attended.flip(2)

    def _by_scores(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scores: torch.Tensor,
        padding: Optional[torch.Tensor],
    ) -> torch.Tensor:
        """Attend with `scores` `(B, H, Q, T)` added to those of queries and keys."""
        if padding is not None:
            scores = scores.masked_fill(padding, -math.inf)
        dropout = self.dropout if self.training else 0.0
        return scaled_dot_product_attention(
            query, key, value, attn_mask=scores, dropout_p=dropout
        )

    def _by_head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Reshape `(B, T, D)` to `(B, H, T, D / H)`."""
        return hidden.unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _gates(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return factors `(B, H, T, 1)` for queries' biases from `(B, H, T, D / H)`."""
        # The two sums of four outputs each are one matrix product with two columns.
        weight = self.gru_rel_pos_linear.weight.unflatten(0, (2, 4)).sum(1)
        bias = self.gru_rel_pos_linear.bias.unflatten(0, (2, 4)).sum(1)
        update, reset = linear(hidden, weight, bias).sigmoid().split(1, -1)
        return update * (reset * self.gru_rel_pos_const - 1.0) + 2.0

    @staticmethod
    def _portions(query: torch.Tensor) -> Iterator[Tuple[slice, slice]]:
        """Yield heads and queries to process together."""
        rows, heads, frames, _ = query.shape
        scores = SCORES_ON_GPU if query.is_cuda else SCORES_ON_CPU
        some_heads = max(1, scores // (rows * frames**2))
        parts = max(1, frames // FEWEST_QUERIES)
        for head in range(0, heads, some_heads):
            for n in range(parts):
                queries = slice(n * frames // parts, (n + 1) * frames // parts)
                yield slice(head, head + some_heads), queries


def take_over_attention(layers: torch.nn.ModuleList) -> torch.nn.ModuleList:
    """Give layers of a transformers WavLM this attention; return them."""
    for layer in layers:
        layer.attention = GatedBiasAttention.taking_over(layer.attention)
    return layers
