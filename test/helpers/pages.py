"""Reads a page as a browser would, and sees that nothing in it is broken or loaded."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

VOID = ("meta",)
# Attributes by which a page loads something.
LOADING = ("src", "href", "action", "data", "poster", "srcset", "xlink:href")


class Page(HTMLParser):
    """A page's elements and texts.

    Raises:
        AssertionError: an element isn't closed, or the page loads something that
            doesn't lie within it or beside it.
    """

    def __init__(self, page: Union[str, Path]):
        super().__init__(convert_charrefs=True)
        self.elements: List[Tuple[str, Dict[str, Optional[str]]]] = []
        self.texts: List[str] = []
        self.style = self.script = ""
        self.open: List[str] = []
        content = page if isinstance(page, str) else page.read_text(encoding="utf-8")
        self.feed(content)
        self.close()
        assert self.open == [], self.open
        # What a parser takes for text would else be a tag that isn't closed.
        assert content.startswith("<!DOCTYPE html>")
        for code in (self.style, self.script):
            assert "url(" not in code and "import" not in code and "fetch" not in code
            assert "//" not in code

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in LOADING:
                beside = ":" not in value and not value.startswith("/")
                assert value.startswith("data:audio/") or beside, (tag, name, value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data):
        if self.open and self.open[-1] in ("style", "script"):
            setattr(self, self.open[-1], getattr(self, self.open[-1]) + data)
        elif data.strip():
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All texts that are shown, with blanks between them."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **wanted: str) -> List[Dict[str, Optional[str]]]:
        """Attributes of the elements of a kind (`class_` has that class)."""
        found = [attributes for name, attributes in self.elements if name == tag]
        if "class_" in wanted:
            of = wanted["class_"]
            found = [a for a in found if of in (a.get("class") or "").split()]
        return found
