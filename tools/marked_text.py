"""Text that a script writes into a page, between two comments."""

from pathlib import Path

from espnet_mtasr.errors import UserError
from espnet_mtasr.files import write_whole


def put(path: Path, name: str, content: str) -> None:
    """Put `content` between `<!-- NAME: begin -->` and `<!-- NAME: end -->`.

    Raises:
        UserError: the file lacks the marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = path.read_text(encoding="utf-8")
    if begin not in old or end not in old:
        raise UserError(f"{path}: lacks the lines {begin} and {end}; add them")
    head, rest = old.split(begin, 1)
    tail = rest.split(end, 1)[1]
    write_whole(path, f"{head}{begin}\n{content.strip()}\n{end}{tail}")
