"""The page in a real browser: headless Chromium, driven by playwright.

`DEMO_PICTURES=doc/images` makes the
pictures of README.md and doc/transcribe.md anew, and a text beside each: what it shows.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from helpers.browser import find_browser

from espnet_mtasr.demo.samples import FOLDER

CHROMIUM = find_browser("gradio", "playwright")

from playwright.sync_api import expect, sync_playwright  # noqa: E402

# Milliseconds; the machine may be busy.
PATIENCE = 180_000
expect.set_options(timeout=PATIENCE)

README = Path(__file__).resolve().parents[3] / "README.md"
DESKTOP, PHONE = dict(width=1200, height=900), dict(width=375, height=740)
OPTIONS = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
# Notes what the server itself looks up or connects to.
SERVER = """
import sys
notes, *sys.argv = sys.argv[1:]
def note(event, args):
    if event in ("socket.bind", "socket.connect", "socket.getaddrinfo"):
        address = args[0] if event == "socket.getaddrinfo" else args[1]
        with open(notes, "a") as f:
            print(event, address, file=f)
sys.addaudithook(note)
from espnet_mtasr.bin.main import console
console()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of the page, the folder of its temporary files, what it connects to."""
    folder = tmp_path_factory.mktemp("demo")
    notes = folder / "notes"
    notes.touch()
    (folder / "tmp").mkdir()
    command = [sys.executable, "-c", SERVER, notes, "espnet-mtasr", "demo"]
    options = ["--port", "0", "--device", "cpu", "--max_seconds", "20"]
    process = subprocess.Popen(
        [*map(str, command), *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
        # A background job of a shell may ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    line = process.stderr.readline()
    while line and "in a browser" not in line:
        line = process.stderr.readline()
    yield re.search(r"http://127.0.0.1:\d+", line)[0], folder / "tmp", notes
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    # What was uploaded is gone.
    assert not list((folder / "tmp").rglob("*.wav"))


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        with playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*OPTIONS, *sandbox]
        ) as browser:
            yield browser


@pytest.fixture
def page(server, browser):
    """The page, which asks nobody else for anything and has no errors in its code."""
    page = browser.new_page(viewport=DESKTOP)
    page.set_default_timeout(PATIENCE)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(server[0])
    yield page
    page.close()
    assert len(asked) > 10
    assert not [
        url for url in asked if not url.startswith((server[0], "data:", "blob:"))
    ]
    assert not errors


def heard(page, part="#result"):
    """Wait for the result; the talkers' texts."""
    page.wait_for_selector(f"{part} .mt-texts")
    return page.locator(f"{part} .mt-texts li").all_inner_texts()


def take_picture(page, name):
    """Write a new picture and its text, or test that the stored text is still right."""
    # Gradio shows the seconds of a call that still runs.
    expect(page.locator(".meta-text, .meta-text-center, .progress-text")).to_have_count(
        0
    )
    text = page.locator(".gradio-container main").inner_text() + "\n"
    if folder := os.environ.get("DEMO_PICTURES"):
        page.mouse.move(0, 0)
        page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)
        Path(folder, f"{name}.txt").write_text(text)
        return
    stored = (README.parent / f"doc/images/{name}.txt").read_text()
    assert (
        text == stored
    ), "run this file with DEMO_PICTURES=doc/images, and look at them"


def drop(page, name, content):
    file = {"name": name, "mimeType": "audio/wav", "buffer": content}
    page.set_input_files("#recording input[type=file]", file)


def test_a_sample(page, tmp_path):
    page.click("#sample_0")
    talkers = re.findall(r"^talker \d: (.*)$", README.read_text(), re.MULTILINE)
    assert heard(page) == talkers[:2] != []
    words = page.locator("#result .mt-word")
    assert words.all_inner_texts() == " ".join(talkers[:2]).split()
    expect(page.locator("#result .mt-counts")).to_contain_text("0.99")
    expect(page.locator("#result .mt-ctc svg")).to_have_count(2)
    take_picture(page, "demo")
    with page.expect_download() as download:
        page.click("#result .mt-downloads a >> nth=0")
    assert download.value.suggested_filename == "two_talkers_1_clean.srt"
    assert "doris" in Path(download.value.path()).read_text()


def test_click_a_word_to_hear_it(page):
    page.click("#sample_0")
    heard(page)
    word = page.locator("#result .mt-word", has_text="flowers").first
    start, end = (float(word.get_attribute(f"data-{k}")) for k in ("start", "end"))
    word.click()
    audio = page.locator("#result audio")
    page.wait_for_function("document.querySelector('#result audio').played.length")
    page.wait_for_function("document.querySelector('#result audio').paused")
    played = audio.evaluate("a => [a.played.start(0), a.played.end(0)]")
    assert played[0] == pytest.approx(start, abs=0.15)
    # A busy machine stops late, but long before the recording ends.
    assert end - 0.15 < played[1] < end + 1.0
    # Not only the word where the audio's own button is used.
    audio.evaluate("a => { a.currentTime = 0; a.play(); }")
    page.wait_for_function("document.querySelector('#result audio').ended")


def test_a_file_and_then_a_given_count(page):
    content = (FOLDER / "308-3080-0000.flac").read_bytes()
    drop(page, "one <b>talker</b>.wav", content)
    assert "peter kept six old flowers" in heard(page)
    page.get_by_label("Talkers").first.click()
    page.get_by_role("option", name="3").click()
    expect(page.locator("#result .mt-texts li")).to_have_count(3)


def test_broken_files(page):
    drop(page, "broken.wav", b"this is no audio")
    error = page.locator("#result .mt-error")
    expect(error).to_have_text(
        "broken.wav: is not readable audio (Format not recognised.); replace it"
    )
    drop(page, "empty.wav", b"")
    expect(error).to_contain_text("empty.wav: is not readable audio")
    page.click("#sample_1")
    assert len(heard(page)) == 2


def test_a_file_that_is_too_long(page, tmp_path):
    soundfile.write(tmp_path / "long.wav", [0.0] * 21 * 8000, 8000)
    drop(page, "long.wav", (tmp_path / "long.wav").read_bytes())
    expect(page.locator("#result .mt-error")).to_contain_text(
        "long.wav: has more than the 20 s that the page accepts"
    )


def test_a_phone(page):
    page.set_viewport_size(PHONE)
    page.click("#sample_2")
    assert len(heard(page)) == 3
    width = "[document.documentElement.scrollWidth, innerWidth]"
    wide, seen = page.evaluate(width)
    assert wide <= seen == PHONE["width"]
    # The time line alone scrolls sideways, and a word is large enough for a finger.
    scrolled = page.locator("#result .mt-scroll")
    assert scrolled.evaluate("e => { e.scrollLeft = 50; return e.scrollLeft; }") == 50
    box = page.locator("#result .mt-word").first.bounding_box()
    assert box["height"] >= 24 and box["width"] >= 24
    page.get_by_role("tab", name="Mix").click()
    page.wait_for_selector("#mixture .mt-bar")
    wide, seen = page.evaluate(width)
    assert wide <= seen


def test_record(page):
    """Chromium's own microphone beeps, which is no speech."""
    page.locator("#recording").get_by_label("Record audio").click()
    page.locator("#recording button.record-button").click()
    page.wait_for_timeout(1500)
    page.locator("#recording button.stop-button").click()
    expect(page.locator("#result .mt")).to_contain_text("No speech was detected.")
    expect(page.locator("#result .mt-counts")).to_contain_text("0 talkers")
    assert 1.0 < float(page.locator("#result .mt").get_attribute("data-seconds")) < 3.0


def test_mixer(page, tmp_path):
    page.get_by_role("tab", name="Mix").click()
    bars = page.locator("#mixture .mt-bar")
    expect(bars).to_have_count(2)
    assert bars.all_inner_texts() == ["302, 0.00 s, +0 dB", "308, 1.00 s, +0 dB"]
    take_picture(page, "demo_mixer")
    page.click("#transcribe_mixture")
    assert heard(page, "#mixed_result")[1] == "peter kept six old flowers"
    before = page.locator("#mixed_result .mt-errors").inner_text()
    assert before.endswith("What was said:")

    page.get_by_label("transcribe after every change").check()
    drag(page, bars.nth(1), seconds=4.0, up=40)
    expect(bars.nth(1)).to_contain_text("308, 5.00 s, +10 dB")
    assert page.locator("#level_2 input[type=number]").input_value() == "10"
    expect(page.locator("#mixture .mt-overlap")).to_contain_text("0 % of the speech")
    result = page.locator("#mixed_result .mt-errors")
    expect(result).not_to_have_text(before)
    # Dragged before the other, it is the first to begin.
    drag(page, bars.nth(1), seconds=-9.0, up=0)
    drag(page, bars.nth(0), seconds=2.0, up=0)
    expect(bars.first).to_contain_text("308, 0.00 s, +10 dB")

    own = {"name": "mine.flac", "mimeType": "audio/flac"}
    own["buffer"] = (FOLDER / "304-3041-0005.flac").read_bytes()
    page.set_input_files("#own_files input[type=file]", own)
    page.get_by_label("Talker 3").click()
    page.get_by_role("option", name="mine.flac").click()
    expect(bars).to_have_count(3)
    expect(page.locator("#mixed_result .mt-errors")).to_have_count(0)
    expect(page.locator("#mixture")).to_contain_text("mine.flac, 2.00 s")


def drag(page, bar, seconds, up):
    """Move a bar sideways by seconds and up by pixels."""
    track = page.locator("#mixture .mt-track").bounding_box()
    whole = float(page.locator("#mixture .mt").get_attribute("data-seconds"))
    box = bar.bounding_box()
    x, y = box["x"] + 30, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + seconds / whole * track["width"], y - up, steps=4)
    page.mouse.up()


def test_the_server_asks_nobody(server, page):
    page.click("#sample_0")
    heard(page)
    lines = server[2].read_text().splitlines()
    assert lines and not [line for line in lines if "127.0.0.1" not in line]
