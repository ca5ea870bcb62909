"""Talker-count head: predicts how many people talk in a mixture.

Source: Shi et al., Interspeech 2026 (arXiv 2603.10587): attentive statistics pooling
of the trunk's output, layer norm, GELU, dropout, MLP. Pooling: Okabe et al.,
"Attentive statistics pooling", Interspeech 2018.
"""

from typing import Tuple

import torch

from espnet_mtasr.asr.padded_blstm import PaddedBLSTM
from espnet_mtasr.asr.padding import valid_mask
from espnet_mtasr.errors import UserError


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


class ContextLayer(torch.nn.Module):
    """A convolution over time with layer norm, GELU, dropout and a residual.

    Args:
        size: Width D.
        kernel_size: Frames, odd.
        dropout: Of the convolution's output.
    """

    def __init__(self, size: int, kernel_size: int, dropout: float):
        super().__init__()
        self.norm = torch.nn.LayerNorm(size)
        self.conv = torch.nn.Conv1d(size, size, kernel_size, padding=kernel_size // 2)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Map `(B, T, D)` with lengths `(B,)` to `(B, T, D)`."""
        mask = valid_mask(lengths.clamp(min=1), hidden.size(1))[..., None]
        normed = self.norm(hidden).masked_fill(~mask, 0.0)
        change = self.conv(normed.transpose(1, 2)).transpose(1, 2)
        return hidden + self.dropout(torch.nn.functional.gelu(change))


class LSTMContext(torch.nn.Module):
    """Layers of a bidirectional LSTM, and layer norm.

    On a CPU they cost a third of convolutions of the same width.

    Args:
        input_size: Width D.
        hidden_size: Units H per direction.
        num_layers: Layers.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int):
        super().__init__()
        self.lstm = PaddedBLSTM(input_size, hidden_size, num_layers)
        self.norm = torch.nn.LayerNorm(2 * hidden_size)

    def forward(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Map `(B, T, D)` with lengths `(B,)` to `(B, T, 2 H)`."""
        return self.norm(self.lstm(hidden, lengths))


class TalkerCountHead(torch.nn.Module):
    """Classify the talker count from the trunk's output.

    Args:
        input_size: Width D of the trunk's output.
        num_counts: Number of classes.
        hidden_size: Width of the MLP.
        attention_size: Width of the pooling's attention.
        dropout: Before and inside the MLP, and in the layers before the pooling.
        num_context_layers: Layers before the pooling, which give a frame the context of
            its neighbors; the paper has none.
        context_kernel_size: Frames, odd, of those layers if they are convolutions.
        context_lstm_size: Units per direction of those layers if they are a
            bidirectional LSTM; 0: they are convolutions.
        num_activities: Talkers N whose activity it also learns; see talker_activity.py.

    Raises:
        UserError: `context_kernel_size` is even.
    """

    def __init__(
        self,
        input_size: int,
        num_counts: int,
        hidden_size: int = 256,
        attention_size: int = 128,
        dropout: float = 0.1,
        num_context_layers: int = 0,
        context_kernel_size: int = 5,
        context_lstm_size: int = 0,
        num_activities: int = 0,
    ):
        super().__init__()
        if context_kernel_size % 2 == 0:
            raise UserError(
                f"count_head_conf context_kernel_size: {context_kernel_size} is even; "
                f"give an odd number of frames"
            )
        # The trunk may end before the model's own final norm.
        self.input_norm = torch.nn.LayerNorm(input_size)
        size = input_size
        if num_context_layers > 0 and context_lstm_size > 0:
            lstm = LSTMContext(input_size, context_lstm_size, num_context_layers)
            self.context = torch.nn.ModuleList([lstm])
            size = 2 * context_lstm_size
        else:
            self.context = torch.nn.ModuleList(
                ContextLayer(input_size, context_kernel_size, dropout)
                for _ in range(num_context_layers)
            )
        self.pooling = AttentiveStatisticsPooling(size, attention_size)
        self.classifier = torch.nn.Sequential(
            torch.nn.LayerNorm(2 * size),
            torch.nn.GELU(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(2 * size, hidden_size),
            torch.nn.GELU(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(hidden_size, num_counts),
        )
        self.activity = (
            torch.nn.Linear(size, num_activities) if num_activities > 0 else None
        )

    def forward(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits `(B, num_counts)` for `(B, T, D)` with lengths `(B,)`."""
        # It is small, and its pooling sums hundreds of frames: float32 even under AMP.
        with torch.autocast(hidden.device.type, enabled=False):
            return self._classify(self._in_context(hidden, lengths), lengths)

    def with_activity(
        self, hidden: torch.Tensor, lengths: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return what `forward` returns, and activity logits `(B, T, N)`.

        Raises:
            ValueError: `num_activities` is 0.
        """
        if self.activity is None:
            raise ValueError("the talker-count head has no activity_weight")
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = self._in_context(hidden, lengths)
            return self._classify(hidden, lengths), self.activity(hidden)

    def _in_context(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        hidden = self.input_norm(hidden.float())
        for layer in self.context:
            hidden = layer(hidden, lengths)
        return hidden

    def _classify(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.pooling(hidden, lengths))
