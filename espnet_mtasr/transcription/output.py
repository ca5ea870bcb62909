"""Output of a command's transcripts and pictures: files, or standard output."""

import sys
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import Dict, List, Optional, Sequence

import numpy as np

from espnet_mtasr.console import takes_color
from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole
from espnet_mtasr.transcription.formats import (
    FORMATS,
    output_paths,
    render,
    write_transcripts,
)
from espnet_mtasr.transcription.formats.files import paths_in
from espnet_mtasr.transcription.formats.plain import jsonl_of_part, txt_of_part
from espnet_mtasr.transcription.formats.scoring import IN_COLUMNS, column_names
from espnet_mtasr.transcription.formats.terminal import render_for_terminal
from espnet_mtasr.transcription.formats.tidy import milliseconds, tidy_part
from espnet_mtasr.transcription.plot import draw_transcript, is_picture
from espnet_mtasr.transcription.transcript import Part, Transcript

# Formats in which each recording, or each part, can be written at once.
AT_ONCE = ("txt", "json", "jsonl")
PARTS = ("txt", "jsonl")
# Seconds after a part's end by which its last words must end.
LATER = 10.0


class Output:
    """Output of transcripts: files in a folder, or standard output.

    Args:
        formats: Keys of `FORMATS`.
        folder: None: standard output.
        names: Of all recordings.
        plot: File of a picture, for one recording, or a folder for one per recording;
            None: no pictures.

    Raises:
        UserError: standard output can't take all of it, a name can't be a file's, or
            the folder is not writable.
    """

    def __init__(
        self,
        formats: Sequence[str],
        folder: Optional[Path],
        names: Sequence[str],
        plot: Optional[Path] = None,
    ):
        self.formats = formats
        self.folder = folder
        self.kept: List[Transcript] = []
        self.begun = False
        # The recording whose parts have been written.
        self.told: Optional[str] = None
        self.pictures = {} if plot is None else picture_paths(plot, names)
        if folder is not None:
            output_paths(names, folder, formats)
            _check_writable(folder, "--output_dir")
        elif len(formats) > 1:
            raise UserError(
                f"--format {','.join(formats)}: several formats need --output_dir "
                "FOLDER"
            )
        elif len(names) > 1 and not FORMATS[formats[0]].holds_several:
            raise UserError(
                f"--format {formats[0]}: can only contain one recording, not "
                f"{len(names)}; give --output_dir FOLDER"
            )
        if folder is None and formats[0] in IN_COLUMNS:
            column_names(names)
        if plot is not None:
            _check_writable(plot.parent if is_picture(plot) else plot, "--plot")

    def add_part(self, recording: str, part: Part) -> None:
        """Write a part of a long recording at once, in formats that have parts.

        In a folder, files are called `NAME.FORMAT.parts` until the recording is done.
        Its transcript must still be added.

        Raises:
            UserError: a file can't be written.
        """
        formats = [name for name in self.formats if name in PARTS]
        if not formats:
            return
        # The recording's length is unknown.
        part = tidy_part(part, milliseconds(part.end + LATER))
        first = self.told != recording
        between = "\n" if self.folder is None and self.begun and first else ""
        for name in formats:
            if name == "txt":
                text = between + txt_of_part(recording, part, first)
            else:
                text = jsonl_of_part(recording, part)
            if self.folder is None:
                print(text, end="", flush=True)
                self.begun = True
            else:
                self._append(self._parts(recording, name), text, first)
        self.told = recording

    def add(self, transcript: Transcript) -> None:
        """Write at once if possible; txt on a terminal has times and colors."""
        name = transcript.recording
        if self.folder is not None:
            write_transcripts([transcript], self.folder, self.formats)
            journal = self.journal(name)
            assert journal is not None
            for path in (journal, *(self._parts(name, f) for f in PARTS)):
                path.unlink(missing_ok=True)
        elif self.told == name:
            return
        elif self.formats[0] in AT_ONCE:
            between = "\n" if self.begun and self.formats == ["txt"] else ""
            if self.formats == ["txt"] and sys.stdout.isatty():
                text = render_for_terminal(transcript, takes_color(sys.stdout))
            else:
                text = render([transcript], self.formats[0])
            print(between + text, end="", flush=True)
            self.begun = True
        else:
            self.kept.append(transcript)

    def draw(self, transcript: Transcript, waves: Sequence[np.ndarray]) -> None:
        """Draw the picture, if one is wanted, with the waveforms of these channels."""
        path = self.pictures.get(transcript.recording)
        if path is not None:
            write_whole(path, draw_transcript(transcript, waves, path.suffix))

    def missing(self, name: str) -> bool:
        """Return whether any of a recording's files is missing."""
        if self.folder is None:
            return True
        paths = [*output_paths([name], self.folder, self.formats).values()]
        if name in self.pictures:
            paths.append(self.pictures[name])
        return not all(path.is_file() for path in paths)

    def journal(self, name: str) -> Optional[Path]:
        """Path for a long recording's windows until its files are written."""
        if self.folder is None:
            return None
        path = next(iter(output_paths([name], self.folder, self.formats).values()))
        return path.with_name(f"{PurePosixPath(name).name}.unfinished")

    def _parts(self, name: str, of_format: str) -> Path:
        """Path for a long recording's parts in a format until it is done."""
        assert self.folder is not None
        path = output_paths([name], self.folder, [of_format])[name, of_format]
        return path.with_name(f"{path.name}.parts")

    @staticmethod
    def _append(path: Path, text: str, first: bool) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w" if first else "a", encoding="utf-8") as file:
                file.write(text)
        except OSError as e:
            raise UserError(f"{path}: can't be written ({e.strerror})") from e

    def unclear_numbers(self, transcript: Transcript) -> List[str]:
        """Warn of formats that can't show that talkers' numbers hold within parts."""
        unclear = [name for name in self.formats if name not in AT_ONCE]
        if transcript.labels != "part" or not unclear:
            return []
        return [
            f"{transcript.recording}: in {', '.join(unclear)}, talker 1 before a pause "
            "may be another person than after it; --num_people N tells them apart"
        ]

    def close(self) -> None:
        """Write the rest."""
        if self.kept:
            print(render(self.kept, self.formats[0]), end="")


def picture_paths(plot: Path, names: Sequence[str]) -> Dict[str, Path]:
    """Return each recording's picture; see `Output`.

    Raises:
        UserError: one file for several recordings, or see `is_picture` and `paths_in`.
    """
    if not is_picture(plot):
        paths = paths_in(plot, names, {"plot": ".png"})
        return {name: path for (name, _), path in paths.items()}
    if len(names) != 1:
        raise UserError(
            f"--plot {plot}: can only show one recording, not {len(names)}; give a "
            "folder for a picture of each"
        )
    return {names[0]: plot}


def _check_writable(folder: Path, option: str) -> None:
    """Make the folder, and raise `UserError` if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise UserError(
            f"{option} {folder}: can't be written to ({e.strerror}); give another one"
        ) from e
