"""Talker-count head: how many people talk in this mixture?

Source: Shi et al., Interspeech 2026 (arXiv 2603.10587): attentive statistics pooling
of the trunk's output, layer norm, GELU, dropout, MLP. Pooling: Okabe et al.,
"Attentive statistics pooling", Interspeech 2018.
"""

import torch

from espnet_mtasr.asr.padding import valid_mask


class AttentiveStatisticsPooling(torch.nn.Module):
    """Attention-weighted mean and standard deviation over time.

    Args:
        input_size: Width D.
        attention_size: Width of the attention's hidden layer.
    """

    def __init__(self, input_size: int, attention_size: int = 128):
        super().__init__()
        self.score = torch.nn.Sequential(
            torch.nn.Linear(input_size, attention_size),
            torch.nn.Tanh(),
            torch.nn.Linear(attention_size, 1),
        )

    def forward(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Pool `(B, T, D)` with lengths `(B,)` to `(B, 2 D)`."""
        mask = valid_mask(lengths.clamp(min=1), hidden.size(1))[..., None]
        scores = self.score(hidden).masked_fill(~mask, float("-inf"))
        weights = scores.softmax(dim=1)
        hidden = hidden.masked_fill(~mask, 0.0)
        mean = (weights * hidden).sum(1)
        variance = (weights * (hidden - mean[:, None]).square()).sum(1)
        # The slope of a square root at 0 is infinite.
        return torch.cat([mean, variance.clamp(min=1e-6).sqrt()], dim=-1)


class TalkerCountHead(torch.nn.Module):
    """Classify the talker count from the trunk's output.

    Args:
        input_size: Width D of the trunk's output.
        num_counts: Number of classes.
        hidden_size: Width of the MLP.
        attention_size: Width of the pooling's attention.
        dropout: Before and inside the MLP.
    """

    def __init__(
        self,
        input_size: int,
        num_counts: int,
        hidden_size: int = 256,
        attention_size: int = 128,
        dropout: float = 0.1,
    ):
        super().__init__()
        # The trunk may end before the model's own final norm.
        self.input_norm = torch.nn.LayerNorm(input_size)
        self.pooling = AttentiveStatisticsPooling(input_size, attention_size)
        self.classifier = torch.nn.Sequential(
            torch.nn.LayerNorm(2 * input_size),
            torch.nn.GELU(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(2 * input_size, hidden_size),
            torch.nn.GELU(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(hidden_size, num_counts),
        )

    def forward(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits `(B, num_counts)` for `(B, T, D)` with lengths `(B,)`."""
        return self.classifier(self.pooling(self.input_norm(hidden.float()), lengths))
