"""Check that a recording is usable: its header, its end, and samples if needed."""

from io import BytesIO
from pathlib import Path
from typing import NamedTuple, Optional, Union

from espnet_mtasr.data.audio_end import MPEG_SLACK, in_words, missing_seconds
from espnet_mtasr.errors import UserError


class AudioInfo(NamedTuple):
    """Header of a recording.

    Attributes:
        num_samples: Samples per channel.
        rate: Hz.
        channels: Number of channels.
        format: libsndfile's name, for instance FLAC.
        subtype: libsndfile's name, for instance PCM_16.
    """

    num_samples: int
    rate: int
    channels: int
    format: str
    subtype: str


def check_audio(
    path: Union[str, Path],
    whose: Optional[str] = None,
    held: Optional[bytes] = None,
) -> AudioInfo:
    """Read a recording's header and end, and all samples if they may be NaN.

    Args:
        path: Audio file.
        whose: Utterance id for the message.
        held: Content of the file, if `path` only says where it is from
            (kaldi_entries.py).

    Raises:
        UserError: the file is missing, not audio, truncated, empty, or has a NaN or
            infinite sample.
    """
    import numpy as np
    import soundfile

    name = str(path) if whose is None else f"{path} (utterance {whose})"
    if held is None and not Path(path).is_file():
        raise UserError(f"{name}: no such file; restore it or remove what needs it")

    def file() -> Union[str, BytesIO]:
        return str(path) if held is None else BytesIO(held)

    try:
        info = soundfile.info(file())
        if info.frames == 0:
            raise UserError(f"{name}: has no samples; replace it or remove it")
        if info.subtype in ("FLOAT", "DOUBLE"):
            samples, _ = soundfile.read(file(), dtype="float32")
            if not np.isfinite(samples).all():
                raise UserError(
                    f"{name}: has NaN or infinite samples; replace it or remove it"
                )
        elif info.subtype.startswith("MPEG"):
            found = len(soundfile.read(file())[0])
            if found < info.frames - MPEG_SLACK:
                seconds = (info.frames - found) / info.samplerate
                what = in_words(seconds, found / info.samplerate)
                raise UserError(f"{name}: is truncated, {what}; restore it or drop it")
        else:
            # A truncated FLAC file has its header but no last sample.
            soundfile.read(file(), start=info.frames - 1)
        missing = missing_seconds(file())
        if missing is not None:
            what = in_words(missing, info.frames / info.samplerate)
            raise UserError(f"{name}: is truncated, {what}; restore it or drop it")
    except soundfile.LibsndfileError as e:
        raise UserError(f"{name}: is not readable audio ({e}); replace it") from e
    return AudioInfo(
        info.frames, info.samplerate, info.channels, info.format, info.subtype
    )
