"""Tiny models with random weights, for tests: WavLM, causal LMs, an MTASRModel."""

import json
from pathlib import Path
from typing import Dict, Optional, Sequence

import torch

WORDS = "alpha bravo had had over the sea a b c".split()
WAVLM_CONF = dict(
    hidden_size=16,
    intermediate_size=24,
    num_attention_heads=2,
    num_hidden_layers=3,
    conv_dim=[8, 8],
    conv_kernel=[40, 16],
    conv_stride=[20, 16],
    num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=2,
    num_buckets=8,
    max_bucket_distance=16,
    feat_extract_norm="layer",
    do_stable_layer_norm=True,
    hidden_dropout=0.1,
    attention_dropout=0.1,
    activation_dropout=0.1,
)
HOP = 320
# Tokens of the tiny LMs; `<sc>` is the next one.
LLM_VOCAB = 270
CHARACTERS = ["<blank>", "<unk>", "<space>", *"abcdefghijklmnopqrstuvwxyz", "<sos/eos>"]
LORA = dict(r=2, lora_alpha=4, lora_dropout=0.0)


def make_tiny_wavlm(folder: Path, **changes) -> Path:
    """Write a WavLM of 3 layers, 20 ms frames, width 16; return its folder."""
    from transformers import WavLMConfig, WavLMModel

    torch.manual_seed(3)
    WavLMModel(WavLMConfig(**{**WAVLM_CONF, **changes})).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    return folder


def make_tiny_tokenizer(folder: Path):
    """Write a byte-level BPE tokenizer in Hugging Face format and return it.

    As in Llama 3, a word has other ids after a space than at the start of a text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [" ".join(WORDS)] * 3,
        trainers.BpeTrainer(
            vocab_size=LLM_VOCAB,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    )
    fast.save_pretrained(folder)
    return fast


def make_tiny_llm(folder: Path, kind: str = "llama", tied: bool = True) -> Path:
    """Write a causal LM of width 16 and its tokenizer; return the folder.

    Args:
        folder: To be made.
        kind: `llama` or `gpt2` (learned positions, other module names).
        tied: Whether input and output embeddings are one.
    """
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    size = len(make_tiny_tokenizer(folder))
    torch.manual_seed(5)
    if kind == "llama":
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=size,
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                tie_word_embeddings=tied,
                initializer_range=0.3,
                bos_token_id=0,
                eos_token_id=1,
            )
        )
    else:
        model = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=size,
                n_embd=16,
                n_layer=2,
                n_head=2,
                n_positions=256,
                tie_word_embeddings=tied,
                initializer_range=0.3,
                bos_token_id=0,
                eos_token_id=1,
            )
        )
    model.save_pretrained(folder)
    return folder


def make_model(
    llm: Optional[Path] = None,
    talker_counts: Sequence[int] = (2, 3),
    seed: int = 0,
    **weights: float,
):
    """An MTASRModel with all parts that its weights need; vocabulary of 8 CTC tokens.

    Args:
        llm: Folder of the teacher's LM; None builds no teacher.
        talker_counts: One branch each.
        seed: Of all weights.
        weights: `ctc_weight`, `count_weight`, `activity_weight`.
    """
    from espnet_mtasr.asr.encoder.wavlm import RoutedWavLMEncoder
    from espnet_mtasr.asr.mtasr_model import MTASRModel
    from espnet_mtasr.asr.separator.lstm_separator import LSTMSeparator
    from espnet_mtasr.asr.serialized_ctc import SerializedCTC
    from espnet_mtasr.asr.talker_count_head import TalkerCountHead
    from espnet_mtasr.asr.teacher.llm_teacher import LLMTeacher

    torch.manual_seed(seed)
    encoder = RoutedWavLMEncoder(
        talker_counts=talker_counts,
        num_trunk_layers=1,
        wavlm_conf=WAVLM_CONF,
        load_pretrained=False,
    )
    # Distinct branches: a test must notice when a row takes the wrong one.
    for branch in encoder.branches.values():
        for parameter in branch.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    size = encoder.output_size()
    return MTASRModel(
        vocab_size=8,
        token_list=[str(i) for i in range(8)],
        encoder=encoder,
        separator={
            n: LSTMSeparator(size, n, hidden_size=8, num_layers=1)
            for n in talker_counts
        },
        ctc={n: SerializedCTC(8, 8, n) for n in talker_counts},
        teacher=None if llm is None else LLMTeacher(size, str(llm), 2, lora=LORA),
        count_head=TalkerCountHead(
            size,
            len(talker_counts),
            8,
            8,
            num_activities=max(talker_counts) if "activity_weight" in weights else 0,
        ),
        **weights,
    )


def make_batch(
    counts: Sequence[int],
    frames: Sequence[int],
    lengths: Optional[Sequence[Sequence[int]]] = None,
    max_talkers: int = 3,
    seed: int = 1,
) -> Dict[str, torch.Tensor]:
    """A batch as ESPnet's collate function makes it: -1 pads ids, 0 pads samples.

    Args:
        counts: Talker count of each row.
        frames: Frames of each row (20 ms, see `WAVLM_CONF`).
        lengths: Target lengths of each row's talkers; None: 2, 3, 2 by talker.
        max_talkers: Number of `text_spk` arrays.
        seed: Of samples and targets.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for k, (count, n) in enumerate(zip(counts, frames)):
        sizes = lengths[k] if lengths is not None else (2, 3, 2)[:count]
        sizes = [*sizes, *[0] * (max_talkers - count)]
        row = {
            # Frame n needs 40 + 15 * 20 = 340 samples, 20 more than the hop.
            "speech": torch.randn((n * HOP + 20) if n else 30, generator=generator),
            "text": torch.randint(2, 250, (sum(sizes) + 1,), generator=generator),
        }
        for t, size in enumerate(sizes):
            # No repeats: an alignment needs exactly as many frames as tokens.
            ids = torch.randperm(6, generator=generator)[:size] + 1
            row[f"text_spk{t + 1}"] = ids
        rows.append(row)
    return collate(rows)


def collate(rows: Sequence[Dict[str, torch.Tensor]]) -> Dict[str, torch.Tensor]:
    """Pad rows of arrays to a batch with `_lengths`."""
    batch = {}
    for name in rows[0]:
        batch[name] = torch.nn.utils.rnn.pad_sequence(
            [row[name] for row in rows],
            batch_first=True,
            padding_value=0.0 if name == "speech" else -1,
        )
        batch[f"{name}_lengths"] = torch.tensor([len(row[name]) for row in rows])
    return batch


def rows_of(
    batch: Dict[str, torch.Tensor], rows: Sequence[int]
) -> Dict[str, torch.Tensor]:
    """The batch that holds some rows alone, with no more padding than they need."""
    names = [name for name in batch if not name.endswith("_lengths")]
    return collate(
        [{n: batch[n][r][: batch[f"{n}_lengths"][r]] for n in names} for r in rows]
    )
