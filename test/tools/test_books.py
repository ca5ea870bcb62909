"""Books for an n-gram are drawn from a git repository."""

import hashlib
import subprocess

import pytest

from espnet_mtasr.errors import UserError
from tools.books import main

ENGLISH = "The end of the day and the night. "


def test_english_books_once_each(tmp_path, capsys):
    repository = tmp_path / "repository"
    for name, content in {
        "a/One.txt": ENGLISH.encode(),
        "b/One.txt": (ENGLISH + "Again.").encode(),
        "a/Café.txt": (ENGLISH + "Café.").encode("latin-1"),
        "a/Lost.txt": (ENGLISH + "Lost.").encode(),
        "a/Livre.txt": b"La fin du jour et de la nuit.",
        "notes.md": ENGLISH.encode(),
    }.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "books"]):
        subprocess.run([*git, *words], check=True)
    lost = (repository / "a/Lost.txt").read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(lost) + lost).hexdigest()
    (repository / ".git/objects" / blob[:2] / blob[2:]).unlink()
    folder = tmp_path / "books"
    main([str(repository), str(folder)])
    printed = capsys.readouterr().out
    assert "a/Lost.txt: left out" in printed and "2 books" in printed
    texts = sorted(path.read_text(encoding="utf-8") for path in folder.iterdir())
    assert ENGLISH + "Café." in texts and any(
        text.startswith(ENGLISH) for text in texts
    )
    with pytest.raises(UserError, match="books: exists already"):
        main([str(repository), str(folder)])
    with pytest.raises(UserError, match="none: git says"):
        main([str(tmp_path / "none"), str(tmp_path / "others")])
