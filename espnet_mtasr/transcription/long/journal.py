"""Finished windows of a long recording, on disk, so that a run can be resumed."""

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, TextIO, Tuple

from espnet_mtasr.files import write_whole
from espnet_mtasr.transcription.long.stitching import Heard
from espnet_mtasr.transcription.long.windows import Place
from espnet_mtasr.transcription.transcript import Voice, Word


class Journal:
    """A line per finished window, after a line with what they depend on.

    Args:
        path: The file; its folder is created.
        depends: What the windows depend on, as JSON values.
        resume: Keep existing windows if `depends` is unchanged.
    """

    def __init__(self, path: Path, depends: Mapping[str, Any], resume: bool):
        self.path = path
        self.heard = _read(path, depends) if resume else []
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(dict(depends)), *(_line(*entry) for entry in self.heard)]
        # If a kill cut off a line, lines after it couldn't be read.
        write_whole(path, "".join(line + "\n" for line in lines))
        self._file: Optional[TextIO] = None

    def keep(self, channel: int, heard: Heard) -> None:
        """Write the result of a window."""
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
        print(_line(channel, heard), file=self._file, flush=True)


def _line(channel: int, heard: Heard) -> str:
    return json.dumps(
        [
            channel,
            heard.place,
            heard.end,
            heard.next,
            [
                [(w.text, w.start, w.end, w.confidence) for w in words]
                for words in heard.talkers
            ],
            heard.count_probabilities and list(heard.count_probabilities.items()),
            [(voice.embedding, voice.weight) for voice in heard.voices],
            heard.texts,
        ],
        ensure_ascii=False,
    )


def _read(path: Path, depends: Mapping[str, Any]) -> List[Tuple[int, Heard]]:
    try:
        # A kill may have cut the last line within a character.
        text = path.read_text(encoding="utf-8", errors="replace")
        first, *lines = text.splitlines()
        known: Dict[str, Any] = json.loads(first)
    except (OSError, ValueError):
        return []
    if known != json.loads(json.dumps(dict(depends))):
        return []
    found = []
    for line in lines:
        try:
            channel, place, end, following, talkers, counts, said_by, texts = (
                json.loads(line)
            )
        except ValueError:
            break
        words = tuple(tuple(Word(*word) for word in talker) for talker in talkers)
        voices = tuple(
            Voice(embedding and tuple(embedding), weight)
            for embedding, weight in said_by
        )
        heard = Heard(
            Place(*place),
            end,
            Place(*following),
            words,
            counts and dict(counts),
            voices,
            tuple(texts),
        )
        found.append((channel, heard))
    return found
