"""LSTM separator with one parallel projection per talker.

Source: Shi et al., Interspeech 2026 (arXiv 2603.10587): 2 LSTM layers of 896 units,
layer norm, one linear projection per talker.
"""

from typing import List, Optional, Union

import torch

from espnet_mtasr.asr.padded_blstm import PaddedBLSTM
from espnet_mtasr.asr.separator.abs_separator import AbsSeparator
from espnet_mtasr.errors import UserError


class LSTMSeparator(AbsSeparator):
    """LSTM, layer norm, and a linear projection per stream.

    Args:
        input_size: Width D of the branch's output.
        num_talkers: Number of streams K.
        hidden_size: LSTM units (per direction).
        num_layers: LSTM layers.
        bidirectional: Read both ways.
        dropout: Between the LSTM layers.
        stream_size: Width E of a stream; None takes `hidden_size`.
        residual: A stream is the branch's output plus the LSTM's, which is 0 at first.
            So CTC heads learn from a pretrained encoder at once, and another talker
            count starts from a lower one's streams. Needs `stream_size` D.

    Raises:
        UserError: `residual` with streams that aren't as wide as the branch's output.
    """

    def __init__(
        self,
        input_size: int,
        num_talkers: int,
        hidden_size: int = 896,
        num_layers: int = 2,
        bidirectional: bool = False,
        dropout: float = 0.0,
        stream_size: Optional[int] = None,
        residual: bool = False,
    ):
        super().__init__()
        self._output_size = stream_size or hidden_size
        self.residual = residual
        if residual and self._output_size != input_size:
            raise UserError(
                f"separator_conf residual: streams are {self._output_size} wide, the "
                f"branch's output {input_size}; set stream_size to {input_size}"
            )
        self.lstm: Union[PaddedBLSTM, torch.nn.LSTM]
        if bidirectional:
            self.lstm = PaddedBLSTM(input_size, hidden_size, num_layers, dropout)
        else:
            self.lstm = torch.nn.LSTM(
                input_size,
                hidden_size,
                num_layers,
                batch_first=True,
                dropout=dropout if num_layers > 1 else 0.0,
            )
        width = hidden_size * (2 if bidirectional else 1)
        self.layer_norm = torch.nn.LayerNorm(width)
        self.projections = torch.nn.ModuleList(
            torch.nn.Linear(width, self._output_size) for _ in range(num_talkers)
        )
        if residual:
            for projection in self.projections:
                torch.nn.init.zeros_(projection.weight)
                torch.nn.init.zeros_(projection.bias)

    def output_size(self) -> int:
        """Width E of a stream."""
        return self._output_size

    def forward(
        self, hidden: torch.Tensor, lengths: torch.Tensor
    ) -> List[torch.Tensor]:
        """Separate.

        Args:
            hidden: `(B, T, D)`.
            lengths: `(B,)`.

        Returns:
            K streams `(B, T, E)`; frames beyond a row's length are meaningless.
        """
        if isinstance(self.lstm, PaddedBLSTM):
            output = self.lstm(hidden, lengths)
        else:
            output, _ = self.lstm(hidden)
        output = self.layer_norm(output)
        streams = [projection(output) for projection in self.projections]
        return [hidden + added for added in streams] if self.residual else streams
