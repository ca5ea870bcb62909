"""The free speech synthesizers that speak as the talkers of talkers.py."""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import List, Tuple

from talkers import Talker

from espnet_mtasr.errors import UserError

RATE = 16000
ENGINES = {
    "flite": "the program flite (apt-get install flite)",
    "espeak": "the program espeak-ng (apt-get install espeak-ng)",
    "pico": "the Python package py_nanotts (pip install py-nanotts==0.1.1)",
}
# Speed of espeak-ng (words per minute) at which its voices last as long as flite's.
ESPEAK_SPEED = 165
# A little slower than the voices' default: longer overlap, clearer words.
STRETCH = (1.05, 1.25)


def available_engines() -> List[str]:
    """Return the engines that this machine has."""
    found = {
        "flite": shutil.which("flite") is not None,
        "espeak": shutil.which("espeak-ng") is not None,
        "pico": importlib.util.find_spec("py_nanotts") is not None,
    }
    return [engine for engine in ENGINES if found[engine]]


def synthesize(talker: Talker, text: str, stretch: float, out: Path) -> None:
    """Let the talker's engine write `text` to the WAV file `out`, before the warp."""
    text = text.lower()
    if talker.engine == "flite":
        command = ["flite", "-voice", talker.voice]
        command += ["--setf", f"duration_stretch={stretch * talker.warp:.3f}"]
        if talker.pitch is not None:
            hertz = talker.pitch / talker.warp
            command += ["--setf", f"int_f0_target_mean={hertz:.1f}"]
        command += ["-t", text, "-o", str(out)]
    elif talker.engine == "espeak":
        speed = round(ESPEAK_SPEED / (stretch * talker.warp))
        command = ["espeak-ng", "-v", talker.voice, "-p", f"{talker.pitch:.0f}"]
        command += ["-s", str(speed), "-w", str(out), text]
    else:
        # Recipes link to this file, not to that.
        script = Path(__file__).resolve().with_name("say_pico.py")
        command = [sys.executable, str(script)]
        command += [str(out), talker.voice, f"{talker.pitch / talker.warp:.3f}"]
        command += [f"{1 / (stretch * talker.warp):.3f}", text]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode != 0 or not out.exists():
        said = done.stderr.strip().splitlines()
        raise UserError(
            f"{talker.engine} failed on voice {talker.voice}"
            f"{': ' + said[-1] if said else ''}; try: {' '.join(command[:3])}"
        )


def finish(samples, rate: int, warp: float, rng):
    """Warp the vocal tract, cut silence, add a faint noise floor, set the level.

    Args:
        samples: (N,) float64 at `rate` Hz.
        rate: The engine's sampling rate in Hz.
        warp: See `Talker`.
        rng: numpy generator.

    Returns:
        (M,) float32 at 16 kHz.
    """
    samples = warped(samples, rate, warp)
    first, last = loud_part(samples)
    margin = RATE // 12
    return leveled(samples[max(0, first - margin) : last + margin], rng)


def warped(samples, rate: int, warp: float):
    """Resample (N,) from `rate` Hz to 16 kHz, and warp the vocal tract."""
    from scipy.signal import resample_poly

    ratio = (Fraction(RATE, rate) / Fraction(warp)).limit_denominator(100)
    if ratio != 1:
        samples = resample_poly(samples, ratio.numerator, ratio.denominator)
    return samples


def loud_part(samples) -> Tuple[int, int]:
    """Return the first and the last sample of (N,) at 16 kHz that isn't silent."""
    import numpy as np

    window = RATE // 50
    energy = np.convolve(samples**2, np.ones(window) / window, "same")
    loud = np.flatnonzero(energy > energy.max() * 0.02**2)
    return loud[0], loud[-1]


def leveled(samples, rng):
    """Add a faint noise floor to (N,), set its level, and return float32."""
    import numpy as np

    # Digital silence would give log features that no recording has.
    samples = samples + rng.standard_normal(len(samples)) * 1e-4
    level = 10 ** ((-26 + rng.uniform(-3, 3)) / 20)
    samples = samples * (level / np.sqrt(np.mean(samples**2)))
    return (samples * min(1.0, 0.98 / np.abs(samples).max())).astype(np.float32)


def utterance_rng(seed: int, utt: str):
    """Return the random generator of an utterance; it doesn't depend on others."""
    import numpy as np

    key = hashlib.sha256(f"{seed} {utt}".encode()).digest()
    return np.random.default_rng(int.from_bytes(key[:8], "big"))
