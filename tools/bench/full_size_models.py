"""Models for the decoding benchmarks: full-size, with random weights, in memory.

The model of a training configuration is built with the published shapes
(tools/published_models.py), so nothing is downloaded, and put into the classes that
decode trained models. Its output is meaningless, but the time doesn't depend on the
weights' values. `FullSizeDecoding` splits it into parts for decoding.py.
"""

import argparse
import contextlib
import io
import logging
import warnings
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple
from unittest import mock

from espnet_mtasr.errors import UserError
from tools.bench import side_by_side as bench
from tools.bench.floors import Work, count_work, weight_bytes
from tools.bench.training import build


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silence log messages of libraries, to keep them out of the tables."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def build_model(args: argparse.Namespace, with_llm: bool) -> Tuple[Any, Any]:
    """Build the `MTASRModel` of `--config`, with or without its language model.

    Returns:
        Model in float32 (the language model in `--dtype`) and options of the training.

    Raises:
        UserError: the configuration is wrong, isn't for phase 2, or has no language
            model although one is wanted.
    """
    from espnet_mtasr.tasks.mtasr import MTASRTask

    if with_llm and not MTASRTask.has_teacher(MTASRTask.parse_config(args.config)):
        raise UserError(
            f"--config {args.config}: has no teacher; give one that has, or leave the "
            f"language model out (--llm_tokens without numbers)"
        )
    options = [] if with_llm else ["--model_conf", "ctc_weight=1.0"]
    model, train_args = build(args.config, options, args.device, args.dtype)
    if model.ctc is None or model.count_head is None:
        raise UserError(
            f"--config {args.config}: trains no CTC heads or no talker-count head; "
            f"give one for phase 2"
        )
    # ESPnet's converter must know the token for unknown ones.
    model.token_list[1] = "<unk>"
    return model, train_args


def make_decoder(decoder: Any, model: Any, args: argparse.Namespace, **options: Any):
    """Put `build_model`'s result into a class that normally loads a model from files.

    The class is `Speech2Text` or `Speech2TextLLM`; `options` are its own.
    """
    from espnet_mtasr.tasks.building import ModelBuilder

    # The stand-in tokens have no sentencepiece model.
    words = {**vars(args), "token_type": "word", "bpemodel": None}
    loaded = (model.to(options["device"]), argparse.Namespace(**words))
    with mock.patch.object(ModelBuilder, "build_model_from_file", return_value=loaded):
        return decoder(**options)


def merge_adapters(model: Any) -> None:
    """Merge LoRA and `<sc>`'s row into the LM's weights, for faster decoding."""
    merged = model.teacher.llm.merge_and_unload()
    # The teacher asks peft's wrapper for the model inside.
    merged.get_base_model = lambda: merged
    model.teacher.llm = merged
    # Nothing is left to merge, in any precision.
    model.teacher._fold_lora = lambda fold: None


def never_end(model: Any) -> None:
    """Make the LM write up to its limit: the end of sentence is never the likeliest.

    Its row of the output layer becomes 0, and so its logit is 0. With random rows, some
    other token of the vocabulary is above that.
    """
    import torch

    teacher = model.teacher
    with torch.no_grad():
        output = teacher.llm.get_output_embeddings()
        output.weight[teacher.tokenizer.eos_id] = 0.0


def noise(rows: int, seconds: float) -> List[Any]:
    """Return `rows` waveforms `(N,)` of noise, float32, at 16 kHz."""
    import numpy as np

    size = (rows, round(seconds * bench.SAMPLING_RATE))
    rng = np.random.default_rng(0)
    return list(np.float32(0.1) * rng.standard_normal(size, dtype=np.float32))


class Piece(NamedTuple):
    """Something to time, and its amount of work."""

    run: Callable[[], Any]
    work: Work


# Name to the function that runs it and the module whose weights it reads.
Parts = Dict[str, Tuple[Callable[[], Any], Any]]


def whole(count: int) -> str:
    """Return the name of encoder-only decoding of mixtures with `count` talkers."""
    return f"{count} talkers, encoder-only"


def by_llm(count: int) -> str:
    """Return the name of decoding by the language model."""
    return f"{count} talkers, language model"


def parts_of(count: int) -> Dict[str, str]:
    """Return the parts that decode `count` talkers: full name to part."""
    names = {"trunk": "trunk", "talker-count head": "talker-count head"}
    for part in ("branch", "separator", "CTC heads"):
        names[f"{part}, {count} talkers"] = part
    return names


class FullSizeDecoding:
    """The model given by the options, and its decoders.

    Raises:
        UserError: the configuration is wrong, lacks a part, or doesn't know one of
            `--talker_counts`.
    """

    @quietly()
    def __init__(self, args: argparse.Namespace):
        from espnet_mtasr.inference import Speech2Text
        from espnet_mtasr.inference_llm import Speech2TextLLM

        self.args = args
        self.tokens = dict(zip(args.talker_counts, args.llm_tokens))
        self.model, train_args = build_model(args, with_llm=bool(self.tokens))
        for count in args.talker_counts:
            if count not in self.model.talker_counts:
                raise UserError(
                    f"--talker_counts {count}: {args.config} has "
                    f"{list(self.model.talker_counts)}; choose from these"
                )
        options = dict(device=args.device, dtype=args.dtype)
        self.ours = make_decoder(Speech2Text, self.model, train_args, **options)
        self.llms = {}
        if self.tokens:
            merge_adapters(self.model)
            never_end(self.model)
        for count, tokens in self.tokens.items():
            self.llms[count] = make_decoder(
                Speech2TextLLM,
                self.model,
                train_args,
                # The end of sentence is written last, when the limit is reached.
                maxlen_ratio=(tokens - 0.5) / args.seconds,
                **options,
            )

    @quietly()
    def pieces(self, rows: int) -> Dict[str, Piece]:
        """Return everything to time for batches of `rows` mixtures, by name."""
        waves = noise(rows, self.args.seconds)
        pieces: Dict[str, Piece] = {}
        for count in self.args.talker_counts:
            parts, total = self._parts(waves, count), Work()
            self._check_same(parts, waves, count)
            for name, (run, module) in self._parts(waves[:1], count).items():
                work = count_work(run, module).of_batch(rows)
                pieces[name] = Piece(parts[name][0], work)
                total = total.plus(work)
            pieces[whole(count)] = Piece(self._decode(self.ours, waves, count), total)
            if count in self.llms and rows == self.args.batch_sizes[0]:
                self._check_tokens(waves, count)
                pieces[by_llm(count)] = Piece(
                    self._decode(self.llms[count], waves, count),
                    self._llm_work(waves, count),
                )
        return pieces

    def _decode(self, decoder: Any, waves: Sequence[Any], count: int):
        return lambda: decoder(waves, [count] * len(waves))

    def _parts(self, waves: Sequence[Any], count: int) -> Parts:
        """Return each part of decoding, with earlier parts' outputs, and its module."""
        import torch

        args, model, encoder = self.args, self.model, self.model.encoder
        speech = torch.stack([torch.as_tensor(wave) for wave in waves])
        speech = speech.to(args.device, getattr(torch, args.dtype))
        lengths = torch.full((len(waves),), speech.size(1), device=args.device)
        rows = torch.arange(len(waves), device=args.device)
        ctc, separator = model.ctc[str(count)], model.separator[str(count)]
        with torch.no_grad():
            trunk = model.encode_trunk(speech, lengths)
            hidden, frames = encoder.encode_branch(trunk, count, rows)
            streams = separator(hidden, frames)
        parts = (
            (lambda: model.encode_trunk(speech, lengths), encoder.trunk),
            (lambda: model.count_talkers(trunk).argmax(-1).tolist(), model.count_head),
            (
                lambda: encoder.encode_branch(trunk, count, rows),
                encoder.branches[str(count)],
            ),
            (lambda: separator(hidden, frames), separator),
            (lambda: ctc.greedy_search(streams, frames), ctc),
        )
        return dict(zip(parts_of(count), parts))

    def _check_same(self, parts: Parts, waves: Sequence[Any], count: int) -> None:
        """Raise `RuntimeError` if the parts don't give the same tokens as decoding."""
        import torch

        with torch.no_grad():
            *_, from_parts = (run() for run, _ in parts.values())
        decoded = [
            [talker.token_ids for talker in mixture.talkers]
            for mixture in self._decode(self.ours, waves, count)()
        ]
        if from_parts != decoded:
            raise RuntimeError(f"{count} talkers: the parts give different tokens")

    def _check_tokens(self, waves: Sequence[Any], count: int) -> None:
        """Raise `RuntimeError` if a transcript has a wrong number of tokens."""
        for mixture in self._decode(self.llms[count], waves, count)():
            # `<sc>` or the end of sentence after each talker isn't among its tokens.
            written = sum(len(talker.token_ids) + 1 for talker in mixture.talkers)
            if written != self.tokens[count]:
                raise RuntimeError(
                    f"{count} talkers: the language model wrote {written} tokens, not "
                    f"{self.tokens[count]}"
                )

    def _llm_work(self, waves: Sequence[Any], count: int) -> Work:
        """Return the work of all parts up to and including the language model."""
        model, teacher = self.model, self.model.teacher
        work = count_work(
            self._decode(self.llms[count], waves[:1], count),
            model.encoder.trunk,
            model.count_head,
            model.encoder.branches[str(count)],
            teacher.adaptor,
            teacher.projection,
        )
        # They are read again for each token.
        output = teacher.llm.get_output_embeddings()
        read = self.tokens[count] * weight_bytes(teacher.llm.model.layers, output)
        return work.of_batch(len(waves)).plus(Work(bytes=read))
