"""Programs that stand for flite and espeak-ng: they write tones as long as a text."""

import sys
from pathlib import Path

# A word is 0.45 s; there is half a second of silence on both sides. "broken" makes it
# fail, and "hush" be silent.
ENGINE = f"""\
#!{sys.executable} -S
import array, math, sys, wave, zlib
options = dict(zip(sys.argv[1:], sys.argv[2:]))
text = options.get("-t", sys.argv[-1])
if "broken" in text:
    sys.exit("no such sound")
voice = str([v for o, v in sorted(options.items()) if o not in ("-o", "-w", "-t")])
hertz = 150 + zlib.crc32(voice.encode()) % 400
n = round(0.45 * 16000 * len(text.split()))
loudness = 0 if "hush" in text else 9000
tone = [round(loudness * math.sin(math.tau * hertz * k / 16000)) for k in range(n)]
with wave.open(options.get("-o", options.get("-w")), "wb") as f:
    f.setparams((1, 2, 16000, 0, "NONE", ""))
    f.writeframes(array.array("h", [0] * 8000 + tone + [0] * 8000).tobytes())
"""


def write_engines(folder: Path) -> Path:
    """Write both programs, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("flite", "espeak-ng"):
        path = folder / name
        path.write_text(ENGINE)
        path.chmod(0o755)
    return folder
