"""The pieces that tools/bench/decoding.py times: a full-size model, part by part."""

import argparse
from typing import Any, Callable, Dict, NamedTuple, Sequence

from espnet_mtasr.errors import UserError
from tools.bench.floors import Work, count_work, weight_bytes
from tools.bench.full_size_models import (
    build_model,
    make_decoder,
    merge_adapters,
    never_end,
    noise,
    quietly,
)


class Piece(NamedTuple):
    """Something to be timed, and how much work it is."""

    run: Callable[[], Any]
    work: Work


def whole(count: int) -> str:
    """Name of encoder-only decoding of mixtures of so many talkers."""
    return f"{count} talkers, encoder-only"


def by_llm(count: int) -> str:
    """Name of decoding by the language model."""
    return f"{count} talkers, language model"


def parts_of(count: int) -> Dict[str, str]:
    """Name of each part that decodes `count` talkers, to what it is."""
    names = {"trunk": "trunk", "talker-count head": "talker-count head"}
    for part in ("branch", "separator", "CTC heads"):
        names[f"{part}, {count} talkers"] = part
    return names


class FullSizeDecoding:
    """The model, and what decodes with it.

    Args:
        args: Options of this command line.

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
        self.model, train_args = build_model(
            args.config, args.device, args.dtype, with_llm=bool(self.tokens)
        )
        for count in args.talker_counts:
            if count not in self.model.talker_counts:
                raise UserError(
                    f"--talker_counts {count}: {args.config} has "
                    f"{list(self.model.talker_counts)}; choose from these"
                )
        if self.model.count_head is None:
            raise UserError(
                f"--config {args.config}: trains no talker-count head; name one of "
                f"phase 2"
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
                # The end of sentence comes when the limit is reached, and is the last.
                maxlen_ratio=(tokens - 0.5) / args.seconds,
                **options,
            )

    @quietly()
    def pieces(self, rows: int) -> Dict[str, Piece]:
        """All that is timed for batches of `rows` mixtures, by name."""
        waves = noise(rows, self.args.seconds)
        pieces: Dict[str, Piece] = {}
        for count in self.args.talker_counts:
            parts = self._parts(waves, count)
            pieces.update(parts)
            work = Work()
            for part in parts.values():
                work = work.plus(part.work)
            pieces[whole(count)] = Piece(self._decode(self.ours, waves, count), work)
            if count in self.llms and rows == self.args.batch_sizes[0]:
                pieces[by_llm(count)] = Piece(
                    self._decode(self.llms[count], waves, count),
                    self._llm_work(waves, count),
                )
        return pieces

    def _decode(self, decoder: Any, waves: Sequence[Any], count: int):
        return lambda: decoder(waves, [count] * len(waves))

    def _run_parts(self, waves: Sequence[Any], count: int) -> Dict[str, Callable]:
        """Each part of decoding, given what the parts before it give."""
        import torch

        args, model = self.args, self.model
        speech = torch.stack([torch.as_tensor(wave) for wave in waves])
        speech = speech.to(args.device, getattr(torch, args.dtype))
        lengths = torch.full((len(waves),), speech.size(1), device=args.device)
        rows = torch.arange(len(waves), device=args.device)
        ctc, separator = model.ctc[str(count)], model.separator[str(count)]
        with torch.no_grad():
            trunk = model.encode_trunk(speech, lengths)
            hidden, frames = model.encoder.encode_branch(trunk, count, rows)
            streams = separator(hidden, frames)
        runs = (
            lambda: model.encode_trunk(speech, lengths),
            lambda: model.count_talkers(trunk).argmax(-1).tolist(),
            lambda: model.encoder.encode_branch(trunk, count, rows),
            lambda: separator(hidden, frames),
            lambda: ctc.greedy_search(streams, frames),
        )
        return dict(zip(parts_of(count), runs))

    def _parts(self, waves: Sequence[Any], count: int) -> Dict[str, Piece]:
        model = self.model
        modules = (
            model.encoder.trunk,
            model.count_head,
            model.encoder.branches[str(count)],
            model.separator[str(count)],
            model.ctc[str(count)],
        )
        of_one_row = self._run_parts(waves[:1], count).values()
        works = [count_work(run, m) for run, m in zip(of_one_row, modules)]
        runs = self._run_parts(waves, count)
        self._check_same(runs, waves, count)
        return {
            name: Piece(runs[name], work.of_batch(len(waves)))
            for name, work in zip(runs, works)
        }

    def _check_same(
        self, runs: Dict[str, Callable], waves: Sequence[Any], count: int
    ) -> None:
        """Raise `RuntimeError` if the parts don't give what decoding gives."""
        import torch

        with torch.no_grad():
            *_, from_parts = (run() for run in runs.values())
        decoded = [
            [talker.token_ids for talker in mixture.talkers]
            for mixture in self._decode(self.ours, waves, count)()
        ]
        if from_parts != decoded:
            raise RuntimeError(f"{count} talkers: the parts give other tokens")

    def _llm_work(self, waves: Sequence[Any], count: int) -> Work:
        """Trunk, count head, branch, adaptor, projection and language model."""
        self._check_tokens(waves, count)
        model, teacher = self.model, self.model.teacher
        work = count_work(
            self._decode(self.llms[count], waves[:1], count),
            model.encoder.trunk,
            model.count_head,
            model.encoder.branches[str(count)],
            teacher.adaptor,
            teacher.projection,
        )
        # Each token reads them anew.
        output = teacher.llm.get_output_embeddings()
        read = self.tokens[count] * weight_bytes(teacher.llm.model.layers, output)
        return work.of_batch(len(waves)).plus(Work(bytes=read))

    def _check_tokens(self, waves: Sequence[Any], count: int) -> None:
        """Raise `RuntimeError` if a transcript hasn't as many tokens as it should."""
        for mixture in self._decode(self.llms[count], waves, count)():
            separators = mixture.num_talkers - 1
            written = sum(len(talker.token_ids) for talker in mixture.talkers)
            # The end of sentence is not among them.
            if written + separators + 1 != self.tokens[count]:
                raise RuntimeError(
                    f"{count} talkers: the language model wrote "
                    f"{written + separators + 1} tokens, not {self.tokens[count]}"
                )
