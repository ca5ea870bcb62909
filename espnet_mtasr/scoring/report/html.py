"""HTML that can't be broken by the text in it.

Text only becomes HTML through `tag`, which escapes every string that isn't `Markup`.
"""

import html
from typing import Any, Iterable, Union


class Markup(str):
    """A string that is already HTML."""


Child = Union[str, None, Iterable[Any]]
# Elements without an end tag.
VOID = ("meta",)
# Nothing may be loaded from anywhere; sounds are embedded in the page.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "media-src data:"
)


def tag(name: str, /, *children: Child, **attributes: Any) -> Markup:
    """Return an element.

    Args:
        name: Of the element.
        children: Texts, `Markup`, lists of these, or None for nothing.
        attributes: `class_` is class, and `data_x` data-x; None leaves one out.

    >>> tag("p", "a < b", class_="x")
    '<p class="x">a &lt; b</p>'
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            key = key.rstrip("_").replace("_", "-")
            words.append(f'{key}="{html.escape(str(value))}"')
    opening = f"<{' '.join(words)}>"
    return Markup(opening if name in VOID else f"{opening}{join(children)}</{name}>")


def join(children: Child) -> Markup:
    """Concatenate texts, markup and lists of these."""
    if children is None:
        return Markup()
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(html.escape(children))
    return Markup("".join(join(child) for child in children))


def document(title: str, body: Child, style: str, script: str = "") -> str:
    """Return a standalone page; `style` and `script` are inserted unescaped."""
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(style)),
    ]
    content = [tag("main", body), tag("script", Markup(script)) if script else None]
    page = tag("html", tag("head", head), tag("body", content), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def table(header: Iterable[str], rows: Iterable[Iterable[Child]]) -> Markup:
    """Return a table that scrolls in a narrow window."""
    head = tag("tr", [tag("th", name) for name in header])
    lines = [
        tag("tr", [tag("td" if k else "th", cell) for k, cell in enumerate(row)])
        for row in rows
    ]
    content = [tag("thead", head), tag("tbody", lines)]
    return tag("div", tag("table", content), class_="wide")


def section(title: str, *children: Child) -> Markup:
    """Return a part of a page with a heading."""
    return tag("section", tag("h2", title), *children)
