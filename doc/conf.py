"""The site: README.md, the pages of doc/ and the recipes, API pages, the notebook.

The whole repository is the source (`sphinx-build -W -c doc . build/site`), so links
work on the site as they do in the repository. Links to other files become downloads.
"""

import json
from typing import Any, Dict, Iterator

from myst_parser.parsers.sphinx_ import MystParser

project = "espnet_mtasr"
root_doc = "README"
include_patterns = [
    "*.md",
    "doc/**.md",
    "doc/**.ipynb",
    "egs2/**README.md",
    "espnet_mtasr/**README.md",
    "tools/bench/README.md",
]
# Not searched: large folders, or links to other folders.
exclude_patterns = [
    ".*",
    "build",
    "egs2/*/*/data",
    "egs2/*/*/downloads",
    "egs2/*/*/dump",
    "egs2/*/*/exp",
    "egs2/*/*/utils",
]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Down to the lowest headings in use; anchors as on GitHub.
myst_heading_anchors = 4

# Docstrings name code as Markdown does.
default_role = "code"
add_module_names = False
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    # From our own base classes, but not from those of torch, ESPnet or Python.
    "inherited-members": "Module,AbsESPnetModel,AbsEncoder,ASRTask,tuple",
}
# If attributes had entries of their own, those of named tuples would appear twice.
napoleon_use_ivar = True
autodoc_typehints = "description"
python_maximum_signature_line_length = 88

# It loads no third-party fonts or scripts.
html_theme = "furo"
html_title = project
html_show_sphinx = html_show_copyright = html_copy_source = False
html_additional_pages = {"index": "index.html"}
templates_path = ["templates"]

CONTENTS = """
```{toctree}
:hidden:
:caption: Use
doc/transcribe
doc/notebooks/five_steps
doc/results
```
```{toctree}
:hidden:
:caption: Train
doc/stages
egs2/mini_librimix/mtasr1/README
egs2/mini_librispeech_mix/mtasr1/README
egs2/mini_librispeech_mix/mtasr1/local/sentences/README
egs2/own_corpus/mtasr1/README
egs2/librimix/mtasr1/README
egs2/TEMPLATE/mtasr1/README
egs2/mini_librimix/mtasr1/pretrained/README
egs2/mini_librimix/samples/README
egs2/mini_librispeech_mix/samples/README
```
```{toctree}
:hidden:
:caption: Understand
doc/method
doc/design
doc/reliability
doc/espnet3
```
```{toctree}
:hidden:
:caption: Build on it
doc/reuse
doc/api/transcription
doc/api/model
doc/api/tools
espnet_mtasr/mixture/README
```
```{toctree}
:hidden:
:caption: Work on it
CONTRIBUTING
CHANGELOG
tools/bench/README
```
"""


class NotebookParser(MystParser):
    """Reads a notebook as Markdown, with its stored outputs."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: Any) -> None:
        """Parse the content of an .ipynb file into a document."""
        cells = json.loads(inputstring)["cells"]
        parts = [part for cell in cells for part in as_markdown(cell)]
        super().parse("\n\n".join(parts), document)


def as_markdown(cell: Dict[str, Any]) -> Iterator[str]:
    """Yield a notebook's cell, then what it printed and drew."""
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        if "text" in output:
            yield f"```text\n{''.join(output['text']).rstrip()}\n```"
        elif "image/png" in output.get("data", {}):
            picture = "".join(output["data"]["image/png"]).replace("\n", "")
            yield f"![What the cell draws](data:image/png;base64,{picture})"


def add_contents(app: Any, docname: str, source: Any) -> None:
    """Add the site's contents to its first page; GitHub shows the page without."""
    if docname == root_doc:
        source[0] += CONTENTS


def setup(app: Any) -> None:
    """Register the notebook parser and the contents with Sphinx."""
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    app.connect("source-read", add_contents)
