"""How much work a forward pass is: operations, bytes and LSTM steps, for floors.py.

Operations are counted by torch.utils.flop_counter (matrix products and convolutions,
attention included), for LSTMs and the language model by closed forms, since the counter
knows no LSTM and the language model's loop would take long. Bytes are the weights, once
per pass, and for the language model once per token, with its key-value cache: what lies
between the layers could stay in a cache, and is left out.
"""

from typing import Any, Callable
from unittest import mock

from tools.bench.floors import Work


def count_work(run: Callable[[], Any], *modules: Any) -> Work:
    """Run something once and count it.

    Args:
        run: Forward pass, of whatever implementation: compiled parts run plainly here,
            and attention as matrix products, for the counter to see them.
        modules: Those whose weights it reads.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    lstms = Work()

    def forward(lstm: torch.nn.LSTM, xs: torch.Tensor, *state: Any):
        nonlocal lstms
        lstms = lstms.plus(lstm_work(lstm, *_rows_and_frames(lstm, xs)))
        width = lstm.hidden_size * (2 if lstm.bidirectional else 1)
        return xs.new_zeros(*xs.shape[:-1], width), None

    counter = FlopCounterMode(display=False)
    with (
        torch.no_grad(),
        mock.patch.object(torch.nn.LSTM, "forward", forward),
        torch.compiler.set_stance("force_eager"),
        sdpa_kernel(SDPBackend.MATH),
        counter,
    ):
        run()
    return lstms.plus(Work(counter.get_total_flops(), weight_bytes(*modules)))


def _rows_and_frames(lstm: Any, xs: Any) -> "tuple[int, int]":
    rows, frames = xs.shape[:2] if lstm.batch_first else xs.shape[1::-1]
    return rows, frames


def lstm_work(lstm: Any, rows: int, frames: int) -> Work:
    """Operations and steps of a `torch.nn.LSTM` on `(rows, frames, D)`.

    Both directions of a bidirectional one count as going on at once.
    """
    matrices = [p for name, p in lstm.named_parameters() if "weight" in name]
    operations = 2.0 * rows * frames * sum(m.numel() for m in matrices)
    return Work(operations=operations, lstm_steps=frames * lstm.num_layers)


def weight_bytes(*modules: Any) -> float:
    """Bytes of the parameters of modules, each once."""
    parameters = {id(p): p for module in modules for p in module.parameters()}
    return float(sum(p.numel() * p.element_size() for p in parameters.values()))


def llm_work(llm: Any, rows: int, prefix: int, tokens: int) -> Work:
    """Work of writing `tokens` tokens after `prefix` positions, with a cache.

    The first token comes from the pass over the prefix, each other one from a pass over
    the one before it; the last is never read. Logits are computed for one position a
    pass.

    Args:
        llm: Causal LM of transformers, in the manner of Llama.
        rows: Transcripts that are written at once.
        prefix: Positions of each before its first token.
        tokens: Of each, end of sentence included, from 1.
    """
    config = llm.config
    head_dim = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    output = llm.get_output_embeddings().weight
    layers = [p for p in llm.model.layers.parameters() if p.dim() > 1]
    matrices = sum(p.numel() for p in layers)
    positions = prefix + tokens - 1
    # A position attends to itself and to all before it.
    attended = positions * (positions + 1) / 2
    per_attended = 4.0 * config.num_hidden_layers * config.num_attention_heads
    operations = (
        2.0 * matrices * positions
        + 2.0 * output.numel() * tokens
        + per_attended * head_dim * attended
    )
    read_from_cache = sum(prefix + written for written in range(1, tokens))
    cache_position = 2.0 * config.num_hidden_layers * config.num_key_value_heads
    read = weight_bytes(llm.model.layers) + output.numel() * output.element_size()
    return Work(
        operations=rows * operations,
        bytes=tokens * read
        + rows * read_from_cache * cache_position * head_dim * output.element_size(),
    )
