"""A recording, and everything that the page shows of it, without gradio."""

import os
from dataclasses import replace
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from espnet_mtasr.errors import UserError
from espnet_mtasr.scoring.posteriors import Posteriors
from espnet_mtasr.transcription.channels import MIX
from espnet_mtasr.transcription.long.recording import read_head
from espnet_mtasr.transcription.mtasr import MTASR
from espnet_mtasr.transcription.recordings import (
    Recording,
    check_readable,
    open_sound,
    to_waves,
)
from espnet_mtasr.transcription.sources import printable
from espnet_mtasr.transcription.transcript import Transcript


class Heard(NamedTuple):
    """A model's result for a recording.

    Attributes:
        transcript: Talkers, words, times.
        samples: `(N,)` float32, the model's input.
        rate: Hz.
        posteriors: Of each talker, if speech was heard and the recording decoded
            whole.
        reference: What each talker said, if known.
    """

    transcript: Transcript
    samples: np.ndarray
    rate: int
    posteriors: List[Posteriors]
    reference: Optional[Sequence[str]] = None


def read_wave(path: str, rate: int, max_seconds: float) -> Recording:
    """Read a file that was dropped on the page; messages only show its name.

    Args:
        path: Of the file.
        rate: Hz wanted.
        max_seconds: Longer files are refused.

    Raises:
        UserError: it is not audio, damaged, empty, or too long.
    """
    shown = printable(Path(path).name)
    check_readable(path)
    sound = open_sound(os.fsencode(path), shown)
    waves = to_waves(Path(path).stem, sound, rate, MIX, shown)
    recording = read_head(waves, int(max_seconds * rate))
    if not isinstance(recording, Recording):
        raise UserError(
            f"{shown}: has more than the {max_seconds:g} s that the page accepts; cut "
            "it, start the page with a larger --max_seconds, or use espnet-mtasr "
            "transcribe"
        )
    return recording


def hear(
    model: MTASR,
    recording: Recording,
    num_talkers: Optional[int] = None,
    reference: Optional[Sequence[str]] = None,
) -> Heard:
    """Transcribe a recording of one channel; a long one in windows.

    Args:
        model: Transcribes.
        recording: At the model's rate.
        num_talkers: Its talker count; None predicts it.
        reference: What each talker said, if that is known.

    Raises:
        UserError: the model doesn't know the talker count.
    """
    (wave,) = recording.channels
    posteriors: List[Posteriors] = []
    how = model.how()
    loud = model.decoder.loud(wave, how.threshold)
    if loud.stop - loud.start > how.whole_samples:
        transcript = model.transcribe(wave, num_talkers=num_talkers)
        transcript = replace(
            transcript, recording=recording.name, warnings=recording.warnings
        )
    else:
        transcript, posteriors = model.decoder.transcribe_with_posteriors(
            recording, num_talkers
        )
    return Heard(transcript, wave, model.rate, posteriors, reference)
