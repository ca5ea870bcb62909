"""RESULTS.html in a real browser: a sound plays, the time line moves, a phone shows it.

Needs Chromium, as Debian has it.
"""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from espnet_mtasr.scoring.inputs import Hypotheses, References
from espnet_mtasr.scoring.report.page import ScoredSet, render_page
from espnet_mtasr.scoring.results import assemble_results, score_set
from espnet_mtasr.scoring.segments import Timing

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
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
    setTimeout(() => {
      document.body.append(Object.assign(document.createElement("pre"), {
        id: "probe", textContent: JSON.stringify({
          seconds: audio.duration, time: audio.currentTime,
          cursor: +time.querySelector(".cursor").getAttribute("x1"),
          needed: document.documentElement.scrollWidth, width: innerWidth,
        })}));
    }, 800);
  };
  if (audio.readyState) click(); else audio.addEventListener("loadedmetadata", click);
});
</script></body>"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1150, 500])
def test_a_click_on_the_time_line_plays_from_there(width, tmp_path):
    references = References({"u": ["a b", "c d e"]}, {"u": 0.5})
    hypotheses = Hypotheses({"u": ["a b", "c x e"]}, {"u": 2})
    score = score_set(references, hypotheses)
    timing = Timing({"u": 4.0}, {"u": [(0.0, 3.0), (1.0, 4.0)]})
    part = ScoredSet(references, hypotheses, score.errors, timing)
    page = render_page(
        assemble_results("mixtures", "exp/" + "long" * 30, {"test": score}),
        {"test": part},
        read_sound=lambda name, utt: 0.1 * np.sin(np.arange(64000)),
    )
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", PROBE), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"]
    command += [f"--user-data-dir={tmp_path}/browser", f"--window-size={width},900"]
    command += ["--autoplay-policy=no-user-gesture-required", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=8000", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = re.search('<pre id="probe">(.*?)</pre>', done.stdout)
    assert found is not None, done
    probe = json.loads(html.unescape(found[1]))
    assert probe["seconds"] == pytest.approx(4.0, abs=0.1)
    # A mouse is at whole pixels.
    assert 1.98 <= probe["time"] < 3.5 and 530 <= probe["cursor"] < 900
    assert probe["needed"] <= probe["width"]
