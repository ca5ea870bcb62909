"""Inputs of `MTASR.transcribe` besides files: recordings as Python objects."""

import contextlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Optional, Tuple, Union

import numpy as np
import torch

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.channels import Channel
from espnet_mtasr.transcription.recordings import (
    Waves,
    open_recording,
    open_sound,
    sound_of_samples,
    to_waves,
)
from espnet_mtasr.transcription.sources import Source

Samples = Union[np.ndarray, torch.Tensor]
# Samples and their rate, as torchaudio and gradio return them.
Pair = Union[Tuple[Samples, int], Tuple[int, Samples]]
Audio = Union[str, Path, bytes, BinaryIO, Mapping[str, Any], Samples, Pair]


def is_one(recordings: Any) -> bool:
    """Return whether it is one recording, not a list of recordings."""
    if isinstance(recordings, (str, Path, bytes, bytearray, memoryview, Mapping)):
        return True
    if isinstance(recordings, (np.ndarray, torch.Tensor)) or _pair(recordings):
        return True
    return hasattr(recordings, "read") or hasattr(recordings, "get_all_samples")


def _pair(source: Any) -> Optional[Tuple[Samples, int]]:
    """Return samples and their rate if it is a tuple of them, in either order."""
    if not isinstance(source, tuple) or len(source) != 2:
        return None
    for samples, fs in (source, source[::-1]):
        if isinstance(samples, (np.ndarray, torch.Tensor)) and isinstance(
            fs, (int, np.integer)
        ):
            return samples, int(fs)
    return None


def open_input(
    source: Any, place: int, fs: Optional[float], rate: int, channel: Channel
) -> Waves:
    """Begin to read one recording.

    Args:
        source: See `MTASR.transcribe`.
        place: Index that names a recording without a name.
        fs: Rate in Hz of samples without one; None: `rate`.
        rate: Hz wanted.
        channel: See `check_channel`.

    Raises:
        UserError: it is not a recording, can't be read, or has no such channel.
    """
    name, shown = str(place), f"recording {place}"
    if isinstance(source, Mapping):
        # An `Audio` of Hugging Face's datasets, or an input of transformers' pipelines.
        path = source.get("path")
        if path is not None:
            name = Path(path).stem
        samples = source.get("array", source.get("raw"))
        if samples is not None:
            fs = source.get("sampling_rate", fs)
            source = samples
        else:
            source = path if source.get("bytes") is None else source["bytes"]
    elif hasattr(source, "get_all_samples"):
        # torchcodec's AudioDecoder, which datasets returns since version 4.
        decoded = source.get_all_samples()
        source, fs = decoded.data, decoded.sample_rate
    elif pair := _pair(source):
        source, fs = pair
    if isinstance(source, (str, Path)):
        found = Source(Path(source).stem, str(source))
        return open_recording(found, rate, channel)
    if hasattr(source, "read"):
        source = source.read()
    if isinstance(source, (bytes, bytearray, memoryview)):
        sound = open_sound(BytesIO(source), shown)
        return to_waves(name, sound, rate, channel, shown)
    hertz = rate if fs is None else fs
    if hertz != int(hertz) or hertz < 1:
        raise UserError(f"fs {fs}: give a whole number of Hz")
    sound = sound_of_samples(_to_array(source, shown), int(hertz), shown)
    return to_waves(name, sound, rate, channel, shown)


def _to_array(source: Any, shown: str) -> np.ndarray:
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu()
        # Numpy has no bfloat16.
        return (source.float() if source.is_floating_point() else source).numpy()
    if isinstance(source, Sequence) or hasattr(source, "__array__"):
        with contextlib.suppress(ValueError):
            return np.asarray(source)
    raise UserError(
        f"{shown}: a {type(source).__name__} is not a recording; give a file, its "
        "bytes, or samples and their rate (fs)"
    )
