"""RESULTS.html and COMPARISON.html in a real browser, on a desktop and on a phone.

Sounds play, the time line moves, and posteriors stand where the sound has them.
"""

import html
import json
import re
import subprocess

import numpy as np
import pytest
from helpers.browser import find_browser

from espnet_mtasr.scoring.comparison import ComparedSet, Decoding
from espnet_mtasr.scoring.error_counts import cp_errors
from espnet_mtasr.scoring.inputs import Hypotheses, References
from espnet_mtasr.scoring.posteriors import Peak, Posteriors
from espnet_mtasr.scoring.report.comparison_page import render_comparison
from espnet_mtasr.scoring.report.page import ScoredSet, render_page
from espnet_mtasr.scoring.results import assemble_results, score_set
from espnet_mtasr.scoring.segments import Timing

# Plays one sound and then the other; says what came of it.
COMPARISON_PROBE = """<script>
addEventListener("load", async () => {
  const [one, other] = document.querySelectorAll("audio");
  for (const audio of [one, other]) {
    audio.muted = true;
    await audio.play();
  }
  const tops = [...document.querySelectorAll(".mixture .two > div")].map(
    column => column.getBoundingClientRect().top);
  document.body.append(Object.assign(document.createElement("pre"), {
    id: "probe", textContent: JSON.stringify({
      seconds: [one.duration, other.duration], paused: [one.paused, other.paused],
      beside: tops[0] == tops[1],
      needed: document.documentElement.scrollWidth, width: innerWidth,
    })}));
});
</script></body>"""
# Clicks into the middle of the first time line; says what came of it.
PROBE = """<script>
addEventListener("load", () => {
  const mixture = document.querySelector(".mixture");
  const time = mixture.querySelector("svg.times");
  const audio = mixture.querySelector("audio");
  audio.muted = true;
  const click = () => {
    const box = time.getBoundingClientRect();
    const x = box.left + box.width * (70 + 465) / 1000;
    time.dispatchEvent(new MouseEvent("click", {clientX: x, clientY: box.top + 3}));
    const place = element => {
      const {left, width, top, bottom} = element.getBoundingClientRect();
      return {x: (left + width / 2 - box.left) / box.width, top: top - box.top,
        bottom: bottom - box.top, height: bottom - top};
    };
    // Where half of the area's height is filled.
    const peak = area => {
      const {top, height} = area.getBoundingClientRect();
      const within = area.getScreenCTM().inverse();
      const filled = [...Array(1000).keys()].filter(k => area.isPointInFill(
        new DOMPoint(box.left + box.width * k / 1000, top + height / 2)
          .matrixTransform(within)));
      return (filled[0] + filled.at(-1)) / 2000;
    };
    const drawn = [...time.querySelectorAll(".ctc")].map(stream => {
      const area = stream.querySelector("path");
      return {area: {...place(area), x: peak(area)}, color: getComputedStyle(area).fill,
        token: place(stream.querySelector("text"))};
    });
    setTimeout(() => {
      document.body.append(Object.assign(document.createElement("pre"), {
        id: "probe", textContent: JSON.stringify({
          seconds: audio.duration, time: audio.currentTime,
          cursor: +time.querySelector(".cursor").getAttribute("x1"),
          drawn, scrolled: time.parentElement.scrollLeft,
          needed: document.documentElement.scrollWidth, width: innerWidth,
        })}));
    }, 800);
  };
  if (audio.readyState) click(); else audio.addEventListener("loadedmetadata", click);
});
</script></body>"""


def show(page, probe, width, folder):
    """Open a page in a window of this width; return what the probe in it found."""
    path = folder / "page.html"
    path.write_text(page.replace("</body>", probe), encoding="utf-8")
    command = [find_browser(), "--headless", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={folder}/browser", f"--window-size={width},900"]
    command += ["--autoplay-policy=no-user-gesture-required", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=8000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search('<pre id="probe">(.*?)</pre>', done.stdout)
    assert found is not None, done
    return json.loads(html.unescape(found[1]))


def test_without_a_browser(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs Chromium .apt-get install"):
        find_browser()
    monkeypatch.setenv("REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="needs no_package, Chromium"):
        find_browser("no_package")


@pytest.mark.parametrize("width", [1150, 500])
def test_a_click_on_the_time_line_plays_from_there(width, tmp_path):
    references = References({"u": ["a b", "c d e"]}, {"u": 0.5})
    hypotheses = Hypotheses({"u": ["a b", "c x e"]}, {"u": 2})
    score = score_set(references, hypotheses)
    timing = Timing({"u": 4.0}, {"u": [(0.0, 3.0), (1.0, 4.0)]})
    part = ScoredSet(references, hypotheses, score.errors, timing)
    # A token at 1.1 s in the one, at 3.1 s in the other, of 20 frames.
    streams = []
    for place in (5, 15):
        best = [100 if k == place else 0 for k in range(20)]
        peaks = [Peak(place, "▁word")]
        streams.append(Posteriors(best, [100 - b for b in best], peaks))
    page = render_page(
        assemble_results("mixtures", "exp/" + "long" * 30, {"test": score}),
        {"test": part},
        read_sound=lambda name, utt: 0.1 * np.sin(np.arange(64000)),
        read_posteriors=lambda name, utt: streams,
    )
    probe = show(page, PROBE, width, tmp_path)
    assert probe["seconds"] == pytest.approx(4.0, abs=0.1)
    # A mouse is at whole pixels.
    assert 1.98 <= probe["time"] < 3.5 and 530 <= probe["cursor"] < 900
    assert probe["needed"] <= probe["width"]
    # On a phone the time line is wider than the window, and follows the sound.
    assert (probe["scrolled"] > 0) == (width == 500)
    bottom = 44
    for stream, seconds in zip(probe["drawn"], (1.1, 3.1), strict=True):
        for shape in ("area", "token"):
            assert stream[shape]["x"] == pytest.approx(
                0.07 + 0.93 * seconds / 4, abs=0.003
            )
        assert bottom < stream["area"]["top"] and 30 < stream["area"]["height"] < 50
        assert stream["area"]["bottom"] - 3 < stream["token"]["top"]
        assert stream["token"]["height"] > 10
        bottom = stream["token"]["bottom"]
    colors = [stream["color"] for stream in probe["drawn"]]
    assert colors == ["rgb(0, 114, 178)", "rgb(213, 94, 0)"]


@pytest.mark.parametrize("width", [1150, 500])
def test_two_decodings_side_by_side(width, tmp_path):
    references = {"u": ["a b", "c d e"], "v": ["a " * 30, "b"]}
    hypotheses = ({**references, "u": ["a"]}, {**references, "v": ["a", "b"]})
    errors = tuple({u: cp_errors(references[u], h[u]) for u in h} for h in hypotheses)
    sides = []
    for texts in hypotheses:
        said = References(references, dict.fromkeys(references, 0.5))
        score = score_set(said, Hypotheses(texts, dict.fromkeys(texts, 2)))
        results = assemble_results("mixtures", "exp/" + "long" * 30, {"test": score})
        sides.append(Decoding(tmp_path, results))
    page = render_comparison(
        *sides,
        {"test": ComparedSet(references, hypotheses, errors)},
        read_sound=lambda name, utt: 0.1 * np.sin(np.arange(48000)),
    )
    probe = show(page, COMPARISON_PROBE, width, tmp_path)
    assert probe["seconds"] == pytest.approx([3.0, 3.0], abs=0.1)
    # A sound stops when another one begins.
    assert probe["paused"] == [True, False]
    assert probe["needed"] <= probe["width"]
    assert probe["beside"] == (width == 1150)
