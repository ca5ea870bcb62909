"""The pieces that tools/bench/decoding.py times: a full-size model, part by part."""

import argparse
from typing import Any, Callable, Dict, NamedTuple, Sequence

from espnet_mtasr.errors import UserError
from tools.bench.floors import Work
from tools.bench.full_size_models import (
    build_model,
    make_decoder,
    merge_adapters,
    never_end,
    noise,
    quietly,
)
from tools.bench.work import count_work, llm_work


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
            if count in self.llms and rows in self.args.llm_batch_sizes:
                pieces[by_llm(count)] = Piece(
                    self._decode(self.llms[count], waves, count),
                    self._llm_work(parts, waves, count),
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
        # A batch has the work of its rows, but reads each weight once.
        of_one_row = self._run_parts(waves[:1], count).values()
        works = [count_work(run, m) for run, m in zip(of_one_row, modules)]
        works = [w._replace(operations=len(waves) * w.operations) for w in works]
        runs = self._run_parts(waves, count)
        self._check_same(runs, waves, count)
        return {name: Piece(runs[name], work) for name, work in zip(runs, works)}

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

    def _llm_work(
        self, parts: Dict[str, Piece], waves: Sequence[Any], count: int
    ) -> Work:
        """Trunk, count head, branch, adaptor, projection and language model."""
        import torch

        self._check_tokens(waves, count)
        teacher, rows, tokens = self.model.teacher, len(waves), self.tokens[count]
        work = Work()
        for name, part in parts_of(count).items():
            if part not in ("separator", "CTC heads"):
                work = work.plus(parts[name].work)
        frames = self.model.encoder.output_lengths(
            torch.tensor([len(waves[0])], device=self.args.device)
        )
        hidden = torch.zeros(
            (1, int(frames[0]), self.model.encoder.output_size()),
            device=self.args.device,
            dtype=getattr(torch, self.args.dtype),
        )
        with torch.no_grad():
            _, shortened = teacher.adaptor(hidden, frames)
        adapted = count_work(
            lambda: teacher.projection(teacher.adaptor(hidden, frames)[0]),
            teacher.adaptor,
            teacher.projection,
        )
        work = work.plus(adapted._replace(operations=rows * adapted.operations))
        # And the begin of sentence.
        prefix = int(shortened[0]) + 1
        return work.plus(llm_work(teacher.llm, rows, prefix, tokens))

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
