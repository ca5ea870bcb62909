"""Align the words of the recordings that mixtures are made of.

A model that knows single talkers aligns each recording alone. So a training on mixtures
can start with the tokens at their times.
"""

import argparse
import math
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Tuple, Union

import torch

from espnet_mtasr.asr.ctc_alignment import align_tokens
from espnet_mtasr.asr.mtasr_model import MTASRModel
from espnet_mtasr.asr.word_places import spans_of_words
from espnet_mtasr.data.audio import read_audio
from espnet_mtasr.data.batching import batches_of_similar_length
from espnet_mtasr.data.tables import check_same_ids, read_table
from espnet_mtasr.errors import UserError
from espnet_mtasr.mixture.spec import Span, read_specs
from espnet_mtasr.progress import progress
from espnet_mtasr.text.sot import split_sot

Spans = List[Span]
# Seconds of a batch, including padding.
BATCH_SECONDS = 60.0


def read_sources(data_dir: Path) -> Dict[str, Tuple[str, float]]:
    """Return path to text and seconds of all recordings that mixtures are made of.

    Raises:
        UserError: a table is missing or bad, or a recording has two texts.
    """
    specs, texts = read_specs(data_dir / "utt2mixture"), read_table(data_dir / "text")
    check_same_ids({"utt2mixture": specs, "text": texts})
    sources: Dict[str, Tuple[str, float]] = {}
    for utt, spec in specs.items():
        for source, text in zip(spec.sources, split_sot(texts[utt])):
            known = sources.setdefault(source.path, (text, source.seconds))
            if known[0] != text:
                raise UserError(
                    f"{data_dir / 'text'}: {source.path} says {known[0]!r} and, in "
                    f"{utt}, {text!r}; make the data again"
                )
    return sources


class SourceAligner:
    """Aligns recordings of one talker with a model that knows single talkers.

    Args:
        model: In evaluation mode.
        train_args: Of its training.
        device: Of the model.

    Attributes:
        probabilities: Geometric mean probability of the tokens of each aligned
            recording.

    Raises:
        UserError: the model doesn't know single talkers, or has no CTC.
    """

    def __init__(
        self,
        model: MTASRModel,
        train_args: argparse.Namespace,
        device: str = "cpu",
    ):
        from espnet_mtasr.tasks.mtasr import MTASRTask

        if 1 not in model.talker_counts or model.ctc is None:
            raise UserError(
                f"the model knows {list(model.talker_counts)} talkers, but alignments "
                "need one that knows 1; give another model"
            )
        self.model = model
        self.device = device
        # As in training; several times as fast if the CPU supports it.
        self.in_bfloat16 = model.cpu_bfloat16 and device == "cpu"
        self.probabilities: List[float] = []
        self.rate = train_args.sampling_rate
        self.preprocessor = MTASRTask.build_preprocess_fn(train_args, False)

    @torch.no_grad()
    def align(
        self, sources: Mapping[str, Tuple[str, float]]
    ) -> Tuple[Dict[str, Spans], Dict[str, str]]:
        """Align recordings.

        Args:
            sources: Path to text and seconds.

        Returns:
            Path to seconds of each word; and path to the reason if there are none.

        Raises:
            UserError: a recording can't be read.
        """
        paths = list(sources)
        batches = batches_of_similar_length(
            [sources[path][1] for path in paths], max_length=BATCH_SECONDS
        )
        times: Dict[str, Spans] = {}
        failed: Dict[str, str] = {}
        for places in progress(batches, len(batches), "aligning: batches", True):
            names = [paths[place] for place in places]
            waves = [torch.from_numpy(read_audio(name, self.rate)) for name in names]
            for name, wave, log_probs in zip(names, waves, self._log_probs(waves)):
                seconds = len(wave) / self.rate
                found = self._spans(sources[name][0], log_probs, seconds)
                if isinstance(found, str):
                    failed[name] = found
                else:
                    times[name] = found
        return times, failed

    def _log_probs(self, waves: Sequence[torch.Tensor]) -> List[torch.Tensor]:
        lengths = torch.tensor([len(wave) for wave in waves], device=self.device)
        padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bfloat16):
            trunk = self.model.encode_trunk(padded.to(self.device), lengths)
            [found] = self.model.separate(trunk, torch.ones_like(lengths))
        [log_probs] = self.model.ctc["1"].log_probs(found.streams)
        return [row[:n].cpu() for row, n in zip(log_probs, found.lengths.tolist())]

    def _spans(
        self, text: str, log_probs: torch.Tensor, seconds: float
    ) -> Union[Spans, str]:
        """Return the words' times, or the reason if there are none."""
        tokens = self.preprocessor.tokens_of(text)
        ids = self.preprocessor.encode_talker(text).tolist()
        try:
            aligned = align_tokens(log_probs, ids)
        except ValueError:
            return "too few frames for its text"
        frame = seconds / len(log_probs)
        places = [(s.start * frame, s.end * frame) for s in aligned]
        found = spans_of_words(tokens, text.split(), places)
        if found is None:
            return "its tokens aren't the letters of its words"
        logs = [math.log(max(s.probability, 1e-30)) for s in aligned]
        self.probabilities.append(math.exp(sum(logs) / len(logs)))
        return found
