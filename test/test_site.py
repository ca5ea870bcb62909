"""The site of doc/conf.py, built with warnings as errors: broken links are such."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("sphinx", "myst_parser", "furo"):
    pytest.importorskip(package, reason="needs pip install -e '.[doc]'")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "doc"]
    done = subprocess.run(
        [*command, ".", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_it_loads_nothing_from_elsewhere(site):
    of_page = r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=.(?:https?:)?//"
    of_style = r"@import|url\(.?(?:https?:)?//"
    pages, styles = [*site.rglob("*.html")], [*site.rglob("*.css")]
    assert len(pages) > 20 and styles
    for files, loads in ((pages, of_page), (styles, of_style)):
        assert not [f for f in files if re.search(loads, f.read_text())]


def test_it_begins_with_the_readme(site):
    assert "url=README.html" in (site / "index.html").read_text()
    readme = (site / "README.html").read_text()
    assert "_images/demo.png" in readme and (site / "_images/demo.png").exists()


def test_links_to_other_files_are_downloads(site):
    assert "_downloads/" in (site / "README.html").read_text()
    assert [*site.glob("_downloads/*/LICENSE")]


def test_api_pages_have_all_that_reuse_names(site):
    table = (ROOT / "doc" / "reuse.md").read_text().split("| class |")[1]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    pages = "".join(p.read_text() for p in (site / "doc" / "api").glob("*.html"))
    assert len(named) > 10
    # A package is named for what is in it.
    ids = r'id="espnet_mtasr[\w.]*\.%s[".]'
    assert not [name for name in named if not re.search(ids % name, pages)]
    # What is inherited from a base of our own is there, from torch's not.
    wavlm = 'id="espnet_mtasr.asr.encoder.wavlm.RoutedWavLMEncoder.'
    assert f'{wavlm}encode_branch"' in pages and f'{wavlm}register_buffer"' not in pages


def test_notebook_is_a_page_with_its_outputs(site):
    page = (site / "doc" / "notebooks" / "five_steps.html").read_text()
    assert "from dataclasses import" in re.sub(r"<[^>]+>", "", page)
    assert "cpWER: 3 of 16 words" in page
    assert page.count('src="data:image/png;base64,') == 2
