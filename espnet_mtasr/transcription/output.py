"""Where the transcripts of a command go: files in a folder, or standard output."""

from pathlib import Path
from tempfile import TemporaryFile
from typing import List, Optional, Sequence

from espnet_mtasr.errors import UserError
from espnet_mtasr.transcription.formats import (
    FORMATS,
    output_paths,
    render,
    write_transcripts,
)
from espnet_mtasr.transcription.transcript import Transcript

# Formats in which a recording doesn't wait for the others.
AT_ONCE = ("txt", "json")


class Output:
    """Where transcripts go: files in a folder, or standard output.

    Args:
        formats: Keys of `FORMATS`.
        folder: None: standard output.
        names: Of all recordings.

    Raises:
        UserError: standard output can't take all of it, names don't fit as files, or
            the folder can't be written to.
    """

    def __init__(
        self, formats: Sequence[str], folder: Optional[Path], names: Sequence[str]
    ):
        self.formats = formats
        self.folder = folder
        self.kept: List[Transcript] = []
        self.begun = False
        if folder is not None:
            output_paths(names, folder, formats)
            _check_writable(folder)
        elif len(formats) > 1:
            raise UserError(
                f"--format {','.join(formats)}: several need --output_dir FOLDER"
            )
        elif len(names) > 1 and not FORMATS[formats[0]].holds_several:
            raise UserError(
                f"--format {formats[0]}: holds one recording, here are {len(names)}; "
                f"give --output_dir FOLDER"
            )

    def add(self, transcript: Transcript) -> None:
        """Write at once what can be."""
        if self.folder is not None:
            write_transcripts([transcript], self.folder, self.formats)
        elif self.formats[0] in AT_ONCE:
            between = "\n" if self.begun and self.formats == ["txt"] else ""
            print(between + render([transcript], self.formats[0]), end="", flush=True)
            self.begun = True
        else:
            self.kept.append(transcript)

    def missing(self, name: str) -> bool:
        """Say if a recording's files are not all there."""
        if self.folder is None:
            return True
        paths = output_paths([name], self.folder, self.formats).values()
        return not all(path.is_file() for path in paths)

    def close(self) -> None:
        """Write the rest."""
        if self.kept:
            print(render(self.kept, self.formats[0]), end="")


def _check_writable(folder: Path) -> None:
    """Make the folder, and raise `UserError` if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as e:
        raise UserError(
            f"--output_dir {folder}: can't be written to ({e.strerror}); name another"
        ) from e
